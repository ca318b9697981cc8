"""What Python fedmsg makes of configuration files.

argv is a JSON list of requests: {"load_config": its arguments}, {"conf": the settings of a
FedmsgConfig}, {"fedmsg-config": its command line}. On standard output a JSON list of answers: the
configuration, null where it is refused, or the command's [exit code, stdout, stderr]. What JSON
cannot hold is {"left out": true}.
"""

import contextlib
import io
import json
import sys
import warnings

warnings.simplefilter("ignore")

import fedmsg.commands.config
import fedmsg.config


def conf(settings):
    config = fedmsg.config.FedmsgConfig()
    try:
        config.load_config(settings)
    except (TypeError, ValueError):
        return None
    return config


def command(arguments):
    sys.argv = ["fedmsg-config"] + arguments
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            fedmsg.commands.config.config()
        except SystemExit as end:
            code = end.code
    return [code, out.getvalue(), err.getvalue()]


def answer(request):
    if "conf" in request:
        return conf(request["conf"])
    if "fedmsg-config" in request:
        return command(request["fedmsg-config"])
    return fedmsg.config.load_config(invalidate_cache=True, **request["load_config"])


answers = [answer(request) for request in json.loads(sys.argv[1])]
print(json.dumps(answers, default=lambda value: {"left out": True}))
