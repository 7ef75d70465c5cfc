"""IoT access and two apps that use it on a real node: each has topics and devices, which outlive the server's pod."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.e2e.county.apps import SPACE
from tests.e2e.files import CityFiles
from tests.e2e.machine import Cluster, Machine, eventually

pytestmark = pytest.mark.node

# What an app does with its binding, with nothing but Python. Its words are done one after the other on one connection:
# `say:TOPIC:TEXT` retains a message below the app's prefix, `hear:TOPIC` reads one there or, with a leading slash,
# anywhere, and `add:DEVICE` adds a device and returns its password. `as:DEVICE:PASSWORD` as the first word signs in as
# a device. Source: MQTT 3.1.1.
CLIENT = """
import json, os, socket, ssl, struct, sys
root = os.environ["SERVICE_BINDING_ROOT"] + "/iot/"
b = {name: open(root + name).read() for name in os.listdir(root) if not name.startswith(".")}
user, password, words = b["username"], b["password"], sys.argv[1:]
if words[0].startswith("as:"):
    device, password = words.pop(0).split(":")[1:]
    user += "/" + device
tls = ssl.create_default_context(cadata=b["ca.crt"])
server = tls.wrap_socket(socket.create_connection((b["host"], int(b["port"])), 20), server_hostname=b["host"])
def text(value):
    return struct.pack("!H", len(value.encode())) + value.encode()
def send(first, body):
    assert len(body) < 128
    server.sendall(bytes((first, len(body))) + body)
def take(count):
    taken = b""
    while len(taken) < count:
        more = server.recv(count - len(taken))
        assert more, "the server has ended the connection"
        taken += more
    return taken
def read():
    first, length = take(2)
    assert length < 128
    return first & 0xF0, take(length)
def say(topic, what):
    send(0x33, text(topic) + struct.pack("!H", 1) + what.encode())
    while read()[0] != 0x40: pass
    return True
def payload(body):
    return body[2 + struct.unpack("!H", body[:2])[0]:].decode()
def hear(topic):
    # What is retained comes before the answer to a ping.
    send(0x82, struct.pack("!H", 2) + text(topic) + bytes((0,)))
    send(0xC0, b"")
    heard = None
    while True:
        kind, body = read()
        if kind == 0x90 and body[2] > 2: heard = "refused"
        if kind == 0x30: heard = payload(body)
        if kind == 0xD0: return heard
def add(device):
    topic = b["prefix"] + "registry/" + device
    hear(topic + "/answer")
    send(0x32, text(topic) + struct.pack("!H", 3) + b"add")
    while True:
        kind, body = read()
        if kind == 0x30: return payload(body).removeprefix("password ")
send(0x10, text("MQTT") + bytes((4, 0xC2, 0, 60)) + text("") + text(user) + text(password))
found = [read() == (0x20, bytes(2))]
for verb, *rest in (word.split(":") for word in words):
    if verb == "say": found.append(say(b["prefix"] + rest[0], rest[1]))
    if verb == "hear": found.append(hear(rest[0][1:] if rest[0].startswith("/") else b["prefix"] + rest[0]))
    if verb == "add": found.append(add(rest[0]))
print(json.dumps(found))
"""


def talk(cluster: Cluster, app: str, *words: str) -> list[Any]:
    """What the client prints in an app's container: whether the server lets it in, then an answer to each word."""
    command = ("exec", "-n", SPACE, f"deploy/{app}-web", "--", "python3", "-c", CLIENT, *words)
    found: list[Any] = json.loads(cluster.kubectl(*command))
    return found


@pytest.mark.proves("iot", "ran", "used", "refused")
def test_an_app_has_its_topics_and_devices_alone(home: Machine, city: CityFiles, cluster: Cluster) -> None:
    signed_in, said, heard, password = talk(cluster, "albums", "say:oak:橡树", "hear:oak", "add:gate")
    assert (signed_in, said, heard) == (True, True, "橡树")
    assert talk(cluster, "albums", f"as:gate:{password}", "say:devices/gate/state:open") == [True, True]
    assert talk(cluster, "albums", "hear:devices/gate/state") == [True, "open"]
    assert talk(cluster, "ponds", "hear:/parks.albums.iot/oak", "hear:/#") == [True, "refused", "refused"]
    home.run("preview", city, "--detailed-exitcode")


def test_retained_messages_outlive_the_pod(cluster: Cluster) -> None:
    cluster.kubectl("delete", "pod", "iot-0", "-n", "platform-data")
    eventually(lambda: _ready(cluster))
    eventually(lambda: talk(cluster, "albums", "hear:oak")[1] == "橡树")


def _ready(cluster: Cluster) -> bool:
    found = cluster.get("statefulset", "iot", "-n", "platform-data")
    return bool(found["status"].get("readyReplicas"))
