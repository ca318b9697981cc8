"""Runs Python configuration files, each in a namespace of its own, as the peer's `execfile` does.

argv: how deep a value may be, then the files. A line of JSON on standard output for each file, as
soon as it has run: {"values": …, "left_out": [[place, what], …]}, or {"deep": place}, or
{"message": …, "line": … or null}. What a file prints goes to standard error.
"""

import sys

# Python has put the current directory there. No file of it is to stand in for a module of Python's.
if sys.path[:1] == [""]:
    del sys.path[0]

import os

try:
    # A third of the time would go into importing json.
    from _json import encode_basestring_ascii as text_to_json
except ImportError:
    from json import dumps as text_to_json


def main():
    deepest, files = int(sys.argv[1]), sys.argv[2:]
    sys.argv[1:] = []
    # A process that a file starts does not inherit this one.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    for file in files:
        answer = to_json(run(file, deepest)).encode()
        sys.stdout.flush()
        answers.write(answer + b"\n")
        answers.flush()


def run(file, deepest):
    variables = {}
    try:
        with open(file, "rb") as source:
            code = compile(source.read(), file, "exec", dont_inherit=True)
        exec(code, variables)
        if "config" not in variables:
            return {"message": "it sets no variable `config`", "line": None}
        config = variables["config"]
        if not isinstance(config, dict):
            kind = type(config).__name__
            return {"message": "`config` is a %s, not a dict" % kind, "line": None}
        reader = Reader(deepest)
        return {"values": reader.read(config, "", 0), "left_out": reader.left_out}
    except TooDeep as error:
        return {"deep": error.args[0]}
    # A file that calls sys.exit ends as any other that fails.
    except BaseException as error:
        return {"message": described(error), "line": line_in(file, error)}


class TooDeep(Exception):
    pass


class Reader:
    """Makes values that JSON has of those that Python has."""

    def __init__(self, deepest):
        self.deepest = deepest
        self.left_out = []

    def read(self, value, place, depth):
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            # Not what a class of its own (such as an enum's) says its text is.
            value = str.__str__(value)
            return value if encodable(value) else self.leave_out(place, "text that is not Unicode")
        if isinstance(value, int):
            fits = -(1 << 63) <= value < 1 << 64
            return int(value) if fits else self.leave_out(place, "an integer of more than 64 bits")
        if isinstance(value, float):
            finite = float("-inf") < value < float("inf")
            return float(value) if finite else self.leave_out(place, "a number that is not finite")
        if not isinstance(value, (dict, list, tuple, set, frozenset)):
            return self.leave_out(place, "a Python %s" % type(value).__name__)
        if depth > self.deepest:
            raise TooDeep(place)
        if isinstance(value, dict):
            read = {}
            for key, inner in value.items():
                is_text = isinstance(key, str) and encodable(str.__str__(key))
                key = str.__str__(key) if is_text else repr(key)[:100]
                inside = "%s.%s" % (place, key) if place else key
                if not is_text:
                    self.leave_out(inside, "under a key that is not text")
                    continue
                inner = self.read(inner, inside, depth + 1)
                if inner is not LEFT_OUT:
                    read[key] = inner
            return read
        inner = [self.read(v, "%s[%d]" % (place, i), depth + 1) for i, v in enumerate(value)]
        return [v for v in inner if v is not LEFT_OUT]

    def leave_out(self, place, what):
        self.left_out.append([place.encode("utf-8", "replace").decode(), what])
        return LEFT_OUT


LEFT_OUT = object()


def to_json(value):
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return text_to_json(value)
    if isinstance(value, dict):
        return "{%s}" % ",".join("%s:%s" % (text_to_json(k), to_json(v)) for k, v in value.items())
    if isinstance(value, list):
        return "[%s]" % ",".join(map(to_json, value))
    return repr(value)


def encodable(text):
    try:
        text.encode()
        return True
    except UnicodeEncodeError:
        return False


def described(error):
    kind = type(error).__name__
    try:
        text = error.msg if isinstance(error, SyntaxError) else str(error)
    except Exception:
        text = ""
    text = " ".join(str(text).encode("utf-8", "replace").decode().split())
    return "%s: %s" % (kind, text[:500]) if text else kind


def line_in(file, error):
    """The innermost line of the file that had to do with an error."""
    if isinstance(error, SyntaxError) and error.filename == file:
        return error.lineno
    line, step = None, error.__traceback__
    while step is not None:
        if step.tb_frame.f_code.co_filename == file:
            line = step.tb_lineno
        step = step.tb_next
    return line


main()
