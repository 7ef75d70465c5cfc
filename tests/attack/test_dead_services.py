"""Services of a real node that are there and do nothing: their processes stopped, from outside and behind wrappers."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.node_cloud import NodeCloud, eventually, pod
from wecityctl.local import cloud
from wecityctl.local.proctable import is_stopped, start_time
from wecityctl.local.spec import ServiceStatus

pytestmark = pytest.mark.node


def service(node: NodeCloud, name: str) -> ServiceStatus:
    return next(each for each in cloud.status(node.spec.name).services if each.name == name)


def below(pid: int) -> Iterator[int]:
    """Every process below that one."""
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            yield child
            yield from below(child)


def inner(node: NodeCloud, name: str, program: str) -> int:
    """The process that a service is about, below its wrappers."""
    own = service(node, name).pid
    return next(pid for pid in (own, *below(own)) if program in Path(f"/proc/{pid}/cmdline").read_text().split("\0")[0])


@pytest.mark.parametrize(
    ("name", "program"),
    [("netpol", "python"), ("containerd", "bin/containerd"), ("kubelet", "bin/kubelet"), ("kube-proxy", "kube-proxy")],
)
def test_a_stopped_program_is_started_again_though_nobody_asks(node: NodeCloud, name: str, program: str) -> None:
    first = inner(node, name, program)
    log = Path(service(node, name).log).with_name("supervisor.log")
    before = log.stat().st_size
    os.kill(first, signal.SIGSTOP)
    eventually(lambda: f"{name} did not answer" in log.read_text()[before:], 90)
    eventually(lambda: start_time(first) is None)
    node.start()
    assert inner(node, name, program) != first
    assert cloud.status(node.spec.name).health == "healthy"


def test_up_asks_the_api_server_and_waits_for_the_next(node: NodeCloud) -> None:
    first = service(node, "kube-apiserver").pid
    os.kill(first, signal.SIGSTOP)
    eventually(lambda: is_stopped(first))
    # An answer of the last second counts as one of now.
    time.sleep(1.2)
    stopped = cloud.status(node.spec.name)
    assert stopped.health == "degraded"
    assert "kube-apiserver: its process is stopped" in stopped.message
    node.start()
    assert node.get("node", "real-0")
    assert service(node, "kube-apiserver").pid != first


def test_containers_outlive_a_stopped_containerd(node: NodeCloud) -> None:
    """It is killed as if it had crashed: its successor finds them."""
    node.apply(pod("survivor", "pause"))
    node.ready("survivor")
    started = node.get("pod", "survivor")["status"]["containerStatuses"][0]["state"]["running"]["startedAt"]
    first = inner(node, "containerd", "bin/containerd")
    os.kill(first, signal.SIGSTOP)
    eventually(lambda: start_time(first) is None, 90)
    node.start()
    try:
        status = node.get("pod", "survivor")["status"]["containerStatuses"][0]
        assert (status["restartCount"], status["state"]["running"]["startedAt"]) == (0, started)
    finally:
        node.kubectl("delete", "pod", "survivor", "--wait=false")
