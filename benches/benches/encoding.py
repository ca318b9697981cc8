"""Times Python fedmsg's encoding: argv is a message. A request is a line of JSON, [what, times]; the
answer is a line with the seconds that it took."""

import json
import sys
import time
import warnings

warnings.simplefilter("ignore")

from fedmsg.encoding import dumps, loads

text = sys.argv[1]
value = loads(text)
assert dumps(value) == text
calls = {"dumps": (dumps, value), "loads": (loads, text)}

for line in sys.stdin:
    what, times = json.loads(line)
    function, argument = calls[what]
    start = time.perf_counter()
    for _ in range(times):
        function(argument)
    print(time.perf_counter() - start, flush=True)
