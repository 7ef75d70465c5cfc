"""Additions whose writer has removed his record: found, told apart from defaults, and removed when taken over."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest

from tests.drift.test_examine_cluster import Object, Place, client, deployment, place, pods, what
from wecityctl.drift.recorded_object import RecordedObject
from wecityctl.drift.restore import own_again, take_over

__all__ = ["client", "place"]

pytestmark = pytest.mark.cluster

PROBE = {"httpGet": {"path": "/", "port": 8080}}
CLAIM = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
# One object of each kind that stacks make and that is not compared whole, with little stated: most is filled in.
KINDS: dict[str, tuple[str, Object]] = {
    "Deployment": ("apps/v1", {"spec": {"selector": {"matchLabels": {"app": "web"}}, "template": pods()}}),
    "StatefulSet": (
        "apps/v1",
        {
            "spec": {
                "serviceName": "web",
                "selector": {"matchLabels": {"app": "web"}},
                "template": pods(initContainers=[{"name": "first", "image": "none:1", "livenessProbe": None}]),
                "volumeClaimTemplates": [{"metadata": {"name": "disk"}, "spec": CLAIM}],
            }
        },
    ),
    "DaemonSet": ("apps/v1", {"spec": {"selector": {"matchLabels": {"app": "web"}}, "template": pods()}}),
    "Job": ("batch/v1", {"spec": {"template": pods(restartPolicy="Never")}}),
    "CronJob": (
        "batch/v1",
        {"spec": {"schedule": "0 0 * * *", "jobTemplate": {"spec": {"template": pods(restartPolicy="Never")}}}},
    ),
    "Service": ("v1", {"spec": {"selector": {"app": "web"}, "ports": [{"port": 80}], "type": "NodePort"}}),
    "ConfigMap": ("v1", {"data": {"a": "1"}}),
    "Secret": ("v1", {"stringData": {"a": "1"}}),
    "ServiceAccount": ("v1", {}),
    "PersistentVolumeClaim": ("v1", {"spec": CLAIM}),
    "HorizontalPodAutoscaler": (
        "autoscaling/v2",
        {"spec": {"maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}}},
    ),
    "PodDisruptionBudget": ("policy/v1", {"spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}}),
    "Ingress": (
        "networking.k8s.io/v1",
        {"spec": {"defaultBackend": {"service": {"name": "web", "port": {"number": 80}}}}},
    ),
}


async def wipe(place: Place, item: RecordedObject, how: str) -> None:
    """Remove the record of everybody, or of everybody but the resource's own applies."""
    if how == "all":
        await place.patch(item, {"metadata": {"managedFields": [{}]}}, how="merge")
        return
    entries = (await place.live(item))["metadata"]["managedFields"]
    ours = [entry for entry in entries if entry["manager"] == item.manager]
    await place.patch(item, {"metadata": {"managedFields": ours}}, how="merge")


@pytest.mark.parametrize("how", ["all", "others"])
@pytest.mark.parametrize("kind", KINDS)
async def test_what_the_api_server_fills_in_is_nobodys_addition(place: Place, kind: str, how: str) -> None:
    version, content = KINDS[kind]
    item = await place.make(version, kind, "object", **content)
    await wipe(place, item, how)
    case = await place.case(item)
    assert case.findings == ()
    # Owned again, what was there before is under the API server's own name for it; that is no addition either.
    await own_again(place.client, case)
    await place.applies(item)
    assert (await place.case(item)).findings == ()


INNER = "spec.template.spec"
WEB = f"{INNER}.containers[name=web]"
SIDE = {"containers": [{"name": "side", "image": "none:2"}]}
ADDED: dict[str, tuple[Object, list[str]]] = {
    "annotation": ({"metadata": {"annotations": {"a": "b"}}}, ["metadata.annotations.a"]),
    "label": ({"metadata": {"labels": {"a": "b"}}}, ["metadata.labels.a"]),
    "sidecar": ({"spec": {"template": {"spec": SIDE}}}, [f"{INNER}.containers[name=side]"]),
    "first container": (
        {"spec": {"template": {"spec": {"initContainers": [{"name": "first", "image": "none:2"}]}}}},
        [f"{INNER}.initContainers"],
    ),
    "environment": (
        {"spec": {"template": {"spec": {"containers": [{"name": "web", "env": [{"name": "B", "value": "2"}]}]}}}},
        [f"{WEB}.env[name=B]"],
    ),
    "privileges": (
        {"spec": {"template": {"spec": {"containers": [{"name": "web", "securityContext": {"privileged": True}}]}}}},
        [f"{WEB}.securityContext.privileged"],
    ),
    "host network": ({"spec": {"template": {"spec": {"hostNetwork": True}}}}, [f"{INNER}.hostNetwork"]),
    "command": (
        {"spec": {"template": {"spec": {"containers": [{"name": "web", "command": ["sh"]}]}}}},
        [f"{WEB}.command"],
    ),
    "another default": (
        {"spec": {"template": {"spec": {"containers": [{"name": "web", "imagePullPolicy": "Never"}]}}}},
        [f"{WEB}.imagePullPolicy"],
    ),
    "service account": (
        {"spec": {"template": {"spec": {"serviceAccountName": "strong"}}}},
        [f"{INNER}.serviceAccount", f"{INNER}.serviceAccountName"],
    ),
}


@pytest.mark.parametrize("how", ["all", "others"])
@pytest.mark.parametrize("name", ADDED)
async def test_an_addition_without_a_record_is_told_and_removed(place: Place, name: str, how: str) -> None:
    patch, fields = ADDED[name]
    item = await deployment(place)
    before = (await place.live(item))["spec"]
    await place.patch(item, patch)
    await wipe(place, item, how)
    case = await place.case(item)
    ((kind, managers, told),) = what(case)
    # hostNetwork comes with host ports, which the API server fills in.
    assert (kind, managers) == ("addition", ())
    assert set(fields) <= set(told)
    assert "nobody is on record for" in str(case.findings[0])
    await take_over(place.client, case)
    after = await place.live(item)
    if name != "another default":
        assert after["spec"] == before
    assert "a" not in {**(after["metadata"].get("annotations") or {}), **after["metadata"]["labels"]}
    assert (await place.case(item)).findings == ()


async def test_a_selector_that_is_owned_as_a_whole_takes_no_more(place: Place) -> None:
    """The resource owns the map, and somebody adds to it and removes his record."""
    item = await place.make("v1", "Service", "web", spec={"selector": {"app": "web"}, "ports": [{"port": 80}]})
    await place.patch(item, {"spec": {"selector": {"track": "mine"}}})
    await wipe(place, item, "others")
    assert what(await place.case(item)) == [("conflict", (), ["spec.selector.track"])]


async def test_after_a_refresh_an_addition_is_still_told(place: Place) -> None:
    item = await deployment(place)
    await place.patch(item, {"spec": {"template": {"spec": copy.deepcopy(SIDE)}}})
    await wipe(place, item, "others")
    refreshed = replace(item, outputs=await place.live(item))
    ((kind, _, fields),) = what(await place.case(refreshed))
    assert (kind, fields) == ("addition", [f"{INNER}.containers[name=side]"])
