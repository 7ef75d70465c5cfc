"""What changes objects on admission, on a real API server: it cannot pass for what was stated."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager, suppress
from typing import Any

import pytest

from tests.drift.test_examine_cluster import (
    ALICE,
    CLOSED,
    DNS,
    LIMITS,
    MANAGER,
    NETWORK,
    QUOTA,
    RBAC,
    RULES,
    Object,
    Place,
    client,
    deployment,
    place,
    what,
)
from tests.support.admission import mutating
from tests.support.control_plane import ControlPlane
from wecityctl.drift.restore import restore
from wecityctl.errors import DeploymentError
from wecityctl.kube.errors import WebhookUnreachable

__all__ = ["client", "place"]
pytestmark = pytest.mark.cluster

GROUP = RBAC.partition("/")[0]
POLICIES, ROLES, BINDINGS = ("networking.k8s.io", "networkpolicies"), (GROUP, "roles"), (GROUP, "rolebindings")
OPEN = (
    "[JSONPatch{op: 'replace', path: '/spec', value: Object.spec{podSelector: Object.spec.podSelector{},"
    " policyTypes: ['Ingress'], ingress: [Object.spec.ingress{}]}}]"
)
MALLORY = "Object.subjects{kind: 'User', name: 'mallory', apiGroup: 'rbac.authorization.k8s.io'}"
ROLE_REF = {"apiGroup": GROUP, "kind": "Role", "name": "r"}


def add(path: str, value: str) -> str:
    return f"[JSONPatch{{op: 'add', path: '{path}', value: {value}}}]"


# A kind, what is stated, the resources that a policy matches, what it does, and the fields that are told.
MUTATIONS: dict[str, tuple[tuple[str, str], Object, tuple[str, str], str, list[str]]] = {
    "opened": (NETWORK, {"spec": CLOSED}, POLICIES, OPEN, ["spec.ingress", "spec.policyTypes"]),
    "an empty rule": (NETWORK, {"spec": CLOSED}, POLICIES, add("/spec/ingress", "[{}]"), ["spec.ingress"]),
    "one direction": (
        NETWORK,
        {"spec": CLOSED},
        POLICIES,
        "[JSONPatch{op: 'replace', path: '/spec/policyTypes', value: ['Ingress']}]",
        ["spec.policyTypes"],
    ),
    "a wider selector": (
        NETWORK,
        {"spec": {**CLOSED, "ingress": [{"from": [{"podSelector": {}}]}]}},
        POLICIES,
        add("/spec/ingress/0/from/0/namespaceSelector", "{}"),
        ["spec.ingress[0].from[0].namespaceSelector"],
    ),
    "a port": (
        NETWORK,
        {"spec": DNS},
        POLICIES,
        add("/spec/egress/0/ports/-", "Object.spec.egress.ports{port: 443}"),
        ["spec.egress[0].ports"],
    ),
    "a verb": ((RBAC, "Role"), {"rules": RULES}, ROLES, add("/rules/0/verbs/-", "'*'"), ["rules[0].verbs"]),
    "a subject": (
        (RBAC, "RoleBinding"),
        {"roleRef": ROLE_REF, "subjects": [ALICE]},
        BINDINGS,
        add("/subjects/-", MALLORY),
        ["subjects"],
    ),
    "a quota": (
        ("v1", "ResourceQuota"),
        {"spec": QUOTA},
        ("", "resourcequotas"),
        "[JSONPatch{op: 'replace', path: '/spec/hard/pods', value: '1000'}]",
        ["spec.hard.pods"],
    ),
    "a limit": (
        ("v1", "LimitRange"),
        {"spec": LIMITS},
        ("", "limitranges"),
        "[JSONPatch{op: 'replace', path: '/spec/limits/0/default/cpu', value: '8'}]",
        ["spec.limits[0].default.cpu"],
    ),
}


class Tampering:
    """Policies of one test: for its own namespace alone."""

    def __init__(self, plane: ControlPlane, place: Place) -> None:
        self._plane = plane
        self._place = place
        self.cause = f"MutatingAdmissionPolicy {place.name}"

    def __call__(
        self, resources: tuple[str, str], expression: str, probe: Object, *conditions: str
    ) -> AbstractContextManager[None]:
        name = self._place.name
        other = {**probe, "metadata": {**probe["metadata"], "name": f"probe-{name}", "namespace": name}}
        return mutating(self._plane.kubectl, name, resources, expression, other, *conditions, namespace=name)


@pytest.fixture
def tampering(api_server: ControlPlane, place: Place) -> Tampering:
    return Tampering(api_server, place)


@pytest.mark.parametrize("name", MUTATIONS)
async def test_what_admission_makes_of_a_security_object_is_not_taken_for_what_was_stated(
    place: Place, tampering: Tampering, name: str
) -> None:
    (api_version, kind), content, resources, expression, fields = MUTATIONS[name]
    item = await place.make(api_version, kind, "object", **content)
    assert (await place.case(item)).findings == ()
    with tampering(resources, expression, dict(item.inputs)):
        # Still as it was stated: it is told before anything is written.
        (found,) = (await place.case(item)).findings
        assert (found.what, found.admission) == ("security", (tampering.cause,))
        assert [field.path for field in found.fields] == fields
        assert found.is_refused
        assert tampering.cause in str(found)
        # Somebody, or a run, has written it.
        await place.patch(item, {"metadata": {"annotations": {"a": "b"}}}, how="merge")
        (found,) = (await place.case(item)).findings
        assert (found.admission, [field.path for field in found.fields]) == ((tampering.cause,), fields)
    (found,) = (await place.case(item)).findings
    assert (found.what, found.admission) == ("security", ())
    assert await restore(place.client, await place.case(item))
    assert (await place.case(item)).findings == ()


async def test_what_admission_changes_in_real_writes_alone_is_told_by_the_restoration(
    place: Place, tampering: Tampering
) -> None:
    item = await place.make(*NETWORK, "default-deny", spec=CLOSED)
    condition = f"request.dryRun != true || object.metadata.name == 'probe-{place.name}'"
    with tampering(POLICIES, OPEN, dict(item.inputs), condition):
        assert (await place.case(item)).findings == ()
        await place.patch(item, {"metadata": {"annotations": {"a": "b"}}}, how="merge")
        case = await place.case(item)
        ((kind, _, fields),) = what(case)
        assert (kind, fields) == ("security", ["metadata.annotations", "spec.ingress", "spec.policyTypes"])
        with pytest.raises(DeploymentError, match="cannot be written as stated"):
            await restore(place.client, case)


async def test_webhooks_whose_rules_match_are_named_too(
    place: Place, tampering: Tampering, api_server: ControlPlane
) -> None:
    def webhook(name: str, group: str, plural: str) -> Object:
        rule = {"apiGroups": [group], "apiVersions": ["*"], "operations": ["*"], "resources": [plural]}
        return {
            "name": f"{name}.example.org",
            "rules": [rule],
            "clientConfig": {"url": "https://127.0.0.1:9/"},
            "failurePolicy": "Ignore",
            "timeoutSeconds": 1,
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": place.name}},
        }

    kind = "MutatingWebhookConfiguration"
    hooks = {"pods": webhook("pods", "", "pods"), "all": webhook("all", "*", "*/*")}
    names = {name: f"{place.name}-{name}" for name in hooks}
    for name, hook in hooks.items():
        content = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "webhooks": [hook]}
        await place.client.apply({**content, "metadata": {"name": names[name]}}, field_manager="t")
    item = await place.make(*NETWORK, "default-deny", spec=CLOSED)
    try:
        with tampering(POLICIES, OPEN, dict(item.inputs)):
            (found,) = (await place.case(item)).findings
            assert found.admission == (tampering.cause, f"{kind} {names['all']}")
    finally:
        api_server.kubectl("delete", kind, *names.values())


async def test_labels_and_annotations_from_admission_are_no_change_of_a_security_object(
    place: Place, tampering: Tampering
) -> None:
    item = await place.make(*NETWORK, "default-deny", spec=CLOSED)
    with tampering(POLICIES, add("/metadata/labels/cost", "'7'"), dict(item.inputs)):
        assert (await place.case(item)).findings == ()
        await place.applies(item)
        assert (await place.case(item)).findings == ()
    aggregates = add("/metadata/labels/rbac.authorization.k8s.io~1aggregate-to-admin", "'true'")
    role = await place.make(RBAC, "Role", "role", rules=RULES)
    with tampering(ROLES, aggregates, dict(role.inputs)):
        (found,) = (await place.case(role)).findings
        assert found.admission == (tampering.cause,)


async def test_a_namespaces_security_labels_are_not_restored_against_admission(
    place: Place, api_server: ControlPlane
) -> None:
    enforce = "pod-security.kubernetes.io/enforce"
    item = await place.make("v1", "Namespace", f"{place.name}-inner", namespaced=False)
    labels = {**item.inputs["metadata"]["labels"], enforce: "restricted"}
    item = await place.apply({**item.inputs, "metadata": {**item.inputs["metadata"], "labels": labels}})
    name = f"{place.name}-labels"
    path = enforce.replace("/", "~1")
    probe = {**item.inputs, "metadata": {**item.inputs["metadata"], "name": f"{item.name}-probe"}}
    condition = f"object.metadata.name.startsWith('{item.name}')"
    weaker = f"[JSONPatch{{op: 'replace', path: '/metadata/labels/{path}', value: 'privileged'}}]"
    with mutating(api_server.kubectl, name, ("", "namespaces"), weaker, probe, condition):
        assert (await place.case(item)).findings == ()
        await place.patch(item, {"metadata": {"labels": {"cost": "7"}}}, how="merge")
        security, addition = (await place.case(item)).findings
        assert (security.what, security.admission) == ("security", (f"MutatingAdmissionPolicy {name}",))
        assert [field.path for field in security.fields] == [f"metadata.labels[{enforce}]"]
        assert addition.what == "addition"
    case = await place.case(item)
    assert [found.admission for found in case.findings if found.what == "security"] == [()]
    assert await restore(place.client, case)
    assert [found.what for found in (await place.case(item)).findings] == ["addition"]


async def test_a_stated_field_that_admission_changes_is_told_and_sidecars_are_not(
    place: Place, tampering: Tampering
) -> None:
    item = await deployment(place)
    image = "/spec/template/spec/containers/0/image"
    mirror = f"[JSONPatch{{op: 'replace', path: '{image}', value: 'mirror.example/none:1'}}]"
    with tampering(("apps", "deployments"), mirror, dict(item.inputs)):
        assert (await place.case(item)).findings == ()
        await place.applies(item)
        (found,) = (await place.case(item)).findings
        assert (found.what, found.admission) == ("conflict", (tampering.cause,))
        assert [str(field) for field in found.fields] == [
            "spec.template.spec.containers[name=web].image (mirror.example/none:1 instead of none:1)"
        ]
        assert not found.is_refused
    side = "Object.spec.template.spec.containers{name: 'side', image: 'side:1'}"
    item = await deployment(place)
    once = "!object.spec.template.spec.containers.exists(c, c.name == 'side')"
    injects = add("/spec/template/spec/containers/-", side)
    with tampering(("apps", "deployments"), injects, dict(item.inputs), once):
        await place.applies(item)
        live: Any = await place.live(item)
        assert [one["name"] for one in live["spec"]["template"]["spec"]["containers"]] == ["web", "side"]
        assert (await place.case(item)).findings == ()


async def test_the_api_servers_own_defaults_are_no_change(place: Place) -> None:
    """Everything that the API server fills in or spells otherwise, for each kind that is compared whole."""
    version = "admissionregistration.k8s.io/v1"
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}
    plain = {"kind": "User", "name": "bob"}
    account = {"kind": "ServiceAccount", "name": "web", "namespace": place.name}
    peers = [{"ports": [{"port": 80}], "from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}]
    bounds = [
        {"type": "Container", "max": {"cpu": "2000m", "memory": "1Gi"}, "min": {"memory": "1048576"}},
        {"type": "Pod", "max": {"cpu": "4000m"}},
        {"type": "PersistentVolumeClaim", "min": {"storage": "1024Mi"}},
    ]
    given = {"type": "Container", "default": {"cpu": "0.5"}, "defaultRequest": {"memory": "64Mi"}, "min": {"cpu": "1m"}}
    kinds: list[tuple[str, str, str, bool, Object]] = [
        (*NETWORK, "none", True, {"spec": {"podSelector": {}}}),
        (*NETWORK, "out", True, {"spec": {"podSelector": {"matchLabels": {"a": "b"}}, "egress": [{}]}}),
        (*NETWORK, "in", True, {"spec": {"podSelector": {}, "ingress": peers, "egress": []}}),
        (RBAC, "Role", "empty", True, {"rules": []}),
        (RBAC, "Role", "role", True, {"rules": RULES}),
        (RBAC, "RoleBinding", "b", True, {"roleRef": {"kind": "Role", "name": "r"}, "subjects": [plain, account]}),
        (RBAC, "RoleBinding", "nobody", True, {"roleRef": ROLE_REF}),
        (RBAC, "ClusterRole", f"{place.name}-c", False, {"rules": RULES}),
        (
            RBAC,
            "ClusterRoleBinding",
            f"{place.name}-c",
            False,
            {"roleRef": {"kind": "ClusterRole", "name": "r"}, "subjects": [{"kind": "Group", "name": "g"}]},
        ),
        ("v1", "ResourceQuota", "q", True, {"spec": {"hard": {"cpu": "1000m", "memory": "0.5Gi", "pods": "10"}}}),
        ("v1", "LimitRange", "bounds", True, {"spec": {"limits": bounds}}),
        ("v1", "LimitRange", "given", True, {"spec": {"limits": [given]}}),
        (version, "ValidatingAdmissionPolicy", place.name, False, {"spec": _policy(rule)}),
        (
            version,
            "ValidatingAdmissionPolicyBinding",
            place.name,
            False,
            {
                "spec": {
                    "policyName": place.name,
                    "validationActions": ["Deny", "Audit"],
                    "matchResources": {"resourceRules": [rule]},
                }
            },
        ),
    ]
    for api_version, kind, name, namespaced, content in kinds:
        item = await place.make(api_version, kind, name, namespaced, **content)
        assert [str(found) for found in (await place.case(item)).findings] == [], (kind, name)


def _policy(rule: Object) -> Object:
    return {
        "matchConstraints": {"resourceRules": [rule], "excludeResourceRules": [{**rule, "resources": ["secrets"]}]},
        "validations": [{"expression": "true"}],
    }


async def test_a_webhook_that_is_down_does_not_hide_what_others_have_changed(place: Place) -> None:
    """It must be asked for every write, dry runs too: reading goes on, and each object is told as itself."""
    policy = await place.make(*NETWORK, "closed", spec=CLOSED)
    other = await place.make(*NETWORK, "left", spec=CLOSED)
    workload = await deployment(place)
    await place.patch(policy, {"spec": {"ingress": [{}]}})
    await place.patch(workload, {"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "evil:1"}]}}}})
    selector = {"matchLabels": {"kubernetes.io/metadata.name": place.name}}
    rule = {"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*"]}
    hook = {
        "name": "down.example.org",
        "clientConfig": {"service": {"name": "none", "namespace": place.name}},
        "rules": [rule],
        "namespaceSelector": selector,
        "failurePolicy": "Fail",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }
    kind = ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration")
    await place.make(*kind, place.name, namespaced=False, webhooks=[hook])
    try:
        for _ in range(100):
            # The API server asks it some moments after it was made.
            with suppress(WebhookUnreachable):
                await place.client.apply(policy.body, field_manager=MANAGER, force=True, dry_run=True)
                await asyncio.sleep(0.1)
                continue
            break
        told = [what(await place.case(item)) for item in (policy, other, workload)]
    finally:
        await place.client.delete(await place.client.resource(*kind), place.name)
    assert told == [
        [("security", ("kubectl-edit",), ["spec.ingress"])],
        [],
        [("conflict", ("kubectl-edit",), ["spec.template.spec.containers[0].image"])],
    ]
