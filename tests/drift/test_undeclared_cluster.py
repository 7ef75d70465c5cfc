"""What nobody declared, on a real API server: what is found, what is excused, and that only rights are removed."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio

from tests.support.control_plane import ControlPlane
from wecityctl.drift.kinds import ALL
from wecityctl.drift.undeclared import Place, Stranger, find, place, remove
from wecityctl.engine.cluster.undeclared import unseen_notes
from wecityctl.kube.client import KubeClient
from wecityctl.kube.config import load_access
from wecityctl.kube.errors import NotFound
from wecityctl.kube.resource import Object
from wecityctl.kube.transport import HttpPool
from wecityctl.model.city import Expected
from wecityctl.model.kinds import LOOKED_FOR, TRAFFIC
from wecityctl.model.naming import CITY_LABEL, RETAINED_FOR

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
ADDRESSES: Object = {"subsets": [{"addresses": [{"ip": "192.0.2.7"}], "ports": [{"port": 80}]}]}
CLAIM: Object = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}


@dataclass
class City:
    """A city of one namespace, with a user beside it who makes what nobody declared."""

    client: KubeClient
    name: str
    declared: dict[Place, str] = field(default_factory=dict)
    made: list[Object] = field(default_factory=list)
    # By uid: what other tests have left on the cluster, such as the lines of another city.
    before: frozenset[str] = frozenset()

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
        strangers = [item for item in found.strangers if item.finding.uid not in self.before]
        return {item.finding.title.replace(self.name, "CITY"): item for item in strangers}

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


@pytest.fixture
def calls(client: KubeClient, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of the collections that are listed."""
    made: list[str] = []
    listing = KubeClient.list

    async def noted(self: KubeClient, rt: Any, *arguments: Any, **more: Any) -> Any:
        made.append(rt.path())
        return await listing(self, rt, *arguments, **more)

    monkeypatch.setattr(KubeClient, "list", noted)
    return made


@pytest_asyncio.fixture
async def city(client: KubeClient) -> AsyncIterator[City]:
    name = f"u-{uuid.uuid4().hex[:8]}"
    made = City(client, name)
    await made.declare("v1", "Namespace", name, space="", metadata={"labels": {CITY_LABEL: name}})
    # No controller makes it here, and pods need it.
    await made.put("v1", "ServiceAccount", "default")
    found = await find(client, name, made.declared, home=f"{name}.base")
    made.before = frozenset(item.finding.uid for item in found.strangers) - {
        each["metadata"]["uid"] for each in made.made
    }
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
    "PodTemplate": ("v1", {"template": TEMPLATE}),
    "PodDisruptionBudget": (
        "policy/v1",
        {"spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}},
    ),
    "EndpointSlice": (
        "discovery.k8s.io/v1",
        {"addressType": "IPv4", "endpoints": [{"addresses": ["192.0.2.7"]}], "ports": []},
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
            assert await remove(city.client, item) == "", title
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
    assert "changed in this very moment" in await remove(city.client, seen)
    (seen,) = (await city.look()).values()
    await city.client.delete(seen.type, "open", city.name)
    assert await remove(city.client, seen) == ""
    await city.put(*NETWORK, "open", spec=OPEN)
    assert "changed in this very moment" in await remove(city.client, seen)
    assert await city.titles() == {"NetworkPolicy CITY/open"}


async def test_what_a_finalizer_holds_counts_until_it_is_gone(city: City) -> None:
    held = {"finalizers": ["x.example/hold"]}
    kinds = ("NetworkPolicy", "Role", "RoleBinding", "Pod", "Secret")
    for kind in kinds:
        version, content = INSIDE[kind]
        await city.put(version, kind, "held", metadata=held, **content)
        await city.put(version, kind, "free", **content)
    binding = {"roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": "admin"}, "subjects": [MALLORY]}
    labels = {"labels": {CITY_LABEL: city.name}}
    whole = await city.put(
        f"{RBAC}/v1", "ClusterRoleBinding", f"held-{city.name}", space="", metadata={**held, **labels}, **binding
    )
    before = await city.look()
    for item in before.values():
        finding = item.finding
        await city.client.delete(item.type, finding.name, finding.namespace or None)
    titles = {*(f"{kind} CITY/held" for kind in kinds), "ClusterRoleBinding held-CITY"}
    found = await city.look()
    assert found.keys() == titles
    for item in found.values():
        assert str(item.finding).endswith("; it is being deleted, held by x.example/hold, and still in force")
        if item.finding.is_removable:
            assert "held by x.example/hold" in await remove(city.client, item)
    for title, item in found.items():
        name = str(whole["metadata"]["name"]) if title.startswith("Cluster") else "held"
        free = {"metadata": {"finalizers": None}}
        place_of = item.finding.namespace or None
        await city.client.patch(item.type, name, place_of, free, field_manager="mallory-tool", patch_type="merge")
    assert await city.titles() == set()


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
    assert await city.titles() == set()
    # A token of an account that runs apps is none of them.
    await city.put(
        "v1", "Secret", "web-token-abcde", metadata={"annotations": {"kubernetes.io/service-account.name": "web"}}
    )
    await city.put("v1", "PersistentVolumeClaim", "data-other-0", spec=CLAIM)
    assert await city.titles() == {"Secret CITY/web-token-abcde", "PersistentVolumeClaim CITY/data-other-0"}
    await city.client.delete(await city.client.resource("v1", "ConfigMap"), mesh["metadata"]["name"], "default")


async def test_endpoints_that_no_controller_keeps_are_found(city: City) -> None:
    """Whatever they claim: a controller undoes what others write only where it keeps the endpoints itself."""
    ports = {"ports": [{"port": 80}]}
    selecting = await city.declare("v1", "Service", "web", spec={**ports, "selector": {"app": "web"}})
    bare = await city.declare("v1", "Service", "bare", spec=ports)
    await city.declare("v1", "Endpoints", "bare", **ADDRESSES)
    mirrored = {**bare, "apiVersion": "v1", "kind": "Endpoints"}
    mirrored["metadata"] = (await city.client.get(await city.client.resource("v1", "Endpoints"), "bare", city.name))[
        "metadata"
    ]
    keeper, mirror = "endpointslice-controller.k8s.io", "endpointslicemirroring-controller.k8s.io"
    cases = {
        "kept": ("web", keeper, selecting),
        "copied": ("bare", mirror, mirrored),
        "other-keeper": ("web", "mallory", selecting),
        "mirror-of-selecting": ("web", mirror, selecting),
        "keeper-of-bare": ("bare", keeper, bare),
        "no-such-service": ("none", keeper, selecting),
    }
    for name, (service, manager, of) in cases.items():
        labels = {"kubernetes.io/service-name": service, "endpointslice.kubernetes.io/managed-by": manager}
        await city.put(
            "discovery.k8s.io/v1",
            "EndpointSlice",
            name,
            metadata={"labels": labels, **owner(of)},
            **INSIDE["EndpointSlice"][1],
        )
    await city.put("v1", "Endpoints", "web", **ADDRESSES)
    await city.put("v1", "Endpoints", "none", **ADDRESSES)
    told = {"other-keeper", "mirror-of-selecting", "keeper-of-bare", "no-such-service"}
    assert await city.titles() == {*(f"EndpointSlice CITY/{name}" for name in told), "Endpoints CITY/none"}


def crd(group: str, kind: str, *, namespaced: bool = True) -> Object:
    plural = f"{kind.lower()}s" if not kind.endswith("Policy") else f"{kind.lower()[:-1]}ies"
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    # These groups are only to be had with this.
    approved = {"annotations": {"api-approved.kubernetes.io": "unapproved, for a test"}}
    return {
        "metadata": {"name": f"{plural}.{group}", **approved},
        "spec": {
            "group": group,
            "names": {"kind": kind, "plural": plural, "singular": kind.lower(), "listKind": f"{kind}List"},
            "scope": "Namespaced" if namespaced else "Cluster",
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }


EXTENSIONS = (
    ("cilium.io", "CiliumNetworkPolicy", True),
    ("cilium.io", "CiliumClusterwideNetworkPolicy", False),
    ("crd.projectcalico.org", "NetworkPolicy", True),
    ("policy.networking.k8s.io", "AdminNetworkPolicy", False),
    ("gateway.networking.k8s.io", "HTTPRoute", True),
)


async def test_policies_of_extensions_are_found_and_nothing_is_asked_where_they_are_not_served(
    city: City, calls: list[str]
) -> None:
    await city.titles()
    assert not [path for path in calls if "cilium.io" in path or "gateway" in path]
    for group, kind, namespaced in EXTENSIONS:
        definition = crd(group, kind, namespaced=namespaced)
        name = definition["metadata"].pop("name")
        await city.put("apiextensions.k8s.io/v1", "CustomResourceDefinition", name, space="", **definition)
    for group, kind, namespaced in EXTENSIONS:
        for _ in range(100):
            if await city.client.serves(f"{group}/v1", kind):
                break
            await asyncio.sleep(0.1)
        name = "theirs" if namespaced else f"theirs-{city.name}"
        await city.put(f"{group}/v1", kind, name, space=None if namespaced else "", spec={})
    workload = await city.declare("apps/v1", "Deployment", "web", spec=WORKLOAD)
    await city.put("cilium.io/v1", "CiliumNetworkPolicy", "owned", metadata=owner(workload), spec={})
    wanted = {
        "CiliumNetworkPolicy CITY/theirs",
        "CiliumNetworkPolicy CITY/owned",
        "NetworkPolicy CITY/theirs",
        "HTTPRoute CITY/theirs",
        "CiliumClusterwideNetworkPolicy theirs-CITY",
        "AdminNetworkPolicy theirs-CITY",
    }
    found = await city.look()
    for _ in range(100):
        # Discovery follows new kinds with a delay.
        if found.keys() == wanted:
            break
        await asyncio.sleep(0.1)
        found = await city.look()
    assert found.keys() == wanted
    # Only what a core API defines is removed; what has no namespace is the cluster's owner's.
    assert not any(item.finding.is_removable for item in found.values())
    shared = {title for title, item in found.items() if item.finding.shared}
    assert shared == {"CiliumClusterwideNetworkPolicy theirs-CITY", "AdminNetworkPolicy theirs-CITY"}


async def test_what_asks_about_the_citys_objects_on_admission_is_told_and_left(city: City) -> None:
    group = "admissionregistration.k8s.io/v1"
    here = {"matchLabels": {CITY_LABEL: city.name}}
    elsewhere = {"matchExpressions": [{"key": CITY_LABEL, "operator": "In", "values": ["another"]}]}

    def webhooks(selector: Object, scope: str = "*") -> Object:
        rule = {"apiGroups": ["example.org"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["things"]}
        hook = {
            "name": "a.example.org",
            "clientConfig": {"url": "https://192.0.2.1/"},
            "rules": [{**rule, "scope": scope}],
            "namespaceSelector": selector,
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "failurePolicy": "Ignore",
        }
        return {"webhooks": [hook]}

    for kind in ("ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"):
        short = kind[:3].lower()
        await city.put(group, kind, f"{short}-here-{city.name}", space="", **webhooks(here))
        await city.put(group, kind, f"{short}-elsewhere-{city.name}", space="", **webhooks(elsewhere))
        await city.put(group, kind, f"{short}-cluster-{city.name}", space="", **webhooks(here, "Cluster"))
    for name, selector in (("here", here), ("elsewhere", elsewhere)):
        spec = {
            "policyName": "none",
            "validationActions": ["Audit"],
            "matchResources": {"namespaceSelector": selector},
        }
        await city.put(group, "ValidatingAdmissionPolicyBinding", f"{name}-{city.name}", space="", spec=spec)
    # Another city's own is that city's.
    anothers = {"labels": {CITY_LABEL: "another"}}
    await city.put(
        group,
        "ValidatingAdmissionPolicyBinding",
        f"city-{city.name}",
        space="",
        metadata=anothers,
        spec={"policyName": "none", "validationActions": ["Audit"]},
    )
    found = await city.look()
    assert found.keys() == {
        "ValidatingWebhookConfiguration val-here-CITY",
        "MutatingWebhookConfiguration mut-here-CITY",
        "ValidatingAdmissionPolicyBinding here-CITY",
    }
    assert all(item.finding.shared and not item.finding.is_removable for item in found.values())


async def test_whoever_may_do_everything_is_told_on_a_cluster_of_the_citys_own(city: City) -> None:
    def binding(role: str) -> Object:
        reference = {"apiGroup": RBAC, "kind": "ClusterRole", "name": role}
        return {"roleRef": reference, "subjects": [MALLORY]}

    async def own() -> dict[str, Stranger]:
        found = await find(city.client, city.name, city.declared, is_own=True)
        return {item.finding.title.replace(city.name, "CITY"): item for item in found.strangers}

    before = set(await own())
    # What the API server binds by itself is known, whatever version it is of.
    assert not [title for title in before if " system:" in title or title.endswith(" cluster-admin")]
    for verb, resource in (("get", "secrets"), ("create", "pods/exec"), ("get", "nodes")):
        name = f"{resource.replace('/', '-')}-{city.name}"
        rules = [{"apiGroups": [""], "resources": [resource], "verbs": [verb]}]
        await city.put(f"{RBAC}/v1", "ClusterRole", name, space="", rules=rules)
        await city.put(f"{RBAC}/v1", "ClusterRoleBinding", name, space="", **binding(name))
    await city.put(f"{RBAC}/v1", "ClusterRoleBinding", f"root-{city.name}", space="", **binding("cluster-admin"))
    await city.put(f"{RBAC}/v1", "ClusterRoleBinding", f"view-{city.name}", space="", **binding("view"))
    added = await own()
    assert added.keys() - before == {f"ClusterRoleBinding {name}-CITY" for name in ("secrets", "pods-exec", "root")}
    assert not any(item.finding.shared for item in added.values() if city.name in item.finding.name)
    # On somebody else's cluster that is the owner's.
    assert await city.titles() == set()


async def test_pods_that_were_changed_since_their_controller_made_them_are_told(city: City) -> None:
    client = city.client
    workload = await city.declare("apps/v1", "Deployment", "web", spec=WORKLOAD)
    replicas = await city.put(
        "apps/v1", "ReplicaSet", "web-1", metadata=owner(workload, controller=True), spec=WORKLOAD
    )
    injected = {"containers": [*TEMPLATE["spec"]["containers"], {"name": "mesh", "image": "mesh:1"}]}
    for name in ("same", "image", "debugged", "disguised"):
        await city.put("v1", "Pod", name, metadata=owner(replicas, controller=True), spec=injected)
    # A field that may be changed and is in no template.
    rt = await client.resource("v1", "Pod")
    patch = {"spec": {"containers": [{"name": "web", "image": "evil:1"}]}}
    for name, manager in (("image", "mallory-tool"), ("disguised", "kube-controller-manager")):
        await client.patch(rt, name, city.name, patch, field_manager=manager, patch_type="strategic")
    debug = {"spec": {"ephemeralContainers": [{"name": "dbg", "image": "tools:1"}]}}
    await client.patch(
        rt,
        "debugged",
        city.name,
        debug,
        field_manager="kubectl-debug",
        patch_type="strategic",
        subresource="ephemeralcontainers",
    )
    labels = {"metadata": {"labels": {"more": "yes"}}, "spec": {"containers": [{"name": "mesh", "image": "mesh:2"}]}}
    await client.patch(rt, "same", city.name, labels, field_manager="mesh", patch_type="strategic")
    found = {title: item.finding for title, item in (await city.look()).items()}
    assert {title: (item.what, tuple(map(str, item.fields))) for title, item in found.items()} == {
        "Pod CITY/image": ("altered", ("spec.containers[name=web].image (evil:1 instead of none:1)",)),
        "Pod CITY/disguised": ("altered", ("spec.containers[name=web].image (evil:1 instead of none:1)",)),
        "Pod CITY/debugged": ("altered", ("spec.ephemeralContainers[name=dbg].image (added)",)),
    }
    assert "mallory-tool" in found["Pod CITY/image"].managers
    assert not any(item.is_removable for item in found.values())


async def test_what_the_clouds_owner_puts_into_every_namespace_is_expected(city: City) -> None:
    expected = (Expected("NetworkPolicy", "networking.k8s.io", "owner-*"), Expected("Secret", "", "*"))
    for name in ("owner-dns", "other"):
        await city.put(*NETWORK, name, spec=OPEN)
    await city.put("v1", "Secret", "pull", stringData={"a": "1"})
    await city.put("v1", "ConfigMap", "owner-dns", data={})
    found = await find(city.client, city.name, city.declared, expected=expected)
    strangers = [item for item in found.strangers if item.finding.uid not in city.before]
    assert {item.finding.name for item in strangers} == {"other", "owner-dns"}
    assert {item.finding.kind for item in strangers} == {"NetworkPolicy", "ConfigMap"}
    assert {item.title.replace(city.name, "CITY") for item in found.expected} == {
        "NetworkPolicy CITY/owner-dns",
        "Secret CITY/pull",
    }


def test_the_kinds_that_files_may_name_are_those_that_are_looked_for() -> None:
    found = {(rt.group, rt.kind) for rt in ALL}
    extensions = {(group, kind) for group, kinds in TRAFFIC.items() for kind in kinds}
    assert found | extensions | {("admissionregistration.k8s.io", "MutatingAdmissionPolicyBinding")} == LOOKED_FOR


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
    assert await remove(city.client, found["ClusterRoleBinding group-CITY"]) == ""
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


async def test_an_extension_that_does_not_answer_is_told_and_not_taken_for_empty(city: City) -> None:
    """Calico's own API server is down: its policies are there, and may open what ours close."""
    service = {"name": "none", "namespace": city.name}
    broken = {"version": "v3", "groupPriorityMinimum": 1000, "versionPriority": 10, "insecureSkipTLSVerify": True}
    for group in ("projectcalico.org", "metrics.example"):
        spec = {"group": group, "service": service, **broken}
        await city.put("apiregistration.k8s.io/v1", "APIService", f"v3.{group}", space="", spec=spec)
    for _ in range(100):
        # The API server names a new group once it has asked it.
        async with HttpPool() as pool, KubeClient(city.client.access, pool) as client:
            found = await find(client, city.name, city.declared)
        if found.silent:
            break
        await asyncio.sleep(0.2)
    assert found.silent == ("projectcalico.org",)
    assert list(unseen_notes("main", found)) == [
        "cloud main: not looked for undeclared objects of projectcalico.org: the extension that serves them does not"
        " answer"
    ]


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
