"""A canary in a city with metrics: taken back for its errors, and left at its step while nothing is known of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.files import CityFiles, app
from tests.e2e.machine import Cluster, Machine, eventually
from tests.e2e.operations.conftest import NAME, Node
from tests.e2e.operations.entry import ask

pytestmark = [pytest.mark.node, pytest.mark.timeout(1500)]

OPERATIONS = "platform-operations"
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
    web = city.component("walks")
    web["env"] = {"VERSION": version, "STATUS": str(status)}
    web["strategy"] = {"type": "canary", "steps": [50], "pause": pause, "abortAbove": {"errorRate": 10}}
    city.save()


@pytest.fixture(scope="module")
def walks(home: Machine, city: CityFiles, cluster: Cluster) -> Iterator[CityFiles]:
    """The city with one more app, whose first version serves; without it again afterwards, whatever has failed."""
    city.add("parks.yaml", app("walks", "parks"))
    try:
        web = city.component("walks")
        del web["health"]
        web |= {"command": ["python3", "-uc", SERVER], "probes": {"ready": {"path": "/ready", "every": 1}}}
        release(city, "one")
        home.run("up", city, "--yes")
        yield city
    finally:
        # A canary that is under way ends with its app. The run brings the store of metrics back too.
        city.remove("App", "walks")
        city.save()
        home.run("up", city, "--yes", f"--confirm={NAME}")
        left = cluster.kubectl("get", "deployments,services", "-n", "parks-internet", "-o", "name")
        assert "walks" not in left, left
        assert cluster.get("statefulset", "metrics", "-n", OPERATIONS)["status"]["readyReplicas"] == 1


def state(home: Machine, city: CityFiles) -> dict[str, Any]:
    found: dict[str, Any] = home.run("rollout", "status", city, "walks", "-o", "json").json()
    return found


def pausing(home: Machine, city: CityFiles) -> bool:
    rollout = state(home, city)["rollout"]
    return bool(rollout) and rollout["phase"] == "pausing"


def test_a_version_that_answers_by_errors_is_taken_back_in_its_pause(
    home: Machine, walks: CityFiles, node: Node
) -> None:
    release(walks, "broken", 503)
    with home.running("up", walks, "--yes", "--only", "parks") as up:
        eventually(lambda: pausing(home, walks), 120)
        found = ask(home, walks, node, "walks", 200)
        # Half of the requests; the standard deviation is 7.
        assert 60 < found["broken", 503] < 140
        assert found["broken", 503] + found["one", 200] == 200
        assert up.wait(110) == 4
    shown = state(home, walks)
    assert (shown["rollout"], shown["held"]["because"], shown["serving"]) == (None, "aborted", 1)
    assert shown["held"]["why"].endswith("requests in this step failed (100 %), more than 10 %")
    assert ask(home, walks, node, "walks", 20) == {("one", 200): 20}


def test_one_of_whose_requests_nothing_is_known_stays_at_its_step(
    home: Machine, walks: CityFiles, node: Node, cluster: Cluster
) -> None:
    release(walks, "two", pause="20s")
    with home.running("up", walks, "--yes", "--only", "parks") as up:
        eventually(lambda: pausing(home, walks), 120)
        cluster.kubectl("scale", "statefulset", "metrics", "-n", OPERATIONS, "--replicas=0")
        assert up.wait(150) == 4
    assert pausing(home, walks)
    assert set(ask(home, walks, node, "walks", 10)) <= {("one", 200), ("two", 200)}
    # The next `up` brings the store back, and goes on once samples cover the length of a pause: of its requests, the
    # errors of the version that was taken back are none.
    done = home.run("up", walks, "--yes", "--only", "parks", code=None)
    assert "the canary stays at its step" in done.text, done
    if done.code:
        done = home.run("up", walks, "--yes", "--only", "parks")
    assert "too few to judge by" in done.text, done
    assert state(home, walks)["serving"] == 2
    assert ask(home, walks, node, "walks", 20) == {("two", 200): 20}
