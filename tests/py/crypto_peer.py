"""Python fedmsg signs and validates messages; requests and answers as in
fedmsg_tests::python::Script. The lengths of the texts that follow a request are its last item."""

import json
import logging
import os
import sys
import warnings

logging.disable(logging.CRITICAL)
warnings.simplefilter("ignore")

import fedmsg.crypto
import fedmsg.encoding
import fedmsg.tests

KEYS = os.path.join(os.path.dirname(fedmsg.tests.__file__), "test_certs", "keys")
requests, answers = sys.stdin.buffer, sys.stdout.buffer


def answer(line, *blobs):
    line["blobs"] = [len(blob) for blob in blobs]
    answers.write(json.dumps(line).encode() + b"\n" + b"".join(blobs))
    answers.flush()


def handle(request, arguments, texts):
    config = {"crypto_backend": "x509", "crypto_validate_backends": ["x509"], **arguments}
    if request == "keys":
        return {"keys": KEYS}, []
    if request == "sign":
        return {}, [signed(text, config) for text in texts]
    if request == "validate":
        # Its caches know a CA and a list by their names.
        fedmsg.crypto.utils._cached_certificates.clear()
        return {"valid": [verdict(json.loads(text), config) for text in texts]}, []
    if request == "fix":
        fixed = [fedmsg.crypto.utils.fix_datagrepper_message(json.loads(text)) for text in texts]
        return {}, [fedmsg.encoding.dumps(message).encode() for message in fixed]
    raise ValueError(request)


def signed(text, config):
    """Empty where it is too deep for Python."""
    try:
        message = fedmsg.encoding.loads(text.decode())
        return fedmsg.encoding.dumps(fedmsg.crypto.sign(message, **config)).encode()
    except RecursionError:
        return b""


def verdict(message, config):
    try:
        return fedmsg.crypto.validate(message, **config)
    except Exception as error:
        return type(error).__name__


for line in requests:
    request, arguments, lengths = json.loads(line)
    texts = [requests.read(length) for length in lengths]
    try:
        line, blobs = handle(request, arguments, texts)
        answer(line, *blobs)
    except Exception as error:
        answer({"error": repr(error)})
