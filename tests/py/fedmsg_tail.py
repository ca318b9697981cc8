"""Python fedmsg's library at work: writes each message that it hands on as a line of JSON."""

import json

import fedmsg
import fedmsg.config

config = fedmsg.config.load_config([], None)
fedmsg.init(**dict(config, mute=True, name="relay_inbound", timeout=0))
for name, endpoint, topic, message in fedmsg.tail_messages():
    print(json.dumps([topic, message]), flush=True)
