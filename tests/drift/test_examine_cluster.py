"""Drift on a real API server: what is found for each kind of change, and that putting it right leaves no conflict."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.support.control_plane import ControlPlane
from wecityctl.drift.examine import Case, examine
from wecityctl.drift.recorded_object import RecordedObject
from wecityctl.drift.restore import own_again, restore, take_over
from wecityctl.kube.client import KubeClient
from wecityctl.kube.config import load_access
from wecityctl.kube.errors import Conflict
from wecityctl.kube.transport import HttpPool
from wecityctl.provider.state import without_own_record

pytestmark = pytest.mark.cluster

MANAGER = "pulumi-kubernetes-0123abcd"
LABELS = {"app.kubernetes.io/managed-by": "wecityctl"}
Object = dict[str, Any]


@pytest_asyncio.fixture
async def client(api_server: ControlPlane) -> AsyncIterator[KubeClient]:
    async with HttpPool() as pool, KubeClient(load_access(api_server.kubeconfig_text), pool) as found:
        yield found


class Place:
    """A namespace of a test's own, with a user beside us who changes things with kubectl's methods."""

    def __init__(self, client: KubeClient, name: str) -> None:
        self.client = client
        self.name = name
        self.recorded: dict[str, RecordedObject] = {}

    async def make(
        self, api_version: str, kind: str, name: str, namespaced: bool = True, **content: Any
    ) -> RecordedObject:
        """Apply an object as a run does; what its state then has of it."""
        meta: Object = {"name": name, "labels": {**LABELS, "of": self.name}}
        if namespaced:
            meta["namespace"] = self.name
        else:
            # No stranger of the cities of other tests.
            meta["labels"]["wecity.dev/city"] = self.name
        inputs = {"apiVersion": api_version, "kind": kind, "metadata": meta, **content}
        return await self.apply(inputs)

    async def apply(self, inputs: Object) -> RecordedObject:
        live = await self.client.apply(inputs, field_manager=MANAGER)
        meta = inputs["metadata"]
        found = RecordedObject(
            "stack",
            f"urn:{inputs['kind']}",
            inputs["apiVersion"],
            inputs["kind"],
            meta.get("namespace", ""),
            meta["name"],
            MANAGER,
            inputs,
            without_own_record(live, MANAGER),
        )
        self.recorded[meta["name"]] = found
        return found

    async def patch(
        self,
        item: RecordedObject,
        patch: Any,
        *,
        how: Any = "strategic",
        who: str = "kubectl-edit",
        subresource: str = "",
    ) -> None:
        rt = await self.client.resource(item.api_version, item.kind)
        await self.client.patch(
            rt,
            item.name,
            item.namespace or None,
            patch,
            field_manager=who,
            patch_type=how,
            subresource=subresource,
        )

    async def live(self, item: RecordedObject) -> Object:
        rt = await self.client.resource(item.api_version, item.kind)
        return await self.client.get(rt, item.name, item.namespace or None)

    async def case(self, item: RecordedObject) -> Case:
        (case,) = await examine(self.client, f"of={self.name}", [item])
        return case

    async def applies(self, item: RecordedObject, **content: Any) -> Object:
        """Apply changed content without force, as the next run does; fails with a conflict where others own fields."""
        return await self.client.apply({**item.inputs, **content}, field_manager=MANAGER)


@pytest_asyncio.fixture
async def place(client: KubeClient) -> Place:
    name = f"t-{uuid.uuid4().hex[:8]}"
    await client.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}, field_manager="t")
    return Place(client, name)


def what(case: Case) -> list[tuple[str, tuple[str, ...], list[str]]]:
    return [(item.what, item.managers, [field.path for field in item.fields]) for item in case.findings]


NETWORK = ("networking.k8s.io/v1", "NetworkPolicy")
RBAC = "rbac.authorization.k8s.io/v1"
CLOSED: Object = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
DNS: Object = {
    "podSelector": {},
    "policyTypes": ["Egress"],
    "egress": [{"ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]}],
}
QUOTA: Object = {"hard": {"requests.cpu": "1000m", "pods": "10"}}
LIMITS: Object = {"limits": [{"type": "Container", "default": {"cpu": "1"}, "defaultRequest": {"cpu": "0.5"}}]}
RULES = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}]
ALICE = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "alice"}
MALLORY = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "mallory"}
ADMISSION: Object = {
    "failurePolicy": "Fail",
    "matchConstraints": {
        "resourceRules": [
            {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}
        ]
    },
    "matchConditions": [{"name": "ours", "expression": "object.metadata.name != 'x'"}],
    "validations": [{"expression": "true", "message": "never"}],
}

# An object, what somebody patches into it, and the fields that are told.
SECURITY: dict[str, tuple[tuple[str, str], Object, Any, list[str]]] = {
    "open ingress": (NETWORK, {"spec": CLOSED}, {"spec": {"ingress": [{}]}}, ["spec.ingress"]),
    "added port": (
        NETWORK,
        {"spec": DNS},
        [{"op": "add", "path": "/spec/egress/0/ports/-", "value": {"protocol": "TCP", "port": 443}}],
        ["spec.egress[0].ports"],
    ),
    "closed no longer": (
        NETWORK,
        {"spec": CLOSED},
        [{"op": "replace", "path": "/spec/policyTypes", "value": ["Egress"]}],
        ["spec.policyTypes"],
    ),
    "added subject": (
        (RBAC, "RoleBinding"),
        {"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"}, "subjects": [ALICE]},
        [{"op": "add", "path": "/subjects/-", "value": MALLORY}],
        ["subjects"],
    ),
    "added verb": (
        (RBAC, "Role"),
        {"rules": RULES},
        [{"op": "add", "path": "/rules/0/verbs/-", "value": "delete"}],
        ["rules[0].verbs"],
    ),
    "raised quota": (
        ("v1", "ResourceQuota"),
        {"spec": QUOTA},
        {"spec": {"hard": {"pods": "1000", "secrets": "5"}}},
        ["spec.hard.pods", "spec.hard.secrets"],
    ),
    "changed limit": (
        ("v1", "LimitRange"),
        {"spec": LIMITS},
        [{"op": "add", "path": "/spec/limits/-", "value": {"type": "Pod", "max": {"cpu": "9"}}}],
        ["spec.limits"],
    ),
    "label": (
        NETWORK,
        {"spec": CLOSED},
        {"metadata": {"labels": {"app.kubernetes.io/managed-by": "nobody"}}},
        ["metadata.labels[app.kubernetes.io/managed-by]"],
    ),
    "annotation": (NETWORK, {"spec": CLOSED}, {"metadata": {"annotations": {"a": "b"}}}, ["metadata.annotations"]),
}


@pytest.mark.parametrize("name", SECURITY)
async def test_a_security_object_is_compared_whole_and_restored(place: Place, name: str) -> None:
    (api_version, kind), content, patch, fields = SECURITY[name]
    item = await place.make(api_version, kind, "object", **content)
    assert (await place.case(item)).findings == ()
    before = (await place.live(item)).get("spec")
    how = "json" if isinstance(patch, list) else "strategic"
    await place.patch(item, patch, how=how)
    case = await place.case(item)
    assert what(case) == [("security", ("kubectl-edit",), fields)]
    assert await restore(place.client, case)
    after = await place.live(item)
    assert after.get("spec") == before
    assert {entry["manager"] for entry in after["metadata"]["managedFields"]} == {MANAGER}
    clean = await place.case(item)
    assert (clean.findings, clean.lost) == ((), {})
    # A changed program applies without a conflict, and what it no longer states goes.
    labels = {**item.inputs["metadata"], "labels": {"of": place.name, "new": "label"}}
    assert (await place.applies(item, metadata=labels))["metadata"]["labels"] == labels["labels"]


async def test_admission_policies_and_cluster_roles_are_compared_whole(place: Place) -> None:
    version = "admissionregistration.k8s.io/v1"
    policy = await place.make(version, "ValidatingAdmissionPolicy", place.name, namespaced=False, spec=ADMISSION)
    condition = {"name": "nobody", "expression": "false"}
    await place.patch(policy, [{"op": "add", "path": "/spec/matchConditions/-", "value": condition}], how="json")
    role = await place.make(RBAC, "ClusterRole", f"{place.name}-role", namespaced=False, rules=RULES)
    rule = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}
    await place.patch(role, [{"op": "add", "path": "/rules/-", "value": rule}], how="json", who="rancher")
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role.name}
    binding = await place.make(
        RBAC, "ClusterRoleBinding", place.name, namespaced=False, roleRef=reference, subjects=[ALICE]
    )
    await place.patch(binding, [{"op": "add", "path": "/subjects/-", "value": MALLORY}], how="json", who="rancher")
    told = [what(await place.case(item))[0] for item in (policy, role, binding)]
    assert told == [
        ("security", ("kubectl-edit",), ["spec.matchConditions"]),
        ("security", ("rancher",), ["rules"]),
        ("security", ("rancher",), ["subjects"]),
    ]
    for item in (policy, role, binding):
        assert await restore(place.client, await place.case(item))
        assert (await place.case(item)).findings == ()
    assert (await place.live(policy))["spec"]["matchConditions"] == ADMISSION["matchConditions"]
    # The role of a binding cannot be changed: a binding to another one is deleted and has to be made anew.
    rt = await place.client.resource(RBAC, "ClusterRoleBinding")
    await place.client.delete(rt, binding.name)
    other = {**binding.inputs, "roleRef": {**reference, "name": "cluster-admin"}}
    await place.client.apply(other, field_manager="rancher")
    case = await place.case(binding)
    assert what(case) == [("security", ("rancher",), ["roleRef"])]
    assert not await restore(place.client, case)
    assert what(await place.case(binding)) == [("missing", (), [])]


async def test_a_namespaces_security_labels_are_restored_and_others_left(place: Place) -> None:
    enforce = "pod-security.kubernetes.io/enforce"
    item = await place.make("v1", "Namespace", f"{place.name}-inner", namespaced=False)
    labels = {**item.inputs["metadata"]["labels"], enforce: "restricted", "wecity.dev/zone": "internet"}
    item = await place.apply({**item.inputs, "metadata": {**item.inputs["metadata"], "labels": labels}})
    assert (await place.case(item)).findings == ()
    patch = {
        "metadata": {"labels": {enforce: "privileged", "wecity.dev/zone": None, "wecity.dev/more": "x", "cost": "7"}}
    }
    await place.patch(item, patch, who="kubectl-label")
    case = await place.case(item)
    assert [found.what for found in case.findings] == ["security", "addition"]
    assert {field.path for field in case.findings[0].fields} == {
        f"metadata.labels[{enforce}]",
        "metadata.labels[wecity.dev/zone]",
        "metadata.labels[wecity.dev/more]",
    }
    assert case.findings[1].fields[0].path == "metadata.labels.cost"
    assert await restore(place.client, case)
    live = (await place.live(item))["metadata"]["labels"]
    assert {key: live.get(key) for key in (enforce, "wecity.dev/zone", "wecity.dev/more", "cost")} == {
        enforce: "restricted",
        "wecity.dev/zone": "internet",
        "wecity.dev/more": None,
        "cost": "7",
    }
    assert what(await place.case(item)) == [("addition", ("kubectl-label",), ["metadata.labels.cost"])]
    changed = {**item.inputs["metadata"], "labels": {**labels, enforce: "baseline"}}
    await place.applies(item, metadata=changed)


def pods(**more: Any) -> Object:
    container = {
        "name": "web",
        "image": "none:1",
        "ports": [{"containerPort": 8080}],
        "env": [{"name": "A", "value": "1"}],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }
    spec = {"containers": [container], "volumes": [{"name": "data", "emptyDir": {}}], **more}
    return {"metadata": {"labels": {"app": "web"}}, "spec": spec}


async def deployment(place: Place) -> RecordedObject:
    spec = {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": pods()}
    return await place.make("apps/v1", "Deployment", "web", spec=spec)


INNER = "spec.template.spec.containers[name=web]"
ADDITIONS: dict[str, tuple[Object, list[str]]] = {
    "env": (
        {"containers": [{"name": "web", "env": [{"name": "B", "value": "2"}]}]},
        [f"{INNER}.env[name=B].name", f"{INNER}.env[name=B].value"],
    ),
    "toleration": ({"tolerations": [{"operator": "Exists"}]}, ["spec.template.spec.tolerations"]),
    "sidecar": (
        {"containers": [{"name": "side", "image": "none:2"}]},
        ["spec.template.spec.containers[name=side].image", "spec.template.spec.containers[name=side].name"],
    ),
    "mount": (
        {"containers": [{"name": "web", "volumeMounts": [{"name": "data", "mountPath": "/etc", "subPath": "x"}]}]},
        [f"{INNER}.volumeMounts[mountPath=/etc].{name}" for name in ("mountPath", "name", "subPath")],
    ),
}


@pytest.mark.parametrize("name", ADDITIONS)
async def test_additions_are_reported_and_removed_when_they_are_taken_over(place: Place, name: str) -> None:
    patch, fields = ADDITIONS[name]
    item = await deployment(place)
    assert (await place.case(item)).findings == ()
    before = (await place.live(item))["spec"]["template"]
    await place.patch(item, {"spec": {"template": {"spec": patch}}})
    case = await place.case(item)
    ((kind, managers, told),) = what(case)
    assert (kind, managers) == ("addition", ("kubectl-edit",))
    assert [path for path in told if path in fields] == fields
    await take_over(place.client, case)
    assert (await place.live(item))["spec"]["template"] == before
    assert (await place.case(item)).findings == ()


async def test_a_stated_field_that_another_manager_changed_is_a_conflict(place: Place) -> None:
    item = await deployment(place)
    await place.patch(item, {"spec": {"replicas": 5}}, how="merge", who="kubectl", subresource="scale")
    await place.patch(item, {"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "evil:1"}]}}}})
    case = await place.case(item)
    ((kind, managers, fields),) = what(case)
    assert kind == "conflict"
    assert set(managers) == {"kubectl", "kubectl-edit"}
    assert fields == ["spec.replicas", "spec.template.spec.containers[0].image"]
    assert "spec.replicas (5 instead of 2)" in str(case.findings[0])
    with pytest.raises(Conflict):
        await place.applies(item)
    await take_over(place.client, case)
    assert (await place.case(item)).findings == ()
    live = await place.applies(item, spec={**item.inputs["spec"], "replicas": 3})
    assert live["spec"]["replicas"] == 3


async def test_the_number_of_a_stateful_set_is_restored_and_nothing_else_of_it(place: Place) -> None:
    spec = (await deployment(place)).inputs["spec"]
    item = await place.make("apps/v1", "StatefulSet", "db", spec={**spec, "replicas": 1, "serviceName": "db"})
    # Who scales to none is on no record.
    for count, who in ((2, ("kubectl",)), (0, ())):
        await place.patch(item, {"spec": {"replicas": count}}, how="merge", who="kubectl", subresource="scale")
        case = await place.case(item)
        assert what(case) == [("security", who, ["spec.replicas"])]
        restored = await restore(place.client, case)
        assert restored is not None and restored["spec"]["replicas"] == 1
        assert (await place.case(item)).findings == ()
    await place.patch(item, {"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "evil:1"}]}}}})
    await place.patch(item, {"spec": {"replicas": 3}}, how="merge", who="kubectl", subresource="scale")
    case = await place.case(item)
    assert [kind for kind, _, _ in what(case)] == ["security", "conflict"]
    await restore(place.client, case)
    ((kind, _, fields),) = what(await place.case(item))
    assert (kind, fields) == ("conflict", ["spec.template.spec.containers[0].image"])


async def test_what_was_changed_and_changed_back_is_owned_again(place: Place) -> None:
    item = await deployment(place)
    for count in (5, 2):
        await place.patch(item, {"spec": {"replicas": count}}, how="merge", who="kubectl", subresource="scale")
    with pytest.raises(Conflict):
        await place.applies(item, spec={**item.inputs["spec"], "replicas": 3})
    case = await place.case(item)
    assert case.findings == ()
    await own_again(place.client, case)
    live = await place.applies(item, spec={**item.inputs["spec"], "replicas": 3})
    assert live["spec"]["replicas"] == 3


async def test_removed_fields_and_what_was_applied_in_our_name_are_told(place: Place) -> None:
    item = await place.make("v1", "ConfigMap", "settings", data={"a": "1", "b": "2"})
    await place.patch(item, {"data": {"a": None}}, how="merge")
    assert what(await place.case(item)) == [("conflict", (), ["data.a"])]
    await place.applies(item)
    # A run that was killed applied more than it could write down.
    await place.client.apply({**item.inputs, "data": {"a": "1", "b": "2", "c": "3"}}, field_manager=MANAGER)
    ((kind, _, fields),) = what(await place.case(item))
    assert (kind, fields) == ("conflict", ["data.c"])


async def test_what_controllers_write_is_theirs(place: Place) -> None:
    item = await deployment(place)
    service = await place.make(
        "v1", "Service", "web", spec={"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}
    )
    patch = {"metadata": {"annotations": {"deployment.kubernetes.io/revision": "4"}}}
    await place.patch(item, patch, how="merge", who="kube-controller-manager")
    await place.patch(item, {"status": {"replicas": 2}}, how="merge", who="anybody", subresource="status")
    patch = {"metadata": {"finalizers": ["service.kubernetes.io/load-balancer-cleanup"]}}
    await place.patch(service, patch, how="merge", who="cloud-controller-manager")
    for found in (item, service):
        assert (await place.case(found)).findings == ()
    await place.patch(service, {"metadata": {"finalizers": None}}, how="merge", who="cloud-controller-manager")


async def test_finalizers_and_owners_that_others_add_are_additions(place: Place) -> None:
    item = await place.make("v1", "ConfigMap", "settings", data={"a": "1"})
    other = await place.live(await place.make("v1", "ConfigMap", "other", data={}))
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "other", "uid": other["metadata"]["uid"]}
    patch = {"metadata": {"finalizers": ["example.org/held"], "ownerReferences": [owner]}}
    await place.patch(item, patch, how="merge", who="some-operator")
    case = await place.case(item)
    (found,) = case.findings
    assert (found.what, found.managers) == ("addition", ("some-operator",))
    values = {field.path: field.live for field in found.fields}
    assert values == {
        'metadata.finalizers["example.org/held"]': "example.org/held",
        f"metadata.ownerReferences[uid={owner['uid']}]": owner,
    }
    assert str(found).endswith(f": additions by some-operator: {', '.join(values)}")
    await take_over(place.client, case)
    live = (await place.live(item))["metadata"]
    assert "finalizers" not in live and "ownerReferences" not in live
    assert (await place.case(item)).findings == ()
    # What others put into a Secret is not shown.
    secret = await place.make("v1", "Secret", "shut", stringData={"a": "1"})
    await place.patch(secret, {"stringData": {"b": "mine"}}, how="merge", who="some-operator")
    (found,) = (await place.case(secret)).findings
    assert [(field.path, field.live) for field in found.fields] == [("data.b", "[secret]")]


@pytest.mark.parametrize("who", ["kube-controller-manager", "kubelet", "kube-apiserver", "kwok"])
async def test_what_is_not_a_controllers_to_write_is_an_addition_under_its_name_too(place: Place, who: str) -> None:
    item = await deployment(place)
    inner = {"spec": {"containers": [{"name": "side", "image": "none:2"}]}}
    await place.patch(item, {"metadata": {"annotations": {"a": "b"}}, "spec": {"template": inner}}, who=who)
    ((kind, managers, fields),) = what(await place.case(item))
    assert (kind, managers) == ("addition", (who,))
    assert {"metadata.annotations.a", "spec.template.spec.containers[name=side].image"} <= set(fields)


async def test_what_is_being_deleted_is_told_with_what_holds_it(place: Place) -> None:
    item = await place.make("v1", "ConfigMap", "settings", data={"a": "1"})
    await place.patch(item, {"metadata": {"finalizers": ["example.org/held"]}}, how="merge")
    rt = await place.client.resource("v1", "ConfigMap")
    await place.client.delete(rt, item.name, place.name)
    (found,) = (await place.case(item)).findings
    assert (found.what, found.deleting, found.finalizers) == ("missing", True, ("example.org/held",))
    assert str(found).endswith("/settings is being deleted; finalizers hold it: example.org/held")
    await place.patch(item, {"metadata": {"finalizers": None}}, how="merge")
    (found,) = (await place.case(item)).findings
    assert (found.what, found.deleting) == ("missing", False)


async def test_replicas_that_are_not_stated_are_an_autoscalers(place: Place) -> None:
    spec = {"selector": {"matchLabels": {"app": "web"}}, "template": pods()}
    item = await place.make("apps/v1", "Deployment", "web", spec=spec)
    scaling = {"spec": {"replicas": 4}}
    await place.patch(item, scaling, how="merge", who="kube-controller-manager", subresource="scale")
    assert (await place.case(item)).findings == ()


@pytest.mark.parametrize("replicas", [None, 4], ids=["never-scaled", "scaled-before"])
async def test_no_replicas_at_all_switch_an_autoscaler_off_and_are_told(place: Place, replicas: int | None) -> None:
    spec = {"selector": {"matchLabels": {"app": "web"}}, "template": pods()}
    item = await place.make("apps/v1", "Deployment", "web", spec=spec)
    if replicas is not None:
        scaling = {"spec": {"replicas": replicas}}
        await place.patch(item, scaling, how="merge", who="kube-controller-manager", subresource="scale")
    await place.patch(item, {"spec": {"replicas": 0}}, how="merge", who="kubectl", subresource="scale")
    case = await place.case(item)
    (found,) = case.findings
    assert (found.what, len(found.fields)) == ("addition", 1)
    assert "spec.replicas" in str(found)
    live = await take_over(place.client, case)
    assert live["spec"]["replicas"] == 1
    assert (await place.case(item)).findings == ()


async def test_values_of_secrets_are_never_told(place: Place) -> None:
    item = await place.make("v1", "Secret", "key", data={"password": "b2xk"})
    hidden = RecordedObject(
        *(getattr(item, name) for name in ("stack", "urn", "api_version", "kind", "namespace", "name", "manager")),
        item.inputs,
        item.outputs,
        hidden=True,
    )
    await place.patch(item, {"data": {"password": "bmV3"}}, how="merge")
    (found,) = (await place.case(hidden)).findings
    assert found.what == "conflict"
    assert "bmV3" not in repr(found)
    assert "b2xk" not in repr(found)


async def test_who_may_only_read_still_sees_what_was_changed(place: Place, api_server: ControlPlane) -> None:
    item = await place.make(*NETWORK, "default-deny", spec=CLOSED)
    reader = await place.make(
        RBAC, "Role", "reader", rules=[{"apiGroups": ["*"], "resources": ["*"], "verbs": ["get"]}]
    )
    subject = {**ALICE, "name": "plain"}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": reader.name}
    await place.make(RBAC, "RoleBinding", "reader", roleRef=reference, subjects=[subject])
    config = json.loads(api_server.kubeconfig_text)
    config["users"][0]["user"] = {"token": api_server.token}
    async with HttpPool() as pool, KubeClient(load_access(json.dumps(config)), pool) as client:
        # No list for all namespaces is allowed: the objects are read one by one.
        (case,) = await examine(client, f"of={place.name}", [item])
        assert case.findings == ()
        await place.patch(item, {"spec": {"ingress": [{}]}})
        (case,) = await examine(client, f"of={place.name}", [item])
        assert what(case) == [("security", ("kubectl-edit",), ["spec.ingress"])]
