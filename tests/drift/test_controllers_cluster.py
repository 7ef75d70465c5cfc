"""What the controllers of a real cluster write is no addition, for every kind that cities are made of."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import pytest_asyncio

from tests.drift.test_examine_cluster import MANAGER, Object, Place, place, pods
from tests.support.control_plane import ControlPlane
from wecityctl.drift import controllers
from wecityctl.kube.client import KubeClient
from wecityctl.kube.config import load_access
from wecityctl.kube.transport import HttpPool

__all__ = ["place"]
pytestmark = pytest.mark.cluster


@pytest_asyncio.fixture
async def client(cluster: ControlPlane) -> Any:
    async with HttpPool() as pool, KubeClient(load_access(cluster.kubeconfig_text), pool) as found:
        yield found


def contents(space: str) -> list[tuple[str, str, Object]]:
    template = pods()
    selector = {"matchLabels": {"app": "web"}}
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": ""}
    once = {"metadata": template["metadata"], "spec": {**template["spec"], "restartPolicy": "Never"}}
    rule = {"host": "a.example", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": BACKEND}]}}
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    volume = {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"],
        "hostPath": {"path": "/none"},
        "claimRef": {"name": "claim", "namespace": space},
    }
    return [
        ("v1", "ServiceAccount", {}),
        ("v1", "PersistentVolume", {"spec": volume}),
        ("v1", "PersistentVolumeClaim", {"spec": {**claim, "volumeName": space}}),
        ("apps/v1", "Deployment", {"spec": {"replicas": 2, "selector": selector, "template": template}}),
        ("apps/v1", "StatefulSet", {"spec": {"serviceName": "web", "selector": selector, "template": template}}),
        ("apps/v1", "DaemonSet", {"spec": {"selector": selector, "template": template}}),
        ("batch/v1", "Job", {"spec": {"template": once}}),
        ("batch/v1", "CronJob", {"spec": {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": once}}}}),
        ("v1", "Service", {"spec": {"type": "LoadBalancer", "selector": {"app": "web"}, "ports": [{"port": 80}]}}),
        ("v1", "ConfigMap", {"data": {"a": "1"}}),
        ("v1", "Secret", {"stringData": {"a": "1"}}),
        ("networking.k8s.io/v1", "Ingress", {"spec": {"rules": [rule]}}),
        ("policy/v1", "PodDisruptionBudget", {"spec": {"minAvailable": 1, "selector": selector}}),
        ("autoscaling/v2", "HorizontalPodAutoscaler", {"spec": {"scaleTargetRef": target, "maxReplicas": 2}}),
        ("networking.k8s.io/v1", "NetworkPolicy", {"spec": {"podSelector": {}}}),
        ("v1", "ResourceQuota", {"spec": {"hard": {"pods": "100"}}}),
    ]


BACKEND = {"service": {"name": "web", "port": {"number": 80}}}
NAMES = {"PersistentVolumeClaim": "claim"}


async def test_what_controllers_write_in_a_live_cluster_is_no_addition(place: Place) -> None:
    made = []
    for api_version, kind, content in contents(place.name):
        is_volume = kind == "PersistentVolume"
        name = place.name if is_volume else NAMES.get(kind, "web")
        made.append(await place.make(api_version, kind, name, not is_volume, **content))
    workload, claim = made[3], made[2]
    for _ in range(120):
        live = await place.live(workload)
        bound = ((await place.live(claim)).get("status") or {}).get("phase") == "Bound"
        if bound and (live.get("status") or {}).get("readyReplicas") == 2:
            break
        await asyncio.sleep(0.5)
    else:
        pytest.fail("the cluster does not come to rest")
    for item in made:
        assert [str(found) for found in (await place.case(item)).findings] == [], item.kind


def entry(manager: str, fields: Object, **more: str) -> Object:
    return {"manager": manager, "operation": "Update", "fieldsV1": fields, **more}


def test_a_controllers_name_stands_for_its_own_fields_alone() -> None:
    revision = {"f:metadata": {"f:annotations": {".": {}, "f:deployment.kubernetes.io/revision": {}}}}
    manager = "kube-controller-manager"
    assert controllers.beyond(entry(manager, revision), "Deployment") == {}
    assert controllers.beyond(entry(manager, revision), "StatefulSet") == revision
    assert controllers.beyond(entry("kubelet", revision), "Deployment") == revision
    both = {"f:metadata": {"f:annotations": {**revision["f:metadata"]["f:annotations"], "f:a": {}}}}
    assert controllers.beyond(entry(manager, both), "Deployment") == {
        "f:metadata": {"f:annotations": {".": {}, "f:a": {}}}
    }
    scaled = {"f:spec": {"f:replicas": {}}}
    assert controllers.beyond(entry("anybody", scaled, subresource="scale"), "Deployment") == {}
    assert controllers.beyond(entry(manager, scaled), "Deployment") == scaled
    assert controllers.beyond(entry(MANAGER, scaled), "Deployment") == scaled
