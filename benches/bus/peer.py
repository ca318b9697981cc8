"""Python fedmsg from publish to tail, in two processes: messages per second, as a line of JSON.

Run in a network namespace of its own, as it binds every address: `unshare -n python peer.py MILLIS`.
"""

import fcntl, json, mmap, os, signal, socket, struct, sys, tempfile, time

MILLIS = int(sys.argv[1])
# It loses messages beyond libzmq's 1000, whatever its high_water_mark says.
WINDOW = 900
SECONDS = 30

fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sh", b"lo", 1))  # SIOCSIFFLAGS, IFF_UP
config = tempfile.NamedTemporaryFile("w", suffix=".py")
config.write("""config = {
    "endpoints": {"tagger.here": ["tcp://127.0.0.1:3000"]},
    "topic_prefix": "com.example",
    "sign_messages": False,
    "validate_signatures": False,
    "post_init_sleep": 0,
}""")
config.flush()
received = mmap.mmap(-1, 8)
tailing = os.fork() == 0
signal.alarm(SECONDS)

import fedmsg

fedmsg.config.load_config([], None, filenames=[config.name])
fedmsg.init(mute=True) if tailing else fedmsg.init(name="tagger.here")


def publish(number, user="amara"):
    content = {"name": "network", "number": number, "user": user}
    fedmsg.publish(topic="tag.update", modname="tagger", msg=content)


def count(number=None):
    if number is not None:
        struct.pack_into("q", received, 0, number)
    return struct.unpack_from("q", received)[0]


def tail():
    expected = 0
    for _, _, _, message in fedmsg.tail_messages():
        content = message["msg"]
        if content["number"] == 0:
            count(1)  # there is a connection
            continue
        expected += 1
        assert content["number"] == expected, "lost or out of order"
        if expected % 32 == 0:
            count(expected)
        if content["user"] == "last":
            break
    size = len(fedmsg.encoding.dumps(message))
    return {"end": time.monotonic_ns(), "messages": expected, "size": size}


if tailing:
    result = tail()
    print(json.dumps(result), flush=True)
    os._exit(0)
while count() == 0:
    publish(0)
    time.sleep(0.05)
time.sleep(0.5)
start = time.monotonic_ns()
number = 0
while time.monotonic_ns() < start + MILLIS * 1_000_000:
    for _ in range(32):
        number += 1
        publish(number)
    while number - count() > WINDOW:
        time.sleep(0.0005)
publish(number + 1, "last")
print(json.dumps({"start": start}), flush=True)
os.wait()
os._exit(0)
