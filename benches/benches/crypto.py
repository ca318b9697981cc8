"""Times Python fedmsg's signing and validating, and the bare calls of the library under it. argv: the
folder of a CA with an RSA sender `one`. A request is a line of JSON, [[what, message], times]; the
answer is a line with the seconds that it took."""

import base64
import json
import logging
import sys
import time

logging.disable(logging.CRITICAL)

import fedmsg.crypto
import fedmsg.encoding
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

directory = sys.argv[1]
config = {
    "crypto_backend": "x509",
    "crypto_validate_backends": ["x509"],
    "ssldir": directory,
    "certname": "one",
    "ca_cert_location": directory + "/ca.crt",
    "crl_location": directory + "/crl.pem",
    "routing_policy": {},
    "routing_nitpicky": False,
}
with open(directory + "/one.key", "rb") as file:
    key = serialization.load_pem_private_key(file.read(), None)


def task(what, text):
    message = json.loads(text)
    if what == "sign":
        return lambda: fedmsg.crypto.sign(dict(message), **config)
    if what == "validate":
        # What a tail does with what it received.
        assert fedmsg.crypto.validate(json.loads(text), **config)
        return lambda: fedmsg.crypto.validate(json.loads(text), **config)
    signature = base64.b64decode(message["signature"])
    pem = base64.b64decode(message["certificate"])
    public = x509.load_pem_x509_certificate(pem).public_key()
    signed = fedmsg.encoding.dumps(fedmsg.crypto.strip_credentials(message)).encode()
    if what == "bare sign":
        return lambda: key.sign(signed, padding.PKCS1v15(), hashes.SHA1())
    return lambda: public.verify(signature, signed, padding.PKCS1v15(), hashes.SHA1())


for line in sys.stdin:
    what, times = json.loads(line)
    run = task(*what)
    start = time.perf_counter()
    for _ in range(times):
        run()
    print(time.perf_counter() - start, flush=True)
