"""`policy report` on a real API server: what is there is observed, what is taken away is missing, nothing is guessed.

The tests follow each other in this order: they take policies away.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.policy.test_admission_cluster import as_list, until
from tests.support.admission import mutating
from tests.support.control_plane import ControlPlane
from wecityctl import oci
from wecityctl.inputs import Cluster, Clusters
from wecityctl.model.city import Expected, Images, ImageSource
from wecityctl.operations.compliance import collect
from wecityctl.operations.offline import record_session
from wecityctl.operations.render import render
from wecityctl.policy.evidence import ComplianceReport, Observation
from wecityctl.policy.rules import RULES
from wecityctl.report.evidence import cloud_line
from wecityctl.session import open_session

pytestmark = pytest.mark.cluster

EXAMPLE = Path(__file__).parents[2] / "examples" / "xingcheng"
ENFORCING = {
    "Namespace",
    "NetworkPolicy",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
    "ServiceAccount",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
}


@dataclass(frozen=True)
class Assessed:
    """The example city on a cluster, as far as it enforces anything."""

    plane: ControlPlane
    session: Any
    recordings: Any

    def report(self, kubeconfig: str = "", *, trying: bool = False) -> ComplianceReport:
        cluster = Cluster("main", kubeconfig or self.plane.kubeconfig_text, "test", "uid", kubernetes_version="v1.36")
        clusters = Clusters({"main": cluster}, {})
        return collect(self.session, self.recordings, RULES, datetime.now(UTC), clusters, trying=trying)

    def manifests(self) -> list[dict[str, Any]]:
        """What the stacks would register, as `render` writes it."""
        return [yaml.safe_load(text) for text in render(self.session).values()]

    def tried(self) -> dict[str, str]:
        """What is told of the trials, by rule."""
        return {
            each.name: item.detail.split("; ")[-1]
            for control in self.report(trying=True).controls
            for each in control.measures
            if each.kind == "admission"
            for item in each.observations
            if "trial" in item.detail or "tried" in item.detail
        }

    def status(self, number: str) -> str:
        """What is said of a control."""
        return next(item.status for item in self.report().controls if item.number == number)

    def observed(self, kind: str, name: str, kubeconfig: str = "") -> Observation:
        """The observation of one measure, which is the same for every control that it serves."""
        found = {
            item
            for control in self.report(kubeconfig).controls
            for each in control.measures
            if (each.kind, each.name) == (kind, name)
            for item in each.observations
        }
        (one,) = found
        return one


@pytest.fixture(scope="module")
def assessed(api_server: ControlPlane) -> Iterator[Assessed]:
    session = open_session(EXAMPLE)
    manifests = [yaml.safe_load(text) for text in render(session).values()]
    wanted = [item for item in manifests if item["kind"] in ENFORCING]
    wanted.sort(key=lambda item: item["kind"] != "Namespace")
    api_server.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=as_list(wanted))
    yield Assessed(api_server, session, record_session(session))
    # Namespaces stay: nobody empties them here, so they would go on going for ever.
    made = [item for item in wanted if item["kind"] != "Namespace"]
    api_server.kubectl("delete", "--wait=false", "--ignore-not-found", "-f", "-", stdin=as_list(made))


def test_with_everything_in_place_everything_is_observed(assessed: Assessed) -> None:
    report = assessed.report()
    assert [(item.state, item.version) for item in report.clouds] == [("observed", "v1.36")]
    seen = [item for control in report.controls for each in control.measures for item in each.observations]
    assert len(seen) > 20
    objects = [item for item in seen if item.wanted]
    assert {(item.state, item.present == item.wanted, item.detail) for item in objects} == {("observed", True, "")}
    today = datetime.now(UTC).date().isoformat()
    assert {item.since[:10] for item in objects} == {today}
    rules = [item for item in seen if not item.wanted]
    assert {item.state for item in rules} == {"observed"}
    assert all(item.detail.startswith("nothing found in ") for item in rules)
    statuses = {control.number: control.status for control in report.controls}
    assert statuses["8.1.3.2"] == statuses["8.1.4.2"] == "enforced"
    assert {statuses[number] for number in ("8.1.5.1", "8.1.5.2", "8.1.5.3")} == {"enforced"}
    assert statuses["8.1.4.9"] == "declared"


REFUSED = "a trial was refused"
JUDGED = {"Deployment", "StatefulSet", "Job", "Service", "ConfigMap", "NetworkPolicy", "Role", "RoleBinding"}
TRIED = {
    "extranet-exposure",
    "image-registries",
    "images-by-digest",
    "plain-secrets",
    "privileged-pods",
    "role-bindings",
    "service-accounts",
    "single-writer",
}


@contextmanager
def every_line_drawn(assessed: Assessed, source: ImageSource, *, digests: bool) -> Iterator[Assessed]:
    """The city with registries named and, if wanted, digests asked for; its policies hold until the end."""
    city = assessed.session.city
    compliance = replace(city.compliance, registries=("registry.example",), image_digests=digests)
    city = replace(city, compliance=compliance, images=Images(source))
    images = {name: oci.reference(name, source=source) for name in assessed.session.images}
    session = replace(assessed.session, city=city, plan=replace(assessed.session.plan, city=city), images=images)
    strict = Assessed(assessed.plane, session, record_session(session))
    policies = [item for item in strict.manifests() if item["kind"].startswith("ValidatingAdmission")]
    assessed.plane.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=as_list(policies))
    expected = TRIED if digests else TRIED - {"images-by-digest"}
    try:
        until(lambda: strict.tried() == dict.fromkeys(expected, REFUSED))
        yield strict
    finally:
        for name in ("image-registries", "images-by-digest"):
            for kind in ("validatingadmissionpolicy", "validatingadmissionpolicybinding"):
                assessed.plane.kubectl("delete", kind, f"xingcheng-{name}", "--ignore-not-found")


def test_trials_are_refused_and_leave_nothing_behind(assessed: Assessed) -> None:
    with every_line_drawn(assessed, "built", digests=True):
        pass
    assert "trial" not in assessed.plane.kubectl("get", "deployments,services,rolebindings", "-A", "-o", "name")


@pytest.mark.parametrize("source", ["built", "upstream"])
def test_our_own_objects_pass_with_every_line_drawn(assessed: Assessed, source: ImageSource) -> None:
    """With digests where our own images have what stands for one: where they are built."""
    with every_line_drawn(assessed, source, digests=source == "built") as strict:
        ours = [item for item in strict.manifests() if item["kind"] in JUDGED]
        assert len(ours) > 20
        assessed.plane.kubectl("apply", "--server-side", "--dry-run=server", "-f", "-", stdin=as_list(ours))


def test_a_policy_that_refuses_nothing_is_not_told_as_observed(assessed: Assessed) -> None:
    """The objects are there as they should be, and so is another that lets the trial pass."""
    name = "xingcheng-service-accounts"
    elsewhere = {"spec": {"matchResources": {"namespaceSelector": {"matchLabels": {"nobody": "here"}}}}}
    assessed.plane.kubectl(
        "patch", "validatingadmissionpolicybinding", name, "--type=merge", "-p", json.dumps(elsewhere)
    )
    until(lambda: assessed.tried().get("service-accounts") == "a trial was let pass")
    states = {
        item.state
        for control in assessed.report(trying=True).controls
        for each in control.measures
        if (each.kind, each.name) == ("admission", "service-accounts")
        for item in each.observations
    }
    assert states == {"inactive"}
    restored = {"spec": {"matchResources": {"namespaceSelector": {"matchLabels": {"nobody": None}}}}}
    assessed.plane.kubectl(
        "patch", "validatingadmissionpolicybinding", name, "--type=merge", "-p", json.dumps(restored)
    )


def test_a_policy_that_is_deleted_is_missing(assessed: Assessed) -> None:
    """Its binding alone refuses nothing, and is not told as a part of something."""
    assessed.plane.kubectl("delete", "validatingadmissionpolicy", "xingcheng-privileged-pods")
    seen = assessed.observed("admission", "privileged-pods")
    assert (seen.state, seen.present, seen.wanted) == ("missing", 0, 2)
    assert seen.detail == "missing: ValidatingAdmissionPolicy xingcheng-privileged-pods"
    assessed.plane.kubectl("delete", "validatingadmissionpolicybinding", "xingcheng-plain-secrets-in-files")
    part = assessed.observed("admission", "plain-secrets")
    assert (part.state, part.present, part.wanted) == ("partial", 2, 4)
    assert assessed.observed("admission", "service-accounts").state == "observed"


def test_a_binding_that_only_warns_is_altered(assessed: Assessed) -> None:
    weak = json.dumps({"spec": {"validationActions": ["Warn"]}})
    name = "xingcheng-service-accounts"
    assessed.plane.kubectl("patch", "validatingadmissionpolicybinding", name, "--type=merge", "-p", weak)
    seen = assessed.observed("admission", "service-accounts")
    assert seen.state == "altered"
    assert name in seen.detail


def test_a_namespace_without_its_pod_security_is_altered(assessed: Assessed) -> None:
    label = "pod-security.kubernetes.io/enforce-"
    assessed.plane.kubectl("label", "namespace", "health-commission-extranet", label)
    seen = assessed.observed("pod-security", "namespaces")
    assert (seen.state, seen.present) == ("altered", seen.wanted - 1)


RBAC = "rbac.authorization.k8s.io"
VIEW = {"apiGroup": RBAC, "kind": "ClusterRole", "name": "view"}
ACCOUNTS = {"apiGroup": RBAC, "kind": "Group", "name": "system:serviceaccounts:health-commission-extranet"}
MALLORY = {"apiGroup": RBAC, "kind": "User", "name": "mallory"}
PLACE = "health-commission-extranet"


@pytest.mark.parametrize(
    ("api_version", "kind", "namespace", "content", "measures", "control"),
    [
        (
            "networking.k8s.io/v1",
            "NetworkPolicy",
            # In an extranet the red line entry-zones lets nobody make it.
            "health-commission-internet",
            {"spec": {"podSelector": {}, "ingress": [{}]}},
            [("network-policy", "flows"), ("network-policy", "default-deny")],
            "8.1.3.2",
        ),
        (
            f"{RBAC}/v1",
            "RoleBinding",
            PLACE,
            {"roleRef": VIEW, "subjects": [MALLORY]},
            [("role", "audit-administrators"), ("role", "tenants")],
            "8.1.4.2",
        ),
        (
            f"{RBAC}/v1",
            "ClusterRoleBinding",
            "",
            {"roleRef": VIEW, "subjects": [ACCOUNTS]},
            [("role", "audit-administrators"), ("role", "tenants")],
            "8.1.4.2",
        ),
    ],
)
def test_what_nobody_declared_fails_the_evidence_that_rests_on_its_kind(
    assessed: Assessed,
    api_version: str,
    kind: str,
    namespace: str,
    content: dict[str, Any],
    measures: list[tuple[str, str]],
    control: str,
) -> None:
    metadata = {"name": "added", **({"namespace": namespace} if namespace else {})}
    added = {"apiVersion": api_version, "kind": kind, "metadata": metadata, **content}
    assessed.plane.kubectl("apply", "-f", "-", stdin=json.dumps(added))
    try:
        for measure in measures:
            seen = assessed.observed(*measure)
            assert seen.state == "undeclared"
            assert seen.detail == f"undeclared: {kind} {namespace}/added".replace(" /", " ")
        assert assessed.observed("role", "service-accounts").state == "observed"
        assert assessed.status(control) == "broken"
    finally:
        assessed.plane.kubectl("delete", "-f", "-", stdin=json.dumps(added))
    assert assessed.observed(*measures[0]).state == "observed"


def test_what_the_clouds_owner_puts_there_is_named_and_fails_nothing(assessed: Assessed) -> None:
    metadata = {"name": "owner-dns", "namespace": "health-commission-internet"}
    added = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata}
    added["spec"] = {"podSelector": {}, "egress": [{"ports": [{"port": 53, "protocol": "UDP"}]}]}
    (cloud,) = assessed.session.city.clouds
    expected = (Expected("NetworkPolicy", "networking.k8s.io", "owner-*"),)
    city = replace(assessed.session.city, clouds=(replace(cloud, expected=expected),))
    told = replace(assessed, session=replace(assessed.session, city=city))
    assessed.plane.kubectl("apply", "-f", "-", stdin=json.dumps(added))
    try:
        assert assessed.observed("network-policy", "flows").state == "undeclared"
        assert told.observed("network-policy", "flows").state == "observed"
        (look,) = told.report().clouds
        assert look.expected == ("NetworkPolicy health-commission-internet/owner-dns",)
        assert cloud_line(look).endswith(f"; expected, by the cloud's owner: {look.expected[0]}")
    finally:
        assessed.plane.kubectl("delete", "-f", "-", stdin=json.dumps(added))


SECRETS = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}


@pytest.mark.parametrize(
    ("kind", "name", "path", "value", "measure"),
    [
        ("networkpolicy", "default-deny", "/spec/ingress", [{}], ("network-policy", "default-deny")),
        ("role", "tenant-admin", "/rules/-", SECRETS, ("role", "tenants")),
    ],
)
def test_what_is_added_to_an_object_fails_its_evidence(
    assessed: Assessed, kind: str, name: str, path: str, value: Any, measure: tuple[str, str]
) -> None:
    place = ("-n", "health-commission-internet")
    before = assessed.plane.kubectl("get", kind, name, *place, "-o", "json")
    assert assessed.observed(*measure).state == "observed"
    assessed.plane.kubectl(
        "patch", kind, name, *place, "--type=json", "-p", json.dumps([{"op": "add", "path": path, "value": value}])
    )
    seen = assessed.observed(*measure)
    assert seen.state == "altered"
    assert "changed by" in seen.detail
    assert "kubectl-patch" in seen.detail
    if kind == "networkpolicy":
        crossed = assessed.observed("rule", "default-deny")
        assert crossed.state == "crossed"
        assert "health-commission-internet: no NetworkPolicy denies ingress" in crossed.detail
        assert assessed.status("8.1.3.1") == "broken"
    old = json.loads(before)
    old["metadata"] = {key: old["metadata"][key] for key in ("name", "namespace", "labels") if key in old["metadata"]}
    assessed.plane.kubectl("replace", "-f", "-", stdin=json.dumps(old))
    assert assessed.observed(*measure).state == "observed"


def test_who_may_read_but_not_write_sees_what_was_added_but_not_what_admission_does(assessed: Assessed) -> None:
    kubectl = assessed.plane.kubectl
    kubectl("create", "clusterrolebinding", "assessor", "--clusterrole=view", "--user=assessor")
    kubectl("create", "clusterrole", "assess", "--verb=list,get", "--resource=*.*")
    kubectl("create", "clusterrolebinding", "assess", "--clusterrole=assess", "--user=assessor")
    config = yaml.safe_load(assessed.plane.kubeconfig_text)
    config["users"][0]["user"]["as"] = "assessor"
    reader = yaml.safe_dump(config)
    fence = ("networkpolicy", "default-deny", "-n", "health-commission-internet", "--type=json", "-p")
    space = ("namespace", "health-commission-internet")
    try:
        (cloud,) = assessed.report(reader).clouds
        assert cloud.state == "observed"
        assert "what changes objects on admission was not looked for" in cloud.reason
        assert assessed.observed("network-policy", "default-deny", reader).state == "observed"
        kubectl("patch", *fence, '[{"op": "add", "path": "/spec/ingress", "value": [{}]}]')
        kubectl("label", *space, "pod-security.kubernetes.io/enforce-version=v1.0")
        seen = assessed.observed("network-policy", "default-deny", reader)
        assert (seen.state, "spec.ingress (added)" in seen.detail) == ("altered", True)
        seen = assessed.observed("pod-security", "namespaces", reader)
        assert (seen.state, "enforce-version" in seen.detail) == ("altered", True)
    finally:
        kubectl("patch", *fence, '[{"op": "remove", "path": "/spec/ingress"}]')
        kubectl("label", *space, "pod-security.kubernetes.io/enforce-version-")
        kubectl("delete", "clusterrolebinding", "assessor", "assess")
        kubectl("delete", "clusterrole", "assess")


def test_what_admission_makes_of_a_fence_is_not_observed(assessed: Assessed) -> None:
    space, name = "health-commission-internet", "evidence-opener"
    probe = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": space},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]},
    }
    opens = "[JSONPatch{op: 'add', path: '/spec/ingress', value: [{}]}]"
    fences = ("networking.k8s.io", "networkpolicies")
    with mutating(assessed.plane.kubectl, name, fences, opens, probe, namespace=space):
        seen = assessed.observed("network-policy", "default-deny")
        assert seen.state == "altered"
        assert f"MutatingAdmissionPolicy {name} changes it on admission: spec.ingress (added)" in seen.detail
    assert assessed.observed("network-policy", "default-deny").state == "observed"


def test_who_may_not_look_has_not_looked(assessed: Assessed) -> None:
    config = yaml.safe_load(assessed.plane.kubeconfig_text)
    config["users"][0]["user"] = {"token": assessed.plane.token}
    seen = assessed.observed("network-policy", "default-deny", yaml.safe_dump(config))
    assert seen.state == "unreachable"
    assert seen.present == 0
    assert "forbidden" in seen.detail.lower()


def test_a_server_that_is_not_there_is_unreachable_in_bounded_time(
    assessed: Assessed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WECITYCTL_CLUSTER_TIMEOUT", "2")
    config = yaml.safe_load(assessed.plane.kubeconfig_text)
    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:9"
    begun = datetime.now(UTC)
    assert assessed.observed("admission", "plain-secrets", yaml.safe_dump(config)).state == "unreachable"
    assert (datetime.now(UTC) - begun).total_seconds() < 10
