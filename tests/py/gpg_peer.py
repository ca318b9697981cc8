"""Python fedmsg's crypto that does what it is told; requests and answers as in
fedmsg_tests::python::Script."""

import json
import logging
import sys
import warnings

logging.basicConfig(level=logging.CRITICAL)
warnings.simplefilter("ignore")

import fedmsg.crypto
import fedmsg.crypto.gpg

requests, answers = sys.stdin.buffer, sys.stdout.buffer


def handle(request, message, config):
    if request == "sign":
        message = fedmsg.crypto.sign(message, **config)
        # On Python 3 it leaves bytes there, which its own encoder cannot write.
        message["signature"] = message["signature"].decode()
        return {"message": message}
    if request == "validate":
        verdicts = [
            fedmsg.crypto.validate(message, **config),
            fedmsg.crypto.gpg.validate(message, **config),
        ]
        return {"verdicts": verdicts}
    raise ValueError(request)


for line in requests:
    try:
        answer = handle(*json.loads(line))
    except Exception as error:
        answer = {"error": repr(error)}
    answers.write(json.dumps(answer).encode() + b"\n")
    answers.flush()
