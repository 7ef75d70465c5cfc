"""`policy report` on a real API server: what is there is observed, what is taken away is missing, nothing is guessed.

The tests follow each other in this order: they take policies away.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.policy.test_admission_cluster import as_list, until
from tests.support.control_plane import ControlPlane
from wecityctl.clusters import Clusters
from wecityctl.evidence import collect
from wecityctl.inputs import Cluster
from wecityctl.policy.evidence import Dossier, Observation
from wecityctl.policy.rules import RULES
from wecityctl.recordings import record_session, render_city
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

    def report(self, kubeconfig: str = "", *, trying: bool = False) -> Dossier:
        cluster = Cluster("main", kubeconfig or self.plane.kubeconfig_text, "test", "uid", kubernetes_version="v1.36")
        clusters = Clusters({"main": cluster}, {})
        return collect(self.session, self.recordings, RULES, datetime.now(UTC), clusters, trying=trying)

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
    manifests = [yaml.safe_load(text) for text in render_city(session).values()]
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
    assert {(item.state, item.present == item.wanted, item.detail) for item in seen} == {("observed", True, "")}
    today = datetime.now(UTC).date().isoformat()
    assert {item.since[:10] for item in seen} == {today}


TRIED = {
    "extranet-exposure",
    "image-registries",
    "images-by-digest",
    "plain-secrets",
    "privileged-pods",
    "role-bindings",
    "service-accounts",
}


def test_trials_are_refused_and_leave_nothing_behind(assessed: Assessed) -> None:
    compliance = replace(assessed.session.city.compliance, registries=("registry.example",), image_digests=True)
    strict = replace(assessed.session, city=replace(assessed.session.city, compliance=compliance))
    recordings = record_session(strict)
    policies = [
        dict(item.inputs)
        for recording in recordings
        for item in recording.resources
        if str(item.inputs.get("kind")).startswith("ValidatingAdmission")
    ]
    assessed.plane.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=as_list(policies))
    try:
        stricter = Assessed(assessed.plane, strict, recordings)
        until(lambda: set(stricter.tried()) == TRIED and set(stricter.tried().values()) == {"a trial was refused"})
    finally:
        for name in ("image-registries", "images-by-digest"):
            for kind in ("validatingadmissionpolicy", "validatingadmissionpolicybinding"):
                assessed.plane.kubectl("delete", kind, f"xingcheng-{name}")
    assert "trial" not in assessed.plane.kubectl("get", "deployments,services,rolebindings", "-A", "-o", "name")


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
    assessed.plane.kubectl("delete", "validatingadmissionpolicy", "xingcheng-privileged-pods")
    seen = assessed.observed("admission", "privileged-pods")
    assert (seen.state, seen.present, seen.wanted) == ("partial", 1, 2)
    assert seen.detail == "missing: ValidatingAdmissionPolicy xingcheng-privileged-pods"
    assessed.plane.kubectl("delete", "validatingadmissionpolicybinding", "xingcheng-privileged-pods")
    assert assessed.observed("admission", "privileged-pods").state == "missing"
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


def test_a_network_policy_that_nobody_declared_is_named(assessed: Assessed) -> None:
    opening = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "open", "namespace": "health-commission-extranet"},
        "spec": {"podSelector": {}, "ingress": [{}]},
    }
    assessed.plane.kubectl("apply", "-f", "-", stdin=json.dumps(opening))
    try:
        detail = assessed.observed("network-policy", "flows").detail
        assert "1 more that the files do not declare: health-commission-extranet/open" in detail
    finally:
        assessed.plane.kubectl("delete", "networkpolicy", "open", "-n", "health-commission-extranet")


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
