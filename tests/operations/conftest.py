"""Fixtures of the operations' tests: homes, and cities that are called from Python."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.engine.conftest import home, use_home
from tests.engine.drive import make_city, session_of
from tests.support.control_plane import ControlPlane
from wecityctl.engine.secrets.passphrase import VARIABLE
from wecityctl.session import Session, open_session

__all__ = ["home"]

EARLIER = Path(__file__).parents[1] / "engine" / "states" / "earlier"
FILES = """
apiVersion: wecity.dev/v1alpha1
kind: City
metadata: {{name: {name}}}
spec:
  domain: {name}.example
  zones: [{{name: internet, kind: internet}}]
  engine: {{kubernetesProvider: builtin}}
---
apiVersion: wecity.dev/v1alpha1
kind: Cloud
metadata: {{name: main}}
spec:
{cloud}
  zones: [internet]
---
apiVersion: wecity.dev/v1alpha1
kind: Tenant
metadata: {{name: health}}
spec:
  title: Health
  area: city-governance
  quota: {{cpu: "1", memory: 1Gi, storage: 1Gi}}
"""
ADOPTED = "  provider: kubernetes\n  kubernetes: {{kubeconfig: {}}}"
SIMULATED = "  provider: local\n  local: {nodes: simulated}"


def write_city(directory: Path, name: str, cloud: str) -> Path:
    """Write a small city with one cloud, and return its file."""
    files = directory / f"{name}.yaml"
    files.write_text(FILES.format(name=name, cloud=cloud))
    return files


@pytest.fixture
def open_city(home: Path, cluster: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Session]]:
    """Opens a small city on the session's control plane, by name."""
    names: list[str] = []
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "test")

    def opened(name: str) -> Session:
        names.append(name)
        return open_session(write_city(home, name, ADOPTED.format(cluster.kubeconfig)))

    yield opened
    for name in names:
        cluster.kubectl("delete", "namespace", "--wait=false", "-l", f"wecity.dev/city={name}")


@pytest.fixture
def brought_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    """A city of five stacks that an earlier release brought up: its states are in `state of the city`. Needs no engine
    to be read."""
    use_home(tmp_path, monkeypatch)
    place = tmp_path / "state of the city"
    shutil.copytree(EARLIER, place)
    monkeypatch.setenv(VARIABLE, "an earlier release")
    monkeypatch.chdir(tmp_path)
    return session_of(make_city("one", ("health",), backend=f"file://{place.as_posix().replace(' ', '%20')}"))
