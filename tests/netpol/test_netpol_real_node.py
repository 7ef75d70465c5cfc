"""Policies on the real node: containers started by the kubelet, named by labels, reached through Services."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator

import pytest

from tests.support.node_cloud import NodeCloud, eventually, pod
from wecityctl.local import cloud

pytestmark = pytest.mark.node

NAME = "netpol-test"
FLOWS = [
    {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]},
    {
        "podSelector": {"matchLabels": {"app": "db"}},
        "policyTypes": ["Ingress"],
        "ingress": [{"from": [{"podSelector": {"matchLabels": {"role": "web"}}}], "ports": [{"port": "sql"}]}],
    },
    {
        "podSelector": {"matchLabels": {"role": "web"}},
        "policyTypes": ["Egress"],
        "egress": [
            {"to": [{"podSelector": {"matchLabels": {"app": "db"}}}], "ports": [{"port": "sql"}]},
            {
                "to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}],
                "ports": [{"port": 53, "protocol": "UDP"}, {"port": 53}],
            },
        ],
    },
]


@pytest.fixture(scope="module")
def city(make: Callable[[str], NodeCloud]) -> Iterator[NodeCloud]:
    """A server behind a Service in a namespace where everything is closed but one flow."""
    made = make(NAME)
    made.start()
    made.apply(
        *(
            {
                "apiVersion": "networking.k8s.io/v1",
                "kind": "NetworkPolicy",
                "metadata": {"name": f"flow-{number}"},
                "spec": spec,
            }
            for number, spec in enumerate(FLOWS)
        ),
        pod(
            "db",
            "serve",
            ":8080",
            container={
                "ports": [{"name": "sql", "containerPort": 8080}],
                "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
            },
        ),
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "db"},
            "spec": {"selector": {"app": "db"}, "ports": [{"port": 80, "targetPort": "sql"}]},
        },
    )
    # Ready by the kubelet's probe, which no policy may keep out.
    made.ready("db")
    yield made
    cloud.reset(NAME)


def outcome(city: NodeCloud, name: str, labels: dict[str, str], *command: str) -> tuple[str, str]:
    """Run a command as a pod, once; the phase it ends in, and its words."""
    made = pod(name, *command, restartPolicy="Never")
    made["metadata"]["labels"] = labels
    city.apply(made)
    try:
        ended = eventually(lambda: _phase(city, name) if _phase(city, name) in ("Succeeded", "Failed") else "", 60)
        return ended, city.kubectl("logs", name)
    finally:
        city.kubectl("delete", "pod", name, "--wait=false")


def _phase(city: NodeCloud, name: str) -> str:
    return str(city.get("pod", name)["status"].get("phase"))


def test_a_pods_first_packet_already_passes(city: NodeCloud) -> None:
    """No retry, no pause: a name is looked up and a Service connected to as the container's very first act."""
    address = city.get("pod", "db")["status"]["podIP"]
    for number in range(3):
        ended, words = outcome(city, f"first-{number}", {"role": "web"}, "dial", f"{address}:8080")
        assert (ended, words.strip()) == ("Succeeded", "connected")
    ended, words = outcome(city, "first-by-name", {"role": "web"}, "get", "http://db")
    assert ended == "Succeeded" and "pod=db" in words


def test_a_pod_without_the_label_never_connects(city: NodeCloud) -> None:
    address = city.get("pod", "db")["status"]["podIP"]
    for target in (f"{address}:8080", city.get("service", "db")["spec"]["clusterIP"] + ":80"):
        ended, words = outcome(city, "stranger", {"role": "stranger"}, "dial", target)
        assert ended == "Failed" and "timeout" in words
        eventually(lambda: "NotFound" in city.kubectl("get", "pod", "stranger", check=False))


def test_an_agent_that_is_killed_comes_back_and_opens_nothing_meanwhile(city: NodeCloud) -> None:
    city.apply(
        pod("client", "pause"), {**pod("user", "pause"), "metadata": {"name": "user", "labels": {"role": "web"}}}
    )
    city.ready("client", "user")
    address = city.get("pod", "db")["status"]["podIP"]

    def agent() -> int:
        return next(each.pid for each in cloud.status(NAME).services if each.name == "netpol")

    killed = agent()
    os.killpg(killed, signal.SIGKILL)
    assert "timeout" in city.execute("client", "dial", f"{address}:8080", check=False)
    assert "connected" in city.execute("user", "dial", f"{address}:8080")
    eventually(lambda: agent() not in (0, killed))
    city.kubectl("label", "pod", "client", "role=web")
    eventually(lambda: "connected" in city.execute("client", "dial", f"{address}:8080", check=False))
