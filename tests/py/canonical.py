"""Answers each JSON text with its canonical form, or with the reason why it has none; requests and
answers as in fedmsg_tests::python::Script, a request being the length of the text that follows."""

import json
import sys

for line in sys.stdin.buffer:
    [length] = json.loads(line)
    text = sys.stdin.buffer.read(length).decode()
    try:
        canonical = json.dumps(json.loads(text), sort_keys=True, separators=(",", ":")).encode()
        answer = {"blobs": [len(canonical)]}
    except ValueError as error:
        canonical, answer = b"", {"error": str(error)}
    sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n" + canonical)
    sys.stdout.buffer.flush()
