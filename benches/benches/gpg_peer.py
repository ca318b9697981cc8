"""Python fedmsg's backend gpg: argv is a message and the configuration as JSON; each line of input
is an array of what to do (sign, validate) and how often, each of output the seconds that it took."""

import json
import logging
import sys
import time
import warnings

logging.basicConfig(level=logging.CRITICAL)
warnings.simplefilter("ignore")

import fedmsg.crypto

message, config = map(json.loads, sys.argv[1:])
fedmsg.crypto.init(**config)
signed = fedmsg.crypto.sign(dict(message), **config)
assert fedmsg.crypto.validate(signed, **config)

for line in sys.stdin:
    task, times = json.loads(line)
    start = time.perf_counter()
    for _ in range(times):
        if task == "sign":
            fedmsg.crypto.sign(dict(message), **config)
        else:
            fedmsg.crypto.validate(signed, **config)
    print(time.perf_counter() - start, flush=True)
