"""What Python and its fedmsg make of JSON texts; requests and answers as in
fedmsg_tests::python::Script, a request being what is wanted, with its arguments."""

import json
import pprint
import sys
import time
import unicodedata
import warnings

warnings.simplefilter("ignore")

import fedmsg.encoding
import fedmsg.utils

FORMS = [fedmsg.encoding.dumps, fedmsg.encoding.pretty_dumps, repr, str, pprint.pformat]


def known(value):
    """Whether Python's Unicode knows all characters."""
    characters = json.dumps(value, ensure_ascii=False)
    return str("Cn" not in map(unicodedata.category, characters))


def forms(length):
    text = sys.stdin.buffer.read(length).decode()
    value = fedmsg.encoding.loads(text)
    for form in [known, *FORMS]:
        try:
            yield form(value).encode(errors="backslashreplace")
        except RecursionError:
            yield b"too deep"


def query(message, query):
    found = fedmsg.utils.dict_query(message, query)
    yield fedmsg.encoding.dumps(list(found.items())).encode()


def ctime(seconds):
    yield time.ctime(seconds).encode()


def characters():
    """Which code points are printable, which are space, and which Python's Unicode knows."""
    points = [chr(point) for point in range(sys.maxunicode + 1)]
    yield bytes(character.isprintable() for character in points)
    yield bytes(character.isspace() for character in points)
    yield bytes(unicodedata.category(character) != "Cn" for character in points)


for line in sys.stdin.buffer:
    name, *arguments = json.loads(line)
    try:
        blobs = list(globals()[name](*arguments))
        answer = {"blobs": [len(blob) for blob in blobs]}
    except (ValueError, RecursionError) as error:
        blobs, answer = [], {"error": str(error)}
    sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n" + b"".join(blobs))
    sys.stdout.buffer.flush()
