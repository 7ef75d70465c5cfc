"""What an app does with its binding of the type `mqtt`, with nothing but Python: run in the app's container."""

from __future__ import annotations

# Its words are done one after the other on one connection, by MQTT 3.1.1: `say:TOPIC:TEXT` retains a message below the
# app's prefix, `hear:TOPIC` reads one, `add:DEVICE` adds a device and returns its password. `as:DEVICE:PASSWORD` as the
# first word signs in as a device. Source: MQTT 3.1.1.
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
        if kind == 0x90: assert body[2] == 0, "not subscribed"
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
    if verb == "hear": found.append(hear(b["prefix"] + rest[0]))
    if verb == "add": found.append(add(rest[0]))
print(json.dumps(found))
"""
