"""The configuration on a real node: an app is told of a change by its binding, and another app sees none of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.e2e.county.apps import SPACE
from tests.e2e.files import CityFiles
from tests.e2e.machine import Cluster, Machine, eventually

pytestmark = pytest.mark.node

# What an app does with its binding, with nothing but Python: requests `METHOD PATH BODY`, whose answers are code and
# content; `WATCH KEY BODY` sets a key while another request waits for the change, and gives what that one is told.
CLIENT = """
import base64, json, os, ssl, sys, threading, urllib.error, urllib.request
root = os.environ["SERVICE_BINDING_ROOT"] + "/settings/"
b = {name: open(root + name).read() for name in os.listdir(root) if not name.startswith(".")}
tls = ssl.create_default_context(cadata=b["ca.crt"])
secret = base64.b64encode(f"{b['username']}:{b['password']}".encode()).decode()
def ask(method, path, *body):
    text = body[0].encode() if body else None
    request = urllib.request.Request(b["uri"] + path, text, {"Authorization": "Basic " + secret}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30, context=tls) as answer:
            return [answer.status, answer.read().decode()]
    except urllib.error.HTTPError as error:
        return [error.code, error.read().decode()]
def watch(key, value):
    told, since = [], json.loads(ask("GET", "/values")[1])["revision"]
    waiting = threading.Thread(target=lambda: told.extend(ask("GET", f"/changes?since={since}&wait=20")))
    waiting.start()
    ask("PUT", f"/values/{key}", value)
    waiting.join()
    return told
found = []
for word in sys.argv[1:]:
    method, *rest = word.split(" ", 2)
    found.append(watch(*rest) if method == "WATCH" else ask(method, *rest))
print(json.dumps(found))
"""


def send(cluster: Cluster, app: str, *requests: str) -> list[Any]:
    """Codes and contents of the answers to an app."""
    words = ("exec", "-n", SPACE, f"deploy/{app}-web", "--", "python3", "-c", CLIENT, *requests)
    found: list[Any] = json.loads(cluster.kubectl(*words))
    return found


@pytest.mark.proves("configuration", "ran", "used", "refused")
def test_an_app_is_told_of_its_own_changes_alone(home: Machine, city: CityFiles, cluster: Cluster) -> None:
    told, read = send(cluster, "albums", "WATCH pages/size 二十", "GET /values/pages/size")
    (change,) = json.loads(told[1])["changes"]
    assert (told[0], change["key"], change["value"]) == (200, "pages/size", "二十")
    assert read == [200, "二十"]
    refused, empty = send(cluster, "ponds", "GET /values/pages/size", "GET /values")
    assert refused[0] == 404 and json.loads(empty[1])["values"] == []
    home.run("preview", city, "--detailed-exitcode")


def test_values_outlive_the_pod(cluster: Cluster) -> None:
    cluster.kubectl("delete", "pod", "configuration-0", "-n", "platform-application")
    eventually(lambda: send(cluster, "albums", "GET /values/pages/size") == [[200, "二十"]])
