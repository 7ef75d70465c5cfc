"""Fixtures that every test may use."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from typing import BinaryIO

import pytest
from hypothesis import HealthCheck, settings

from tests.support import keys, zygotes
from tests.support.control_plane import ControlPlane, control_plane
from wecityctl.engine.workers import pool

pytest_plugins = ("tests.support.by_digest", "tests.support.groups", "tests.support.node_cloud")

# A shell starts what it runs in the background with SIGINT ignored, and that passes on to every program that a test
# starts and then interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


# How long an example takes says how busy the machine is, and nothing of what is tested.
settings.register_profile("busy-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy-machine")


keys.share()

# API servers and stores of tests live for minutes: they may use memory instead of a sixth of their CPU time.
os.environ.setdefault("GOGC", "400")


def _zygote_of_the_nursery(preload: Sequence[str], control: socket.socket, errors: BinaryIO) -> pool.ZygoteProcess:
    return zygotes.nursery().start(preload, control, errors)


# Runs of the engine in the tests' own process load the SDKs no more than once. What depends on a zygote that is started
# anew asks for `anew`.
START_ANEW, pool.start_zygote = pool.start_zygote, _zygote_of_the_nursery


@pytest.fixture
def anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Zygotes of this test are started, as those of users are, and children of this process."""
    monkeypatch.setattr(pool, "start_zygote", START_ANEW)


@pytest.fixture(scope="session")
def api_server(until_last_cluster: ExitStack, tmp_path_factory: pytest.TempPathFactory) -> ControlPlane:
    """etcd and kube-apiserver, for everything that needs no controllers. Use a namespace of your own in it."""
    return until_last_cluster.enter_context(control_plane(tmp_path_factory.mktemp("api-server")))


@pytest.fixture(scope="session")
def cluster(until_last_cluster: ExitStack, tmp_path_factory: pytest.TempPathFactory) -> ControlPlane:
    """A control plane with controllers, scheduler and one simulated node: workloads become ready in it."""
    plane = until_last_cluster.enter_context(control_plane(tmp_path_factory.mktemp("cluster"), controllers=True))
    plane.kubectl("apply", "-f", "-", stdin=SIMULATED_NODE)
    return plane


SIMULATED_NODE = """
apiVersion: v1
kind: Node
metadata:
  name: simulated-0
  annotations: {kwok.x-k8s.io/node: fake}
  labels: {kubernetes.io/hostname: simulated-0, kubernetes.io/os: linux, kubernetes.io/arch: amd64}
"""
