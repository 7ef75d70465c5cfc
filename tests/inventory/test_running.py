"""The images that run in a city's namespaces, as a real API server tells."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.support.control_plane import ControlPlane
from wecityctl.inputs import Cluster
from wecityctl.inventory.running import Running, read_running
from wecityctl.model import naming

pytestmark = pytest.mark.cluster

CITY, ACCOUNT = "inventory", "runner"
IMAGE, DIGEST = "registry.example/web:1", "sha256:" + "a" * 64


def pod(name: str, namespace: str, image: str, app: str = "code") -> dict[str, object]:
    labels = {naming.PART_OF_LABEL: "health", naming.NAME_LABEL: app}
    container = {"name": "web", "image": image}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"serviceAccountName": ACCOUNT, "automountServiceAccountToken": False, "containers": [container]},
    }


def account(namespace: str) -> dict[str, object]:
    """A service account of the test's own: the cluster makes a namespace's `default` some time later."""
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT, "namespace": namespace}}


def namespace(name: str, city: str) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {naming.CITY_LABEL: city}}}


@pytest.fixture(scope="module")
def cluster(api_server: ControlPlane) -> Cluster:
    """A namespace of the city with two pods that run, one that waits and one that has ended; one of another city."""
    objects = [
        namespace("inventory-a", CITY),
        namespace("inventory-b", "another"),
        *(account(name) for name in ("inventory-a", "inventory-b")),
        *(pod(name, "inventory-a", IMAGE) for name in ("one", "two", "ended")),
        pod("waiting", "inventory-a", "registry.example/job:1", "report"),
        pod("foreign", "inventory-b", "registry.example/foreign:1"),
    ]
    api_server.kubectl("apply", "-f", "-", stdin="\n---\n".join(map(json.dumps, objects)))
    running = {"containerStatuses": [_status("web", f"registry.example/web@{DIGEST}")], "phase": "Running"}
    for name, status in {"one": running, "two": running, "ended": {"phase": "Succeeded"}}.items():
        patch = json.dumps({"status": status})
        api_server.kubectl("patch", "pod", name, "-n", "inventory-a", "--subresource=status", "-p", patch)
    return Cluster("main", api_server.kubeconfig_text, "admin", "uid")


def _status(name: str, image_id: str) -> dict[str, object]:
    return {"name": name, "imageID": image_id, "image": IMAGE, "ready": True, "restartCount": 0}


def test_what_runs_is_told_by_digest_and_owner(cluster: Cluster) -> None:
    found, errors = read_running(CITY, {"main": cluster}, 10)
    assert errors == {}
    assert found == (
        Running("registry.example/job:1", "", "main", "inventory-a", "health/report", "web", 1),
        Running(IMAGE, DIGEST, "main", "inventory-a", "health/code", "web", 2),
    )


def test_a_cluster_that_does_not_answer_is_told_beside_the_others(cluster: Cluster) -> None:
    broken = replace(cluster, kubeconfig=cluster.kubeconfig.replace("https://", "https://127.0.0.1:1/"))
    found, errors = read_running(CITY, {"main": cluster, "broken": replace(broken, cloud="broken")}, 10)
    assert len(found) == 2
    assert set(errors) == {"broken"}
