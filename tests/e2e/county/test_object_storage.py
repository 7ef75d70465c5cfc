"""Object storage and an app that uses it on a real node: the binding works, up to the limit of the use."""

from __future__ import annotations

import json

import pytest

from tests.e2e.county.apps import SPACE
from tests.e2e.files import CityFiles
from tests.e2e.machine import Cluster, Machine, eventually

pytestmark = pytest.mark.node

# What an app does with its binding: signed requests, with nothing but Python.
# Source: AWS Signature Version 4, "Create a signed AWS API request".
CLIENT = """
import hashlib, hmac, http.client, json, os, ssl, sys, time, urllib.parse
root = os.environ["SERVICE_BINDING_ROOT"] + "/files/"
b = {name: open(root + name).read() for name in os.listdir(root) if not name.startswith(".")}
def send(method, key, body=b""):
    now, digest = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()), hashlib.sha256(body).hexdigest()
    host, path = f"{b['host']}:{b['port']}", f"/{b['bucket']}/{key}"
    signed = {"host": host, "x-amz-content-sha256": digest, "x-amz-date": now}
    lines = "".join(f"{name}:{value}\\n" for name, value in signed.items())
    request = f"{method}\\n{path}\\n\\n{lines}\\n{';'.join(signed)}\\n{digest}"
    scope = f"{now[:8]}/{b['region']}/s3/aws4_request"
    text = f"AWS4-HMAC-SHA256\\n{now}\\n{scope}\\n{hashlib.sha256(request.encode()).hexdigest()}"
    secret = f"AWS4{b['secret-key']}".encode()
    for part in (*scope.split("/"), text):
        secret = hmac.new(secret, part.encode(), hashlib.sha256).digest()
    words = f"Credential={b['access-key']}/{scope}, SignedHeaders={';'.join(signed)}, Signature={secret.hex()}"
    tls = ssl.create_default_context(cadata=b["ca.crt"])
    connection = http.client.HTTPSConnection(urllib.parse.urlsplit(b["endpoint"]).netloc, timeout=10, context=tls)
    connection.request(method, path, body, {**signed, "authorization": f"AWS4-HMAC-SHA256 {words}"})
    answer = connection.getresponse()
    return answer.status, len(answer.read())
print(json.dumps([send(m, k, bytes(int(n))) for m, k, n in (word.split(":") for word in sys.argv[1:])]))
"""


def send(cluster: Cluster, *requests: str) -> list[list[int]]:
    """Status and length of the answers to requests `method:key:bytes` of the app."""
    words = ("exec", "-n", SPACE, "deploy/albums-web", "--", "python3", "-c", CLIENT, *requests)
    found: list[list[int]] = json.loads(cluster.kubectl(*words))
    return found


@pytest.mark.proves("object-storage", "ran", "used", "limited")
def test_an_app_keeps_files_up_to_its_limit(home: Machine, city: CityFiles, cluster: Cluster) -> None:
    assert send(cluster, "PUT:oak:1000", "GET:oak:0", "PUT:pine:5000000") == [[200, 0], [200, 1000], [200, 0]]
    eventually(lambda: send(cluster, "PUT:elm:1")[0][0] == 403)
    assert send(cluster, "GET:oak:0", "DELETE:pine:0") == [[200, 1000], [204, 0]]
    eventually(lambda: send(cluster, "PUT:elm:1")[0][0] == 200)
    home.run("preview", city, "--detailed-exitcode")


def test_files_outlive_the_pod(cluster: Cluster) -> None:
    cluster.kubectl("delete", "pod", "object-storage-0", "-n", "platform-data")
    eventually(lambda: _ready(cluster))
    eventually(lambda: send(cluster, "GET:oak:0") == [[200, 1000]])


def _ready(cluster: Cluster) -> bool:
    return bool(cluster.get("statefulset", "object-storage", "-n", "platform-data")["status"].get("readyReplicas"))
