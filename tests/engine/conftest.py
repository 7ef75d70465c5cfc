"""Fixtures of the engine's tests: a home of their own with the shared parts in it, and small cities."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.control_plane import PARTS, ControlPlane, binary
from wecityctl.inputs import Cluster


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home and XDG directories that nobody else uses; the engine's parts are the shared ones."""
    binary("pulumi")
    use_home(tmp_path, monkeypatch)
    return tmp_path


def use_home(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `directory` the home of this process: another one stands for another machine."""
    for name in [name for name in os.environ if name.startswith("PULUMI_")]:
        monkeypatch.delenv(name)
    for name, value in {
        "HOME": directory / "home",
        "XDG_CACHE_HOME": directory / "cache",
        "XDG_STATE_HOME": directory / "state",
        "XDG_CONFIG_HOME": directory / "config",
    }.items():
        value.mkdir(parents=True, exist_ok=True)
        monkeypatch.setenv(name, str(value))
    ours = directory / "cache" / "wecityctl"
    ours.mkdir(exist_ok=True)
    (ours / "parts").symlink_to(PARTS)


@pytest.fixture
def main_cluster(cluster: ControlPlane) -> Cluster:
    """The session's control plane as the cloud `main`."""
    uid = cluster.kubectl("get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}")
    return Cluster("main", cluster.kubeconfig_text, "", uid, simulated=True)
