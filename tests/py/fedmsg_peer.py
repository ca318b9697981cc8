"""A context of Python fedmsg that does what it is told: argv is its configuration as JSON;
requests and answers as in fedmsg_tests::python::Script."""

import json
import logging
import sys
import warnings

logging.basicConfig(level=logging.ERROR)
warnings.simplefilter("ignore")

import fedmsg.core

# Its own defaults, but for the endpoints and the crypto. No files are read.
config = {
    "topic_prefix": "com.example",
    "environment": "dev",
    "io_threads": 1,
    "active": False,
    "post_init_sleep": 0.5,
    "high_water_mark": 0,
    "zmq_linger": 1000,
    "sign_messages": False,
    "validate_signatures": False,
    **json.loads(sys.argv[1]),
}
context = fedmsg.core.FedMsgContext(**config)
tail = None
requests, answers = sys.stdin.buffer, sys.stdout.buffer


def handle(request, *arguments):
    global tail
    if request == "publish":
        topic, modname, message = arguments
        context.publish(topic=topic, modname=modname, msg=message)
        return {}
    if request == "next":
        tail = tail or context.tail_messages(topic=arguments[0])
        name, endpoint, topic, message = next(tail)
        return {"name": name, "endpoint": endpoint, "topic": topic, "message": message}
    raise ValueError(request)


for line in requests:
    try:
        answer = handle(*json.loads(line))
    except Exception as error:
        answer = {"error": repr(error)}
    answers.write(json.dumps(answer).encode() + b"\n")
    answers.flush()

context.destroy()
