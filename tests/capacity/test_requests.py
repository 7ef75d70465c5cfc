"""What a pod asks for, by the rules of the scheduler; held against kubectl's own sums on a real API server."""

from __future__ import annotations

import json
import re

import pytest

from tests.capacity.objects import container, pod
from tests.support.control_plane import ControlPlane
from wecityctl.kube.pod_requests import amount, pod_requests


def test_containers_add_up() -> None:
    assert pod_requests(pod(container("500m", "1Gi"), container("1", "512Mi"), container())) == {
        "cpu": 1500,
        "memory": 1536 * 1024**2,
    }


def test_the_largest_init_container_counts_where_it_is_more() -> None:
    found = pod_requests(pod(container("500m", "1Gi"), init=(container("2", "512Mi"), container("1", "256Mi"))))
    assert found == {"cpu": 2000, "memory": 1024**3}


def test_a_sidecar_runs_beside_the_containers_and_beside_later_init_containers() -> None:
    first, sidecar, later = container("1"), container("300m", sidecar=True), container("900m")
    assert pod_requests(pod(container("500m"), init=(first, sidecar, later))) == {"cpu": 1200}
    # The one before the sidecar starts runs alone.
    assert pod_requests(pod(container("500m"), init=(container("1500m"), sidecar))) == {"cpu": 1500}


def test_the_runtimes_overhead_comes_on_top() -> None:
    found = pod_requests(pod(container("1", "1Gi"), spec={"overhead": {"cpu": "250m", "memory": "64Mi"}}))
    assert found == {"cpu": 1250, "memory": 1024**3 + 64 * 1024**2}


def test_the_pods_own_requests_replace_its_containers() -> None:
    found = pod_requests(
        pod(container("1", "1Gi", **{"x.example/card": "2"}), spec={"resources": {"requests": {"cpu": "3"}}})
    )
    assert found == {"cpu": 3000, "memory": 1024**3, "x.example/card": 2}


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [([], 2000), ([{"type": "PodResizePending", "reason": "Infeasible", "status": "True"}], 1000)],
)
def test_a_pod_being_resized_holds_the_larger_amount(conditions: list[object], expected: int) -> None:
    held = {"name": "c", "resources": {"requests": {"cpu": "1"}}, "allocatedResources": {"cpu": "1"}}
    status = {"containerStatuses": [held], "conditions": conditions}
    assert pod_requests(pod(container("2"), status=status)) == {"cpu": expected}


@pytest.mark.parametrize(
    ("resource", "text", "expected"),
    [("cpu", "1", 1000), ("cpu", "0.1", 100), ("cpu", "100u", 1), ("memory", "1500m", 2), ("memory", "1e3", 1000)],
)
def test_amounts_are_whole_and_rounded_up(resource: str, text: str, expected: int) -> None:
    assert amount(resource, text) == expected


PODS = {
    "plain": {"containers": [("a", "250m", "64Mi"), ("b", "100m", "32Mi")]},
    "heavy-init": {"containers": [("a", "100m", "32Mi")], "init": [("i", "700m", "128Mi", False)]},
    "sidecar": {
        "containers": [("a", "200m", "64Mi")],
        "init": [("i", "150m", "64Mi", False), ("s", "300m", "16Mi", True), ("j", "400m", "1Mi", False)],
    },
    "nothing": {"containers": [("a", "", "")]},
}


def manifest(name: str, shape: dict[str, list[tuple[object, ...]]], node: str) -> dict[str, object]:
    def made(part: tuple[object, ...]) -> dict[str, object]:
        found = container(str(part[1]), str(part[2]), name=str(part[0]), sidecar=len(part) > 3 and bool(part[3]))
        return {**found, "image": "example.invalid/x:1"}

    spec = {
        "nodeName": node,
        "serviceAccountName": "runner",
        "containers": [made(part) for part in shape["containers"]],
        "initContainers": [made(part) for part in shape.get("init", [])],
        "tolerations": [{"operator": "Exists"}],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "requests"}, "spec": spec}


@pytest.mark.cluster
def test_the_sum_on_a_node_is_what_kubectl_says(cluster: ControlPlane) -> None:
    cluster.kubectl("create", "namespace", "requests")
    items = [manifest(name, shape, "simulated-0") for name, shape in PODS.items()]
    # Not `default`, which the cluster's controller makes at about the same time.
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "runner", "namespace": "requests"}}
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": [account]}))
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    try:
        text = cluster.kubectl("describe", "node", "simulated-0")
        said = dict(
            re.findall(r"^  (requests/\S+|cpu|memory) +(\S+) \(", text.partition("Allocated resources")[2], re.M)
        )
        pods = json.loads(
            cluster.kubectl("get", "pods", "-A", "--field-selector=spec.nodeName=simulated-0", "-o", "json")
        )["items"]
        sums: dict[str, int] = {}
        for each in pods:
            for resource, value in pod_requests(each).items():
                sums[resource] = sums.get(resource, 0) + value
        assert sums["cpu"] >= 250 + 100 + 700 + 700
        assert {name: amount(name, said[name]) for name in ("cpu", "memory")} == {
            name: sums[name] for name in ("cpu", "memory")
        }
    finally:
        cluster.kubectl("delete", "namespace", "requests", "--wait=false")
