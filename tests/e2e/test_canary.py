"""Releases by canary on a real node: aborted by itself, step by step, promoted, taken back, undone."""

from __future__ import annotations

import http.client
import signal
import socket
import ssl
from collections import Counter
from typing import Any

import pytest

from tests.e2e.files import CityFiles, app, document, tenant
from tests.e2e.machine import Cluster, Machine, eventually
from tests.support.real_node import require_real_node

pytestmark = pytest.mark.node

NAME = "canary"
HOST = f"trees.{NAME}.gov.example"
# Answers with its version; `/ready` fails from READY seconds after its start on.
SERVER = """
import os, signal, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
begun, limit = time.monotonic(), float(os.environ.get("READY", "inf"))
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *_): pass
    def do_GET(self):
        good = self.path != "/ready" or time.monotonic() - begun < limit
        body = os.environ["VERSION"].encode()
        self.send_response(200 if good else 503)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
ThreadingHTTPServer(("", 8080), Handler).serve_forever()
"""


@pytest.fixture(scope="module")
def city(home: Machine) -> CityFiles:
    require_real_node()
    spec = {
        "domain": f"{NAME}.gov.example",
        "zones": [{"name": "internet", "kind": "internet"}],
        "images": {"source": "built", "architectures": ["amd64"]},
    }
    trees = app("trees", "parks")
    web = trees["spec"]["components"][0]
    del web["health"]
    web |= {
        "command": ["python3", "-uc", SERVER],
        "probes": {"ready": {"path": "/ready", "every": 1, "failures": 2}, "startSeconds": 5},
    }
    documents = [
        document("City", NAME, spec),
        document("Cloud", "main", {"provider": "local", "zones": ["internet"], "local": {"nodes": "real"}}),
        document("Platform", "application", {"capabilities": [{"name": "gateway"}]}),
        tenant("parks"),
        trees,
    ]
    return CityFiles(home.root / "city", {"city.yaml": documents})


def release(city: CityFiles, version: str, *, pause: str = "5s", image: str = "", **env: str) -> None:
    """Write a version of the app into the files."""
    web = city.component("trees")
    web["image"] = image or "catalogue:sample-app"
    web["env"] = {"VERSION": version, **env}
    web["strategy"] = {"type": "canary", "steps": [20, 60], "pause": pause}
    city.save()


def answers(home: Machine, city: CityFiles, count: int = 1) -> Counter[str]:
    """Which versions have answered `count` requests at the entry point; each answer is a good one."""
    entry = home.run("outputs", city, "--stack", "entry", "-o", "json").json()["outputs"][f"{NAME}.entry"]
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPSConnection(HOST, entry["node_port"], timeout=5)
    plain = socket.create_connection((node(home), entry["node_port"]), timeout=5)
    connection.sock = context.wrap_socket(plain, server_hostname=HOST)
    found: Counter[str] = Counter()
    try:
        for _ in range(count):
            connection.request("GET", "/", headers={"Host": HOST})
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
            found[answer.read().decode()] += 1
    finally:
        connection.close()
    return found


def node(home: Machine) -> str:
    """The node's address."""
    cluster = Cluster(home.state / "clouds" / f"{NAME}-main" / "kubeconfig")
    addresses = cluster.get("nodes")["items"][0]["status"]["addresses"]
    return next(str(item["address"]) for item in addresses if item["type"] == "InternalIP")


def state(home: Machine, city: CityFiles) -> dict[str, Any]:
    """What `rollout status` says."""
    found: dict[str, Any] = home.run("rollout", "status", city, "trees", "-o", "json").json()
    return found


def at_step(home: Machine, city: CityFiles, step: int) -> bool:
    rollout = state(home, city)["rollout"]
    return bool(rollout) and (rollout["step"], rollout["phase"]) == (step, "pausing")


def test_a_canary_that_cannot_start_is_aborted_by_itself(home: Machine, city: CityFiles) -> None:
    release(city, "one")
    home.run("up", city, "--yes")
    assert state(home, city)["serving"] == 1
    release(city, "broken", image="registry.invalid/none:1")
    assert "gets 20 % of the requests" in home.run("preview", city).text
    done = home.run("up", city, "--yes", code=4)
    assert "the canary is aborted, release 1 goes on serving" in done.text
    assert answers(home, city, 20) == {"one": 20}
    found = state(home, city)
    assert (found["rollout"], found["held"]["because"], found["serving"]) == (None, "aborted", 1)
    # It is not tried again by itself, and nothing of it is left.
    home.run("preview", city, "--detailed-exitcode")
    cluster = Cluster(home.state / "clouds" / f"{NAME}-main" / "kubeconfig")
    assert "canary" not in cluster.kubectl("get", "deploy,svc,networkpolicy", "-n", "parks-internet")


def test_a_good_one_passes_its_steps_with_their_shares(home: Machine, city: CityFiles) -> None:
    release(city, "two", pause="20s")
    with home.running("up", city, "--yes") as up:
        eventually(lambda: at_step(home, city, 1), 90)
        found = answers(home, city, 400)
        assert set(found) == {"one", "two"}
        # The standard deviation is 2 %.
        assert 0.1 < found["two"] / 400 < 0.3
        assert "20 % of the requests" in home.run("status", city, code=None).text
        routes = home.run("outputs", city, "--stack", "tenant", "-o", "json").json()["outputs"]
        assert next(iter(routes.values()))["routes"][0]["canary"]["weight"] == 20
        # Skips the pause of the `up` that waits, and the step after it.
        home.run("rollout", "promote", city, "trees", "--yes")
        assert up.wait(60) == 0
    assert answers(home, city, 20) == {"two": 20}
    found = state(home, city)
    assert (found["rollout"], found["serving"]) == (None, 2)
    assert found["releases"][0]["parts"][0]["image_digest"].startswith("sha256:")
    home.run("preview", city, "--detailed-exitcode")


def test_an_interrupted_one_stays_at_its_step_and_is_taken_back(home: Machine, city: CityFiles) -> None:
    release(city, "three", pause="10m")
    with home.running("up", city, "--yes") as up:
        eventually(lambda: at_step(home, city, 1), 90)
        up.send_signal(signal.SIGINT)
        assert up.wait(30) == 8
    assert set(answers(home, city, 100)) == {"two", "three"}
    assert "release 2 gets all" in home.run("rollout", "abort", city, "trees", "--dry-run").text
    home.run("rollout", "abort", city, "trees", "--yes")
    assert answers(home, city, 20) == {"two": 20}
    assert state(home, city)["held"]["because"] == "aborted"
    home.run("rollout", "promote", city, "trees", "--yes", code=2)


def test_one_whose_pods_do_not_stay_ready_is_aborted_in_its_pause(home: Machine, city: CityFiles) -> None:
    release(city, "four", pause="1m", READY="12")
    done = home.run("up", city, "--yes", code=4)
    assert "0 of 1 pods are ready" in done.text
    assert answers(home, city, 20) == {"two": 20}


def test_the_release_before_comes_back(home: Machine, city: CityFiles) -> None:
    home.run("rollout", "undo", city, "trees", "--yes")
    assert answers(home, city, 20) == {"one": 20}
    found = state(home, city)
    assert (found["serving"], found["releases"][0]["of"]) == (3, 1)
    home.run("preview", city, "--detailed-exitcode")


def test_after_another_strategy_nothing_older_is_taken_for_what_serves(home: Machine, city: CityFiles) -> None:
    release(city, "five", pause="10m")
    with home.running("up", city, "--yes") as up:
        eventually(lambda: at_step(home, city, 1), 90)
        up.send_signal(signal.SIGINT)
        assert up.wait(30) == 8
    del city.component("trees")["strategy"]
    city.save()
    home.run("up", city, "--yes")
    assert answers(home, city, 5) == {"five": 5}
    found = state(home, city)
    assert (found["component"], found["serving"], found["held"]) == (None, 4, None)
    home.run("rollout", "undo", city, "trees", "--yes")
    assert answers(home, city, 5) == {"one": 5}
    assert "stays undone" in home.run("preview", city, "--detailed-exitcode").text
    release(city, "six")
    home.run("up", city, "--yes")
    assert answers(home, city, 20) == {"six": 20}
    assert state(home, city)["component"] == "web"
    home.run("preview", city, "--detailed-exitcode")
