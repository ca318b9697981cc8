"""A ZeroMQ socket that does what it is told: argv is the socket's type and its options as JSON;
requests and answers as in fedmsg_tests::python::Script."""

import json
import sys

import zmq

kind, options = sys.argv[1], json.loads(sys.argv[2])
context = zmq.Context()
socket = context.socket(getattr(zmq, kind))
for name, value in options.items():
    socket.setsockopt(getattr(zmq, name), value)
requests, answers = sys.stdin.buffer, sys.stdout.buffer


def handle(request, *arguments):
    if request == "bind":
        socket.bind(*arguments)
        return {"endpoint": socket.getsockopt(zmq.LAST_ENDPOINT).rstrip(b"\0").decode()}, []
    if request == "connect":
        socket.connect(*arguments)
    elif request == "subscribe":
        socket.setsockopt(zmq.SUBSCRIBE, bytes(arguments[0]))
    elif request == "unsubscribe":
        socket.setsockopt(zmq.UNSUBSCRIBE, bytes(arguments[0]))
    elif request == "send":
        socket.send_multipart([requests.read(length) for length in arguments[0]])
    elif request == "recv":
        if not socket.poll(arguments[0]):
            return {"message": False}, []
        return {"message": True}, socket.recv_multipart()
    else:
        raise ValueError(request)
    return {}, []


for line in requests:
    try:
        answer, blobs = handle(*json.loads(line))
    except zmq.ZMQError as error:
        answer, blobs = {"error": str(error)}, []
    answers.write(json.dumps({**answer, "blobs": [len(blob) for blob in blobs]}).encode() + b"\n")
    for blob in blobs:
        answers.write(blob)
    answers.flush()

socket.close()
context.term()
