"""The ways around an admission rule over a resource: its subresources. Each is covered, or changes nothing judged."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from tests.attack.roles import CITY, OPERATOR, SPACE
from tests.policy.object_cases import cases
from tests.policy.test_admission_cluster import attempt, create, held, until
from tests.support.control_plane import ControlPlane

pytestmark = pytest.mark.cluster

CHANGES = {
    "zone": {"wecity.dev/zone": "internet"},
    "city": {"wecity.dev/city": None},
    "pod-security": {"pod-security.kubernetes.io/enforce": "privileged"},
}
# Subresources that no rule matches, and why none has to. `test_...leave_alone` below tries those that take an object.
HARMLESS: Mapping[str, str] = {
    "pods/attach": "no object: a connection, which RBAC gives or does not",
    "pods/exec": "no object: a connection",
    "pods/portforward": "no object: a connection",
    "pods/proxy": "no object: a connection",
    "services/proxy": "no object: a connection",
    "pods/log": "no object: text",
    "pods/binding": "names a node",
    "pods/eviction": "deletes",
    "pods/resize": "changes resources alone",
    "pods/status": "keeps the spec",
    "services/status": "keeps the spec",
    "replicationcontrollers/status": "keeps the spec",
    "replicationcontrollers/scale": "changes replicas alone",
    **{f"{kind}/status": "keeps the spec" for kind in ("daemonsets", "deployments", "replicasets", "statefulsets")},
    **{f"{kind}/scale": "changes replicas alone" for kind in ("deployments", "replicasets")},
    **{f"{kind}/status": "keeps the spec" for kind in ("jobs", "cronjobs", "ingresses", "persistentvolumeclaims")},
}


KINDS = "pod,deployment,service,persistentvolumeclaim"


def test_every_subresource_of_what_is_judged_is_known(city: ControlPlane) -> None:
    """One that a new Kubernetes adds is to be looked at first."""
    judged = {
        (rule["apiGroups"][0], name)
        for item in held(CITY)
        for rule in item["spec"].get("matchConstraints", {}).get("resourceRules", ())
        for name in rule["resources"]
    }
    # Of custom resources, which no other group here has, parts of their own are a status and a scale at most.
    own = {"", *(item["name"] for item in json.loads(city.kubectl("get", "--raw", "/apis"))["groups"])}
    served = {
        (group, item["name"])
        for group, path in {(group, f"apis/{group}/v1" if group else "api/v1") for group, _ in judged}
        if group in own
        for item in json.loads(city.kubectl("get", "--raw", f"/{path}"))["resources"]
        if "/" in item["name"] and (group, item["name"].partition("/")[0]) in judged
    }
    assert ("", "namespaces/finalize") in served
    assert {name for group, name in served if (group, name) not in judged} == set(HARMLESS)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("part", ["status", "finalize"])
def test_no_part_of_a_namespace_takes_its_labels(city: ControlPlane, part: str, change: dict[str, str | None]) -> None:
    def relabel(who: str, labels: Mapping[str, str | None]) -> str:
        found = json.loads(city.kubectl("get", "namespace", SPACE, "-o", "json"))
        merged = {**found["metadata"]["labels"], **labels}
        found["metadata"]["labels"] = {key: value for key, value in merged.items() if value is not None}
        path = f"/api/v1/namespaces/{SPACE}/{part}?dryRun=All"
        return attempt(city, "replace", "--raw", path, "-f", "-", who=who, stdin=json.dumps(found))

    until(lambda: "red line namespace-labels" in relabel(OPERATOR, change))
    # Controllers, which are no managers either, write these parts with the labels as they are.
    assert relabel(OPERATOR, {}) == ""
    assert relabel(OPERATOR, {"colour": "red"}) == ""
    assert relabel("", change) == ""


def _restricted() -> dict[str, Any]:
    (case,) = (item for item in cases() if str(item) == "privileged-pods/pass-restricted-pod")
    return json.loads(json.dumps(case.objects[-1]))


def test_a_replication_controller_is_judged_like_other_workloads(city: ControlPlane) -> None:
    spec = _restricted()["spec"]
    labels = {"app": "old"}
    item = {
        "apiVersion": "v1",
        "kind": "ReplicationController",
        "metadata": {"name": "old", "namespace": SPACE},
        "spec": {"selector": labels, "template": {"metadata": {"labels": labels}, "spec": spec}},
    }
    assert create(city, item) == ""
    spec["hostNetwork"] = True
    until(lambda: "red line privileged-pods" in create(city, item))


def test_what_other_subresources_are_sent_leave_alone(city: ControlPlane) -> None:
    """A status, a scale or a resize that brings a container of its own along, and a binding."""
    pod = _restricted()
    pod["metadata"] = {"name": "apart", "namespace": SPACE}
    labels = {"app": "apart"}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "apart", "namespace": SPACE},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod["spec"]},
        },
    }
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "apart", "namespace": SPACE},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    items = json.dumps({"apiVersion": "v1", "kind": "List", "items": [pod, deployment, claim]})
    city.kubectl("create", "-f", "-", stdin=items)
    container = {**pod["spec"]["containers"][0], "image": "evil.example/x:1", "securityContext": {"privileged": True}}
    bad = {"hostNetwork": True, "containers": [container]}
    service = {"spec": {"externalIPs": ["192.0.2.1"]}, "metadata": {}}
    city.kubectl("create", "service", "clusterip", "apart", "--tcp=80", "-n", SPACE)

    def specs() -> list[Any]:
        found = json.loads(city.kubectl("get", KINDS, "-n", SPACE, "-o", "json"))["items"]
        specs = [item["spec"] for item in found if item["metadata"]["name"] == "apart"]
        return [spec.get("template", spec) for spec in specs]

    before = specs()
    assert len(before) == 4
    try:
        for kind, part, sent in (
            ("pod", "status", {"spec": bad}),
            ("pod", "resize", {"spec": bad}),
            ("deployment", "status", {"spec": {"template": {"spec": bad}}}),
            ("deployment", "scale", {"spec": {"template": {"spec": bad}}}),
            ("service", "status", service),
            ("persistentvolumeclaim", "status", {"spec": {"volumeName": "foreign"}}),
        ):
            sending = ("patch", kind, "apart", "-n", SPACE, f"--subresource={part}", "--type=merge", "-p")
            attempt(city, *sending, json.dumps(sent), who=OPERATOR)
            assert specs() == before, (kind, part)
    finally:
        freed = json.dumps({"metadata": {"finalizers": None}})  # no controller is here that would take it off
        city.kubectl("patch", "persistentvolumeclaim", "apart", "-n", SPACE, "--type=merge", "-p", freed)
        city.kubectl("delete", KINDS, "apart", "-n", SPACE, "--force", "--grace-period=0")
