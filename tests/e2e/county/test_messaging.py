"""Messaging and two apps that use it on a real node: each has its streams, which outlive the server's pod."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.e2e.county.apps import SPACE
from tests.e2e.files import CityFiles
from tests.e2e.machine import Cluster, Machine, eventually

pytestmark = pytest.mark.node

# What an app does with its binding, with nothing but Python: `SUBJECT:JSON` is a request, whose answer is JSON.
# Source: NATS' documentation, client protocol; the reference of the JetStream API.
CLIENT = """
import json, os, socket, ssl, sys
root = os.environ["SERVICE_BINDING_ROOT"] + "/events/"
b = {name: open(root + name).read() for name in os.listdir(root) if not name.startswith(".")}
plain = socket.create_connection((b["host"], int(b["port"])), 10)
assert plain.recv(65536).startswith(b"INFO ")
tls = ssl.create_default_context(cadata=b["ca.crt"]).wrap_socket(plain, server_hostname=b["host"])
user = {"user": b["username"], "pass": b["password"], "verbose": False}
tls.sendall(f"CONNECT {json.dumps(user)}\\r\\nSUB answers.1 1\\r\\n".encode())
lines = tls.makefile("rb")
def ask(subject, text):
    tls.sendall(f"PUB {subject} answers.1 {len(text.encode())}\\r\\n{text}\\r\\n".encode())
    for line in lines:
        if line.startswith(b"MSG "):
            return json.loads(lines.read(int(line.split()[-1]) + 2))
        assert not line.startswith(b"-ERR"), line
print(json.dumps([ask(*word.split(":", 1)) for word in sys.argv[1:]]))
"""
MAKE = '$JS.API.STREAM.CREATE.visits:{"name": "visits", "subjects": ["visits.>"]}'
FIRST = '$JS.API.STREAM.MSG.GET.visits:{"seq": 1}'


def send(cluster: Cluster, app: str, *requests: str) -> list[dict[str, Any]]:
    """The answers to requests of an app."""
    words = ("exec", "-n", SPACE, f"deploy/{app}-web", "--", "python3", "-c", CLIENT, *requests)
    found: list[dict[str, Any]] = json.loads(cluster.kubectl(*words))
    return found


@pytest.mark.proves("messaging", "ran", "used", "refused")
def test_an_app_has_its_streams_alone(home: Machine, city: CityFiles, cluster: Cluster) -> None:
    made, first, read = send(cluster, "albums", MAKE, 'visits.oak:{"name": "橡树"}', FIRST)
    assert (made["config"]["name"], first["seq"]) == ("visits", 1)
    assert read["message"]["subject"] == "visits.oak"
    (refused,) = send(cluster, "ponds", FIRST)
    assert refused["error"]["description"] == "stream not found"
    home.run("preview", city, "--detailed-exitcode")


def test_streams_outlive_the_pod(cluster: Cluster) -> None:
    cluster.kubectl("delete", "pod", "messaging-0", "-n", "platform-application")
    eventually(lambda: _ready(cluster))
    eventually(lambda: send(cluster, "albums", FIRST)[0]["message"]["subject"] == "visits.oak")


def _ready(cluster: Cluster) -> bool:
    found = cluster.get("statefulset", "messaging", "-n", "platform-application")
    return bool(found["status"].get("readyReplicas"))
