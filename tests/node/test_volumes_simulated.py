"""Volumes on simulated nodes: claims are bound, so that workloads with volumes can be rehearsed."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from wecityctl.local import cloud
from wecityctl.local.api import Api
from wecityctl.local.pki import Pki
from wecityctl.local.spec import CloudSpec, PoolSpec

pytestmark = pytest.mark.cluster


@pytest.fixture
def api(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    place = tmp_path_factory.mktemp("state")
    monkeypatch.setenv("XDG_STATE_HOME", str(place))
    running = cloud.start(
        CloudSpec("volumes", "simulated", zones=("a",), pools=(PoolSpec("general", nodes=1, zones=("a",)),))
    )
    pki = Pki(running.kubeconfig_path.parent / "pki", "volumes")
    admin = pki.client("admin", "wecityctl-admin", ("system:masters",))
    yield Api(running.server, pki.authority().certificate, admin.certificate, admin.key)
    cloud.reset("volumes")


def test_claim_is_bound_and_goes(api: Api) -> None:
    claims = "/api/v1/namespaces/default/persistentvolumeclaims"
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data", "namespace": "default"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "50Gi"}}},
    }
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "db", "namespace": "default"},
        "spec": {
            "tolerations": [{"operator": "Exists"}],
            "containers": [{"name": "db", "image": "example/db:1"}],
            "volumes": [volume],
        },
    }
    api.apply(f"{claims}/data", claim)
    api.apply("/api/v1/namespaces/default/pods/db", pod)
    _until(lambda: api.get(f"{claims}/data")["status"]["phase"] == "Bound")
    _until(lambda: api.get("/api/v1/namespaces/default/pods/db")["status"]["phase"] == "Running")
    name = api.get(f"{claims}/data")["spec"]["volumeName"]
    assert "hostPath" in api.get(f"/api/v1/persistentvolumes/{name}")["spec"]
    api.delete("/api/v1/namespaces/default/pods/db", grace_seconds=0)
    api.delete(f"{claims}/data")
    _until(lambda: api.find(f"/api/v1/persistentvolumes/{name}") is None)


def _until(done: object) -> None:
    assert callable(done)
    deadline = time.monotonic() + 30
    while not done():
        assert time.monotonic() < deadline, "not in 30 s"
        time.sleep(0.1)
