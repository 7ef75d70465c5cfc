"""A canary that answers by errors, in a city with metrics: it is taken back."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.files import CityFiles, app
from tests.e2e.machine import Machine, eventually
from tests.e2e.operations.conftest import NAME, Node

pytestmark = [pytest.mark.node, pytest.mark.xdist_group("operations"), pytest.mark.timeout(1500)]

HOST = f"trees.{NAME}.gov.example"
# Ready whatever it answers: only its requests say that it is broken.
SERVER = """
import os, signal, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *_): pass
    def do_GET(self):
        body = os.environ["VERSION"].encode()
        self.send_response(200 if self.path == "/ready" else int(os.environ["STATUS"]))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
ThreadingHTTPServer(("", 8080), Handler).serve_forever()
"""


def release(city: CityFiles, version: str, status: int = 200, pause: str = "2m") -> None:
    """Write a version of the app into the files."""
    web = city.component("trees")
    web["env"] = {"VERSION": version, "STATUS": str(status)}
    web["strategy"] = {"type": "canary", "steps": [50], "pause": pause, "abortAbove": {"errorRate": 10}}
    city.save()


@pytest.fixture(scope="module")
def trees(home: Machine, city: CityFiles) -> Iterator[CityFiles]:
    """The city with one more app, whose first version serves."""
    city.add("parks.yaml", app("trees", "parks"))
    web = city.component("trees")
    del web["health"]
    web |= {"command": ["python3", "-uc", SERVER], "probes": {"ready": {"path": "/ready", "every": 1}}}
    release(city, "one")
    home.run("up", city, "--yes")
    yield city
    # Without a canary the others that use the city go on.
    del web["strategy"]
    city.save()


def ask(home: Machine, city: CityFiles, node: Node, count: int) -> Counter[tuple[str, int]]:
    """Versions and statuses of the answers to requests at the entry point."""
    entry = home.run("outputs", city, "--stack", "entry", "-o", "json").json()["outputs"][f"{NAME}.entry"]
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPSConnection(HOST, entry["node_port"], timeout=5)
    plain = socket.create_connection((node.address, entry["node_port"]), timeout=5)
    connection.sock = context.wrap_socket(plain, server_hostname=HOST)
    found: Counter[tuple[str, int]] = Counter()
    try:
        for _ in range(count):
            connection.request("GET", "/", headers={"Host": HOST})
            answer = connection.getresponse()
            found[answer.read().decode(), answer.status] += 1
    finally:
        connection.close()
    return found


def state(home: Machine, city: CityFiles) -> dict[str, Any]:
    found: dict[str, Any] = home.run("rollout", "status", city, "trees", "-o", "json").json()
    return found


def pausing(home: Machine, city: CityFiles) -> bool:
    rollout = state(home, city)["rollout"]
    return bool(rollout) and rollout["phase"] == "pausing"


def test_a_version_that_answers_by_errors_is_taken_back_in_its_pause(
    home: Machine, trees: CityFiles, node: Node
) -> None:
    release(trees, "broken", 503)
    with home.running("up", trees, "--yes", "--only", "parks") as up:
        eventually(lambda: pausing(home, trees), 120)
        found = ask(home, trees, node, 200)
        # Half of the requests; the standard deviation is 7.
        assert 60 < found["broken", 503] < 140
        assert found["broken", 503] + found["one", 200] == 200
        assert up.wait(110) == 4
    shown = state(home, trees)
    assert (shown["rollout"], shown["held"]["because"], shown["serving"]) == (None, "aborted", 1)
    assert shown["held"]["why"].endswith("requests in this step failed (100 %), more than 10 %")
    assert ask(home, trees, node, 20) == {("one", 200): 20}
