"""What nobody declared, on a real API server: what is found, what is excused, and that only rights are removed."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio

from tests.support.control_plane import ControlPlane
from wecityctl.drift.undeclared import CITY_LABEL, Place, Stranger, find, place, remove
from wecityctl.kube.client import KubeClient
from wecityctl.kube.config import load_access
from wecityctl.kube.errors import NotFound
from wecityctl.kube.resource import Object
from wecityctl.kube.transport import HttpPool
from wecityctl.provider.adoption import RETAINED_FOR

pytestmark = pytest.mark.cluster

RBAC = "rbac.authorization.k8s.io"
OPEN: Object = {"podSelector": {}, "ingress": [{}], "egress": [{}], "policyTypes": ["Ingress", "Egress"]}
RULES = [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]
MALLORY = {"apiGroup": RBAC, "kind": "User", "name": "mallory"}
TEMPLATE: Object = {
    "metadata": {"labels": {"app": "web"}},
    "spec": {"containers": [{"name": "web", "image": "none:1"}]},
}
WORKLOAD: Object = {"selector": {"matchLabels": {"app": "web"}}, "template": TEMPLATE}
CLAIM: Object = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}


@dataclass
class City:
    """A city of one namespace, with a user beside it who makes what nobody declared."""

    client: KubeClient
    name: str
    declared: dict[Place, str] = field(default_factory=dict)
    made: list[Object] = field(default_factory=list)

    async def put(self, api_version: str, kind: str, name: str, *, space: str | None = None, **content: Any) -> Object:
        """Make an object that nobody declared; in `space` (empty: of the whole cluster)."""
        meta = {"name": name, **content.pop("metadata", {})}
        if self.name if space is None else space:
            meta["namespace"] = self.name if space is None else space
        obj = {"apiVersion": api_version, "kind": kind, "metadata": meta, **content}
        live = await self.client.apply(obj, field_manager="mallory-tool")
        self.made.append(live)
        return live

    async def declare(self, api_version: str, kind: str, name: str, **content: Any) -> Object:
        live = await self.put(api_version, kind, name, **content)
        meta = live["metadata"]
        self.declared[place(api_version, kind, meta.get("namespace", ""), name)] = f"{self.name}.tenant"
        return live

    async def look(self) -> dict[str, Stranger]:
        found = await find(self.client, self.name, self.declared, home=f"{self.name}.base")
        assert found.unseen == ()
        return {item.finding.title.replace(self.name, "CITY"): item for item in found.strangers}

    async def titles(self) -> set[str]:
        return set(await self.look())

    async def clear(self) -> None:
        for obj in reversed(self.made):
            meta = obj["metadata"]
            if not meta.get("namespace") and obj["kind"] != "Namespace":
                rt = await self.client.resource(obj["apiVersion"], obj["kind"])
                with suppress(NotFound):
                    await self.client.delete(rt, meta["name"])


def owner(obj: Object, **more: Any) -> Object:
    reference = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "name": obj["metadata"]["name"]}
    return {"ownerReferences": [{**reference, "uid": obj["metadata"]["uid"], **more}]}


@pytest_asyncio.fixture
async def client(api_server: ControlPlane) -> AsyncIterator[KubeClient]:
    async with HttpPool() as pool, KubeClient(load_access(api_server.kubeconfig_text), pool) as found:
        yield found


@pytest_asyncio.fixture
async def city(client: KubeClient) -> AsyncIterator[City]:
    name = f"u-{uuid.uuid4().hex[:8]}"
    made = City(client, name)
    await made.declare("v1", "Namespace", name, space="", metadata={"labels": {CITY_LABEL: name}})
    # No controller makes it here, and pods need it.
    await made.put("v1", "ServiceAccount", "default")
    yield made
    await made.clear()


async def space(client: KubeClient, labels: Mapping[str, str] = {}) -> str:
    """A namespace that is not the city's."""
    name = f"o-{uuid.uuid4().hex[:8]}"
    obj = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": dict(labels)}}
    await client.apply(obj, field_manager="t")
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": name}}
    await client.apply(account, field_manager="t")
    return name


NETWORK = ("networking.k8s.io/v1", "NetworkPolicy")
# Everything that may be in a namespace, with what it needs to be taken.
INSIDE: dict[str, tuple[str, Object]] = {
    "NetworkPolicy": ("networking.k8s.io/v1", {"spec": OPEN}),
    "Role": (f"{RBAC}/v1", {"rules": RULES}),
    "RoleBinding": (
        f"{RBAC}/v1",
        {"roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": "admin"}, "subjects": [MALLORY]},
    ),
    "ResourceQuota": ("v1", {"spec": {"hard": {"pods": "10"}}}),
    "LimitRange": ("v1", {"spec": {"limits": [{"type": "Container", "default": {"cpu": "1"}}]}}),
    "Pod": ("v1", {"spec": TEMPLATE["spec"]}),
    "ReplicationController": ("v1", {"spec": {"selector": {"app": "web"}, "template": TEMPLATE}}),
    "ReplicaSet": ("apps/v1", {"spec": WORKLOAD}),
    "Deployment": ("apps/v1", {"spec": WORKLOAD}),
    "StatefulSet": ("apps/v1", {"spec": {**WORKLOAD, "serviceName": "web"}}),
    "DaemonSet": ("apps/v1", {"spec": WORKLOAD}),
    "Job": (
        "batch/v1",
        {"spec": {"template": {"spec": {**TEMPLATE["spec"], "restartPolicy": "Never"}}}},
    ),
    "CronJob": (
        "batch/v1",
        {
            "spec": {
                "schedule": "0 0 * * *",
                "jobTemplate": {"spec": {"template": {"spec": {**TEMPLATE["spec"], "restartPolicy": "Never"}}}},
            }
        },
    ),
    "HorizontalPodAutoscaler": (
        "autoscaling/v2",
        {
            "spec": {
                "maxReplicas": 9,
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            }
        },
    ),
    "Service": ("v1", {"spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}}),
    "Ingress": (
        "networking.k8s.io/v1",
        {"spec": {"defaultBackend": {"service": {"name": "web", "port": {"number": 80}}}}},
    ),
    "ServiceAccount": ("v1", {"automountServiceAccountToken": False}),
    "ConfigMap": ("v1", {"data": {"a": "1"}}),
    "Secret": ("v1", {"stringData": {"a": "1"}}),
    "PersistentVolumeClaim": ("v1", {"spec": CLAIM}),
}
REMOVABLE = {"NetworkPolicy", "Role", "RoleBinding"}


async def test_everything_that_is_not_declared_is_found_with_who_made_it_and_when(city: City) -> None:
    assert await city.titles() == set()
    for kind, (version, content) in INSIDE.items():
        await city.declare(version, kind, "ours", **content)
    assert await city.titles() == set()
    for kind, (version, content) in INSIDE.items():
        await city.put(version, kind, "theirs", **content)
    found = await city.look()
    assert found.keys() == {f"{kind} CITY/theirs" for kind in INSIDE}
    for item in found.values():
        finding = item.finding
        assert (finding.what, finding.managers, finding.stack) == (
            "undeclared",
            ("mallory-tool",),
            f"{city.name}.tenant",
        )
        assert finding.since.endswith("Z")
        assert finding.is_removable == (finding.kind in REMOVABLE)
        assert str(finding) == f"{finding.title} is not declared: made by mallory-tool at {finding.since}"


async def test_only_what_was_seen_and_only_rights_and_openings_are_removed(city: City) -> None:
    for kind, (version, content) in INSIDE.items():
        await city.declare(version, kind, "ours", **content)
        await city.put(version, kind, "theirs", **content)
    for title, item in (await city.look()).items():
        if item.finding.is_removable:
            assert await remove(city.client, item), title
        else:
            with pytest.raises(AssertionError):
                await remove(city.client, item)
    assert await city.titles() == {f"{kind} CITY/theirs" for kind in INSIDE if kind not in REMOVABLE}
    for kind, (version, _) in INSIDE.items():
        await city.client.get(await city.client.resource(version, kind), "ours", city.name)


async def test_what_was_changed_or_made_again_since_it_was_seen_is_left(city: City) -> None:
    await city.put(*NETWORK, "open", spec=OPEN)
    (seen,) = (await city.look()).values()
    await city.put(*NETWORK, "open", spec={**OPEN, "egress": []})
    assert not await remove(city.client, seen)
    (seen,) = (await city.look()).values()
    await city.client.delete(seen.type, "open", city.name)
    assert await remove(city.client, seen)
    await city.put(*NETWORK, "open", spec=OPEN)
    assert not await remove(city.client, seen)
    assert await city.titles() == {"NetworkPolicy CITY/open"}


async def test_what_a_declared_object_owns_is_the_citys(city: City) -> None:
    version, content = INSIDE["Deployment"]
    workload = await city.declare(version, "Deployment", "web", **content)
    replicas = await city.put(
        "apps/v1", "ReplicaSet", "web-1", metadata=owner(workload, controller=True), spec=WORKLOAD
    )
    await city.put("v1", "Pod", "web-1-a", metadata=owner(replicas), **INSIDE["Pod"][1])
    assert await city.titles() == set()
    # Rights and openings are never excused.
    for kind in ("NetworkPolicy", "Role", "RoleBinding", "ResourceQuota", "LimitRange"):
        version, content = INSIDE[kind]
        await city.put(version, kind, "owned", metadata=owner(workload), **content)
    assert await city.titles() == {
        f"{kind} CITY/owned" for kind in ("NetworkPolicy", "Role", "RoleBinding", "ResourceQuota", "LimitRange")
    }


async def test_what_an_undeclared_object_owns_is_told_by_its_owner(city: City) -> None:
    workload = await city.put("apps/v1", "Deployment", "web", spec=WORKLOAD)
    replicas = await city.put("apps/v1", "ReplicaSet", "web-1", metadata=owner(workload), spec=WORKLOAD)
    await city.put("v1", "Pod", "web-1-a", metadata=owner(replicas), **INSIDE["Pod"][1])
    assert await city.titles() == {"Deployment CITY/web"}


async def test_an_owner_reference_that_does_not_say_the_truth_excuses_nothing(city: City) -> None:
    client, pod = city.client, INSIDE["Pod"][1]
    workload = await city.declare("apps/v1", "Deployment", "web", spec=WORKLOAD)
    elsewhere = City(client, await space(client))
    twin = await elsewhere.put("apps/v1", "Deployment", "web", spec=WORKLOAD)
    account = await city.put("v1", "ServiceAccount", "default")
    forged = {
        "unknown-uid": owner(workload, uid=str(uuid.uuid4())),
        "other-name": owner(workload, name="other"),
        "other-kind": owner(workload, kind="ReplicaSet"),
        "other-group": owner(workload, apiVersion="batch/v1"),
        "other-namespace": owner(twin),
        "default-account": owner(account),
    }
    for name, metadata in forged.items():
        await city.put("v1", "Pod", name, metadata=metadata, **pod)
    first = await city.put("v1", "Pod", "circle-1", **pod)
    second = await city.put("v1", "Pod", "circle-2", metadata=owner(first), **pod)
    await city.put("v1", "Pod", "circle-1", metadata=owner(second), **pod)
    assert await city.titles() == {f"Pod CITY/{name}" for name in (*forged, "circle-1", "circle-2")}


async def test_an_owner_of_a_kind_that_is_not_listed_is_looked_up(city: City) -> None:
    lease = await city.declare("coordination.k8s.io/v1", "Lease", "leader")
    other = await city.put("coordination.k8s.io/v1", "Lease", "other")
    between = await city.put("coordination.k8s.io/v1", "Lease", "between", metadata=owner(lease))
    await city.put("v1", "Service", "ours", metadata=owner(between), **INSIDE["Service"][1])
    await city.put("v1", "Service", "theirs", metadata=owner(other), **INSIDE["Service"][1])
    assert await city.titles() == {"Service CITY/theirs"}


async def test_what_the_cluster_makes_by_itself_is_not_told(city: City) -> None:
    await city.put("v1", "ConfigMap", "kube-root-ca.crt")
    token = {"annotations": {"kubernetes.io/service-account.name": "default"}}
    await city.put("v1", "Secret", "default-token-abcde", metadata=token)
    # What a controller of the cluster puts into every namespace, such as a mesh's certificate.
    await city.put("v1", "ConfigMap", f"mesh-{city.name}")
    mesh = await city.put("v1", "ConfigMap", f"mesh-{city.name}", space="default")
    # Volumes of claim templates, and what `destroy` has kept.
    await city.declare("apps/v1", "StatefulSet", "db", spec={**WORKLOAD, "serviceName": "db"})
    await city.put("v1", "PersistentVolumeClaim", "data-db-0", spec=CLAIM)
    await city.put("v1", "PersistentVolumeClaim", "kept", metadata={"annotations": {RETAINED_FOR: "urn"}}, spec=CLAIM)
    await city.put("discovery.k8s.io/v1", "EndpointSlice", "web", addressType="IPv4", endpoints=[])
    assert await city.titles() == set()
    # A token of an account that runs apps is none of them.
    await city.put(
        "v1", "Secret", "web-token-abcde", metadata={"annotations": {"kubernetes.io/service-account.name": "web"}}
    )
    await city.put("v1", "PersistentVolumeClaim", "data-other-0", spec=CLAIM)
    assert await city.titles() == {"Secret CITY/web-token-abcde", "PersistentVolumeClaim CITY/data-other-0"}
    await city.client.delete(await city.client.resource("v1", "ConfigMap"), mesh["metadata"]["name"], "default")


async def test_rights_of_the_whole_cluster_that_reach_the_city_are_found(city: City) -> None:
    def binding(*subjects: Object, role: str = "view") -> Object:
        reference = {"apiGroup": RBAC, "kind": "ClusterRole", "name": role}
        return {"roleRef": reference, "subjects": list(subjects)}

    account = {"kind": "ServiceAccount", "name": "web", "namespace": city.name}
    cases = {
        "account": binding(MALLORY, account),
        "group": binding({"apiGroup": RBAC, "kind": "Group", "name": f"system:serviceaccounts:{city.name}"}),
        "user": binding({"apiGroup": RBAC, "kind": "User", "name": f"system:serviceaccount:{city.name}:web"}),
        "role": binding(MALLORY, role=f"manager-{city.name}"),
        "everybody": binding({"apiGroup": RBAC, "kind": "Group", "name": "system:serviceaccounts"}),
        "nobody": binding(MALLORY, {**account, "namespace": "kube-system"}),
        "alike": binding({"apiGroup": RBAC, "kind": "Group", "name": f"system:serviceaccounts:{city.name}-2"}),
    }
    await city.declare(f"{RBAC}/v1", "ClusterRole", f"manager-{city.name}", space="", rules=RULES)
    for name, content in cases.items():
        await city.put(f"{RBAC}/v1", "ClusterRoleBinding", f"{name}-{city.name}", space="", **content)
    labelled = {"labels": {CITY_LABEL: city.name}}
    await city.put(
        f"{RBAC}/v1", "ClusterRoleBinding", f"label-{city.name}", space="", metadata=labelled, **binding(MALLORY)
    )
    await city.put(f"{RBAC}/v1", "ClusterRole", f"label-{city.name}", space="", metadata=labelled, rules=RULES)
    await city.put(f"{RBAC}/v1", "ClusterRole", f"other-{city.name}", space="", rules=RULES)
    await city.declare(
        f"{RBAC}/v1", "ClusterRoleBinding", f"ours-{city.name}", space="", metadata=labelled, **binding(account)
    )
    found = await city.look()
    assert found.keys() == {
        *(f"ClusterRoleBinding {name}-CITY" for name in ("account", "group", "user", "label", "role", "everybody")),
        "ClusterRole label-CITY",
    }
    assert {item.finding.stack for item in found.values()} == {f"{city.name}.base"}
    assert not found["ClusterRole label-CITY"].finding.is_removable
    # What gives everybody something is told, and is the cluster's owner's.
    shared = {title for title, item in found.items() if item.finding.shared}
    assert shared == {"ClusterRoleBinding everybody-CITY"}
    assert not found["ClusterRoleBinding everybody-CITY"].finding.is_removable
    assert await remove(city.client, found["ClusterRoleBinding group-CITY"])
    assert "ClusterRoleBinding group-CITY" not in await city.look()


async def test_a_namespace_with_the_citys_label_is_found_with_what_is_in_it(city: City) -> None:
    added = await space(city.client, {CITY_LABEL: city.name})
    await city.put(*NETWORK, "open", space=added, spec=OPEN)
    found = await city.look()
    assert found.keys() == {f"Namespace {added}", f"NetworkPolicy {added}/open"}
    assert not found[f"Namespace {added}"].finding.is_removable
    kept = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": added, "annotations": {RETAINED_FOR: "urn"}}}
    await city.client.apply(kept, field_manager="t2")
    assert await city.titles() == {f"NetworkPolicy {added}/open"}


async def test_what_destroy_has_left_closed_is_not_told_and_its_mark_opens_nothing(city: City) -> None:
    marked = {"annotations": {RETAINED_FOR: "urn"}}
    kept = f"kept-{city.name}"
    await city.put("v1", "Namespace", kept, space="", metadata={"labels": {CITY_LABEL: city.name}, **marked})
    quota, opened = {"hard": {"pods": "0"}}, {"podSelector": {}, "ingress": [{}]}
    for place_of in (kept, city.name):
        await city.put(
            "networking.k8s.io/v1", "NetworkPolicy", "closed", space=place_of, metadata=marked, spec={"podSelector": {}}
        )
        await city.put("networking.k8s.io/v1", "NetworkPolicy", "opened", space=place_of, metadata=marked, spec=opened)
        await city.put("v1", "ResourceQuota", "few", space=place_of, metadata=marked, spec=quota)
    assert await city.titles() == {
        "NetworkPolicy kept-CITY/opened",
        "NetworkPolicy CITY/opened",
        "NetworkPolicy CITY/closed",
        "ResourceQuota CITY/few",
    }


async def test_others_namespaces_are_never_told_and_stay_as_they_are(city: City) -> None:
    other = City(city.client, await space(city.client))
    labelled = City(city.client, await space(city.client, {CITY_LABEL: "another"}))
    # Declared once, and another city's by now.
    city.declared[("", "Namespace", "", labelled.name)] = "stack"
    for each in (other, labelled):
        for kind, (version, content) in INSIDE.items():
            await each.put(version, kind, "theirs", **content)

    async def content() -> list[str]:
        found = []
        for each in (other, labelled):
            for kind, (version, _) in INSIDE.items():
                rt = await city.client.resource(version, kind)
                found.append(json.dumps(await city.client.get(rt, "theirs", each.name), sort_keys=True))
        return found

    before = await content()
    await city.put(*NETWORK, "open", spec=OPEN)
    found = await city.look()
    assert found.keys() == {"NetworkPolicy CITY/open"}
    for item in found.values():
        await remove(city.client, item)
    assert await content() == before


async def test_a_namespace_that_has_lost_its_label_is_still_the_citys(city: City) -> None:
    rt = await city.client.resource("v1", "Namespace")
    patch = {"metadata": {"labels": {CITY_LABEL: None}}}
    await city.client.patch(rt, city.name, None, patch, field_manager="mallory-tool")
    await city.put(*NETWORK, "open", spec=OPEN)
    assert await city.titles() == {"NetworkPolicy CITY/open"}


async def test_who_may_not_list_everywhere_looks_into_each_namespace(city: City, api_server: ControlPlane) -> None:
    rules = [
        {"apiGroups": ["networking.k8s.io", "apps"], "resources": ["*"], "verbs": ["list"]},
    ]
    await city.declare(f"{RBAC}/v1", "Role", "reader", rules=rules)
    reference = {"apiGroup": RBAC, "kind": "Role", "name": "reader"}
    subject = {"apiGroup": RBAC, "kind": "User", "name": "plain"}
    await city.declare(f"{RBAC}/v1", "RoleBinding", "reader", roleRef=reference, subjects=[subject])
    await city.put(*NETWORK, "open", spec=OPEN)
    await city.put("v1", "Service", "hidden", **INSIDE["Service"][1])
    config = json.loads(api_server.kubeconfig_text)
    config["users"][0]["user"] = {"token": api_server.token}
    async with HttpPool() as pool, KubeClient(load_access(json.dumps(config)), pool) as client:
        found = await find(client, city.name, city.declared)
    assert [item.finding.title for item in found.strangers] == [f"NetworkPolicy {city.name}/open"]
    # What could not be looked at is said.
    assert {"Namespace", "ClusterRoleBinding", "Role", "Service", "Secret"} <= set(found.unseen)
    assert not {"NetworkPolicy", "Ingress", "Deployment"} & set(found.unseen)
