"""What `measure` runs: each program publishes to a SUB of pyzmq's that is bound on loopback."""

import os
import pathlib
import queue
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import zmq

ROUNDS = 30
TARGET, VENV = sys.argv[1:]
LIBC = TARGET.rsplit("-", 1)[1].replace("gnu", "glibc")
TINY = "target/tiny/fedmsg-tiny"
STATIC = f"target/{TARGET}/tiny/fedmsg-tiny"
FULL = "target/release/fedmsg"

relay = zmq.Context().socket(zmq.SUB)
relay.setsockopt(zmq.SUBSCRIBE, b"")
ENDPOINT = "tcp://127.0.0.1:%d" % relay.bind_to_random_port("tcp://127.0.0.1")
arrived = queue.Queue()


def receive():
    while True:
        arrived.put(relay.recv_multipart())


threading.Thread(target=receive, daemon=True).start()

folder = tempfile.TemporaryDirectory()
ca = folder.name + "/ca"
for command in (["init", ca], ["issue", ca, "lab"]):
    subprocess.run([FULL, "ca", *command], check=True, stdout=subprocess.DEVNULL)
signed = ["--ssldir", ca, "--certname", "lab"]
config = folder.name + "/config.py"
settings = dict(
    topic_prefix="com.example",
    environment="dev",
    relay_inbound=[ENDPOINT],
    endpoints={},
    sign_messages=False,
    validate_signatures=False,
)
pathlib.Path(config).write_text(f"config = {settings!r}\n")
SCRIPT = f"""
import sys
import fedmsg
import fedmsg.config
settings = fedmsg.config.load_config([], None, filenames=[{config!r}])
settings.update(active=True, name="relay_inbound")
fedmsg.init(**settings)
for line in sys.argv[1:] or map(str.strip, sys.stdin):
    fedmsg.publish(modname="logger", topic="lab", msg=dict(log=line))
"""
topic = ["--topic", "lab"]
tiny = [*topic, "--relay", ENDPOINT]
full = [FULL, "publish", *topic, "--endpoint", ENDPOINT]
# By the interpreter: what is in the script's first line is where the environment was made.
logger = [f"{VENV}/bin/python", f"{VENV}/bin/fedmsg-logger", *topic, "--config-filename", config]
python = [f"{VENV}/bin/python", "-W", "ignore", "-c", SCRIPT]
# What to call it, how it is run, how it is told a message.
PROGRAMS = [
    ("`fedmsg-tiny`", [TINY, *tiny], ["hello"]),
    ("`fedmsg-tiny`, signed", [TINY, *tiny, *signed], ["hello"]),
    (f"`fedmsg-tiny`, static {LIBC}", [STATIC, *tiny], ["hello"]),
    (f"`fedmsg-tiny`, static {LIBC}, signed", [STATIC, *tiny, *signed], ["hello"]),
    ("`fedmsg publish`", full, ["hello"]),
    ("`fedmsg publish`, signed", [*full, *signed], ["hello"]),
    ("Python's `fedmsg-logger`", logger, ["--message", "hello"]),
    ("`python3 -c 'import fedmsg; …'`", python, ["hello"]),
]


def expect_message():
    topic, body = arrived.get(timeout=30)
    assert topic == b"com.example.dev.logger.lab" and b'"hello"' in body, (topic, body)


def run(command, message):
    """Seconds from its start to its end."""
    start = time.perf_counter()
    subprocess.run(command + message, check=True, stdin=subprocess.DEVNULL, stderr=quiet)
    seconds = time.perf_counter() - start
    expect_message()
    return seconds


def peak(command):
    """Kilobytes of memory at most, by the kernel's account, once it has sent a line."""
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=quiet)
    child.stdin.write(b"hello\n")
    child.stdin.flush()
    expect_message()
    status = pathlib.Path(f"/proc/{child.pid}/status").read_text()
    child.stdin.close()
    assert child.wait(30) == 0, command
    return int(status.split("VmHWM:")[1].split()[0])


def size(path):
    return os.stat(path).st_size


def stripped(path):
    subprocess.run(["strip", "-o", folder.name + "/stripped", path], check=True)
    return size(folder.name + "/stripped")


# The peer warns of its age.
quiet = subprocess.DEVNULL
times = {name: [] for name, _, _ in PROGRAMS}
for _ in range(ROUNDS):
    for name, command, message in PROGRAMS:
        times[name].append(run(command, message))

packages = sum(
    size(path) for path in pathlib.Path(VENV, "lib").rglob("*") if path.is_file()
)
sizes = {TINY: size(TINY), STATIC: size(STATIC), FULL: size(FULL)}
rust = subprocess.run(["rustc", "-V"], check=True, capture_output=True, text=True).stdout.split()
lines = [
    "# fedmsg-tiny beside the others",
    "",
    f"One message of 5 bytes to a SUB of libzmq {zmq.zmq_version()} on loopback, over TCP: from the",
    f"program's start to its end, median and fastest of {ROUNDS} runs, taken in turns; and the most",
    "memory that it had (VmHWM), while it sends a line of standard input.",
    f"`targets/linux-tiny/measure` wrote this with rustc {rust[1]} for {TARGET}, {os.cpu_count()} cores.",
    "",
    "| | size, bytes | median, ms | fastest, ms | memory, KB |",
    "| --- | ---: | ---: | ---: | ---: |",
]
for name, command, _ in PROGRAMS:
    median, fastest = statistics.median(times[name]) * 1e3, min(times[name]) * 1e3
    bytes_ = f"{sizes[command[0]]:,}" if command[0] in sizes else f"python3, and packages of {packages:,}"
    lines.append(f"| {name} | {bytes_} | {median:,.1f} | {fastest:,.1f} | {peak(command):,} |")
lines += [
    "",
    "Sizes are of the files as built: profile `tiny` is stripped, `release` has its line tables",
    f"(stripped it has {stripped(FULL):,} bytes);",
    "Python's are those of the packages in the virtual environment. Signed is `x509-p256`. Python's",
    "fedmsg sleeps for 500 ms of its time (`post_init_sleep`), so that its subscriber can be there;",
    "the others wait for the subscription.",
]
text = "\n".join(lines) + "\n"
pathlib.Path("docs/tiny-figures.md").write_text(text)
print(text)
