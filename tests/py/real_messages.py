"""Writes every bus message in the tests of fedmsg_meta_fedora_infrastructure as a line of JSON: its
`text`, and what Python makes of it (`canonical`). Of those that carry a signature besides, what was
signed (`signed`): datanommer had added to them. argv: the sdist, its SHA-256."""

import ast
import hashlib
import json
import sys
import tarfile

path, digest = sys.argv[1:]
with open(path, "rb") as sdist:
    assert hashlib.sha256(sdist.read()).hexdigest() == digest, "not the sdist that was pinned"


def canonical(message):
    return json.dumps(message, sort_keys=True, separators=(",", ":"))


def messages(source):
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Dict):
            keys = {key.value for key in node.keys if isinstance(key, ast.Constant)}
            if {"topic", "msg"} <= keys:
                try:
                    yield ast.literal_eval(node)
                except ValueError:
                    pass  # Computed, not written down.


with tarfile.open(path) as sdist:
    for member in sdist:
        if not member.name.endswith(".py"):
            continue
        for message in messages(sdist.extractfile(member).read()):
            text = json.dumps(message, indent=1, ensure_ascii=False)
            line = {"text": text, "canonical": canonical(message)}
            if "signature" in message:
                signed = dict(message, timestamp=int(message["timestamp"]))
                for name in ["source_name", "source_version", "headers"]:
                    if not (name == "headers" and signed.get(name)):
                        signed.pop(name, None)
                line["signed"] = json.dumps(signed)
            print(json.dumps(line))
