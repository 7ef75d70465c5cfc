"""Notification and two apps that use it on a real node: each has its messages, which outlive the server's pod."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.e2e.county.apps import SPACE
from tests.e2e.files import CityFiles
from tests.e2e.machine import Cluster, Machine, eventually

pytestmark = pytest.mark.node

# What an app does with its binding, with nothing but Python: each argument is a method, a path and perhaps JSON.
CLIENT = """
import base64, json, os, ssl, sys, urllib.error, urllib.request
root = os.environ["SERVICE_BINDING_ROOT"] + "/notify/"
b = {name: open(root + name).read() for name in os.listdir(root) if not name.startswith(".")}
known = ssl.create_default_context(cadata=b["ca.crt"])
secret = base64.b64encode(f"{b['username']}:{b['password']}".encode()).decode()
def ask(method, path, *body):
    text = body[0].encode() if body else None
    request = urllib.request.Request(b["uri"] + path, text, {"Authorization": "Basic " + secret}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20, context=known) as answer:
            return [answer.status, json.loads(answer.read())]
    except urllib.error.HTTPError as error:
        return [error.code, json.loads(error.read())]
print(json.dumps([ask(*word.split(" ", 2)) for word in sys.argv[1:]]))
"""
TEMPLATE = 'PUT /templates/open {"channel": "sms", "text": "{{park}} 开园了"}'
MESSAGE = 'POST /messages {"template": "open", "to": "13800138000", "key": "open-1", "values": {"park": "北园"}}'


def send(cluster: Cluster, app: str, *requests: str) -> list[Any]:
    """The code and the content of the answer to each request of an app."""
    words = ("exec", "-n", SPACE, f"deploy/{app}-web", "--", "python3", "-c", CLIENT, *requests)
    found: list[Any] = json.loads(cluster.kubectl(*words))
    return found


@pytest.mark.proves("notification", "ran", "used", "refused")
def test_an_app_has_its_messages_alone_and_they_outlive_the_pod(
    home: Machine, city: CityFiles, cluster: Cluster
) -> None:
    (code, _), (accepted, made) = send(cluster, "albums", TEMPLATE, MESSAGE)
    assert (code, accepted) == (200, 202)
    path = f"GET /messages/{made['id']}"
    eventually(lambda: send(cluster, "albums", path)[0][1].get("kept", {}).get("text") == "北园 开园了")
    assert (
        send(cluster, "ponds", path, "GET /templates/open", MESSAGE)
        == [[404, {"reason": "your app has nothing of this name"}]] * 3
    )
    home.run("preview", city, "--detailed-exitcode")
    cluster.kubectl("delete", "pod", "notification-0", "-n", "platform-application")
    eventually(lambda: _ready(cluster))
    eventually(lambda: send(cluster, "albums", path, MESSAGE)[1] == [202, {"id": made["id"]}])
    assert send(cluster, "albums", path)[0][1]["state"] == "sent"


def _ready(cluster: Cluster) -> bool:
    found = cluster.get("statefulset", "notification", "-n", "platform-application")
    return bool(found["status"].get("readyReplicas"))
