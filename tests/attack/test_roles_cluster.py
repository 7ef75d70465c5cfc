"""Every role that wecityctl makes, tried: what docs/reference/administrators.md gives, all that it does not, and the
ways by which somebody with some of these rights would come by a Secret or by a label of a namespace."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.attack.roles import ELSEWHERE, PEOPLE, PLATFORM, RBAC, SPACE, inhabitants
from tests.policy.test_admission_cluster import attempt
from tests.support.control_plane import ControlPlane

pytestmark = pytest.mark.cluster

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "administrators.md"
# What Kubernetes gives to everybody who has signed in: to see oneself and the API's outline.
EVERYBODYS = ("self", "version", "healthz", "livez", "readyz", "openapi", "/api", "/apis")


@dataclass(frozen=True)
class Line:
    """One right of the page."""

    who: str
    where: str
    verb: str
    resource: str

    def __str__(self) -> str:
        return f"{self.who} {self.verb} {self.resource} ({self.where})"


def lines() -> list[Line]:
    """The rights of the page's table, one by one."""
    rows = [row.strip("| ").split(" | ") for row in PAGE.read_text().splitlines() if row.startswith("| ")]
    return [
        Line(who, where, verb, resource)
        for who, where, verbs, resources, _ in rows
        if who in PEOPLE
        for verb in verbs.split(", ")
        for resource in resources.split(", ")
    ]


def given(city: ControlPlane, who: str, place: str) -> set[tuple[str, str]]:
    """Every (verb, resource) that the API server's authorizer gives `who` in a namespace, but what is everybody's."""
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "spec": {"namespace": place}}
    creating = ("create", "--validate=false", "-f", "-", "-o", "json", f"--as={PEOPLE[who]}")
    answer = city.kubectl(*creating, stdin=json.dumps(review))
    status = json.loads(answer)["status"]
    assert not status["incomplete"], "the answer is not all there is"
    found = {
        (verb, f"{resource}.{group}" if group else resource)
        for rule in status["resourceRules"]
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    found |= {
        (verb, url) for rule in status["nonResourceRules"] for verb in rule["verbs"] for url in rule["nonResourceURLs"]
    }
    return {right for right in found if not any(word in right[1] for word in EVERYBODYS)}


@pytest.mark.parametrize("who", PEOPLE)
def test_a_role_gives_what_its_lines_say_and_nothing_else(city: ControlPlane, who: str) -> None:
    """A role's pairs of an API group and a resource that no server has lead nowhere, and are no lines."""
    served = set(city.kubectl("api-resources", "-o", "name").split())
    own = [line for line in lines() if line.who == who]
    assert own
    for place in (SPACE, PLATFORM, ELSEWHERE, "kube-system"):
        inside = {SPACE: ("cluster", "city", "tenant"), PLATFORM: ("cluster", "city")}.get(place, ("cluster",))
        expected = {(line.verb, line.resource) for line in own if line.where in inside}
        found = {right for right in given(city, who, place) if right in expected or _is_served(right[1], served)}
        assert found == expected, place


def _is_served(resource: str, served: set[str]) -> bool:
    name, _, group = resource.partition(".")
    whole = name.partition("/")[0] + (f".{group}" if group else "")
    return whole in served or resource.startswith("/") or "*" in resource or group == "wecity.dev"


def _attempts() -> Iterator[tuple[str, ...]]:
    """Ways to a Secret, or to somebody else's rights: verb, resource, and a name where there is one."""
    for verb in ("get", "list", "watch", "create", "update", "patch", "delete"):
        yield verb, "secrets"
    for resource in ("pods", "replicationcontrollers", "deployments.apps", "statefulsets.apps", "daemonsets.apps"):
        yield from ((verb, resource) for verb in ("create", "update", "patch"))
    for resource in ("replicasets.apps", "jobs.batch", "cronjobs.batch", "configmaps", "services", "endpoints"):
        yield from ((verb, resource) for verb in ("create", "update", "patch"))
    for resource in ("endpointslices.discovery.k8s.io", "persistentvolumeclaims", "serviceaccounts", "podtemplates"):
        yield from ((verb, resource) for verb in ("create", "update", "patch"))
    for resource in ("pods/exec", "pods/attach", "pods/portforward", "pods/proxy", "services/proxy", "nodes/proxy"):
        yield from ((verb, resource) for verb in ("get", "create"))
    yield from (("patch", f"pods/{name}") for name in ("ephemeralcontainers", "resize", "status"))
    yield from (("create", resource) for resource in ("pods/binding", "serviceaccounts/token"))
    for kind in ("roles", "rolebindings", "clusterroles", "clusterrolebindings"):
        yield from ((verb, f"{kind}.{RBAC}") for verb in ("create", "update", "patch", "bind", "escalate"))
    yield from (("impersonate", kind) for kind in ("users", "groups", "serviceaccounts"))
    yield from (("patch", f"namespaces{sub}") for sub in ("", "/status", "/finalize"))
    yield "approve", "signers.certificates.k8s.io"
    yield "create", "certificatesigningrequests.certificates.k8s.io"


@pytest.mark.parametrize("who", [who for who in PEOPLE if who != "deployer"])
def test_no_role_leads_to_a_secret_or_to_others_rights(city: ControlPlane, who: str) -> None:
    """What the authorizer says of each way in every namespace; then the ways themselves, walked."""
    rights = {place: given(city, who, place) for place in (SPACE, PLATFORM, ELSEWHERE, "kube-system")}
    for place, found in rights.items():
        assert not found.intersection(_attempts()), place
    shown = json.dumps({"spec": {"template": {"spec": {"containers": [{"name": "main", "command": ["cat", "/x"]}]}}}})
    mounting = list(inhabitants(SPACE))[-2]
    mounting["metadata"]["name"] = "reader"
    walked = {
        ("get", "secret", "credentials", "-n", SPACE): None,
        ("patch", "deployment", "app", "-n", SPACE, "-p", shown): None,
        ("rollout", "restart", "deployment/app", "-n", SPACE): None,
        ("patch", "pod", "app", "-n", SPACE, "-p", '{"metadata":{"labels":{"app":"db"}}}'): None,
        ("create", "--validate=false", "-f", "-"): json.dumps(mounting),
        ("create", "token", "worker", "-n", SPACE): None,
    }
    for arguments, stdin in walked.items():
        assert "orbidden" in attempt(city, *arguments, who=PEOPLE[who], stdin=stdin), arguments


def test_a_deployer_comes_by_no_secret_of_others(city: ControlPlane) -> None:
    """What leads there in the tenant's own namespace leads to the tenant's; elsewhere nothing does."""
    for place in (PLATFORM, ELSEWHERE, "kube-system"):
        assert not given(city, "deployer", place).intersection(_attempts()), place
    beyond = {right for right in given(city, "deployer", SPACE).intersection(_attempts()) if right[0] in _BEYOND}
    assert not beyond


# Verbs by which rights in one namespace become rights elsewhere.
_BEYOND = ("impersonate", "bind", "escalate", "approve")


def test_restarting_and_scaling_is_what_is_left(city: ControlPlane) -> None:
    scaling = ("scale", "deployment/app", "--replicas=2", "-n", SPACE)
    deleting = ("delete", "pod", "app", "-n", SPACE, "--dry-run=server")
    assert attempt(city, *scaling, who=PEOPLE["system"]) == ""
    assert attempt(city, *deleting, who=PEOPLE["system"]) == ""
    assert attempt(city, *deleting, who=PEOPLE["tenant"]) == ""
    assert "orbidden" in attempt(city, *scaling, who=PEOPLE["tenant"])
    # The scale is a number: what else is sent with it is not taken.
    more = {"metadata": {"labels": {"x": "y"}}, "spec": {"replicas": 3, "template": {"spec": {"hostNetwork": True}}}}
    patching = (
        "patch",
        "deployment",
        "app",
        "-n",
        SPACE,
        "--subresource=scale",
        "--type=merge",
        "-p",
        json.dumps(more),
    )
    attempt(city, *patching, who=PEOPLE["system"])
    found = json.loads(city.kubectl("get", "deployment", "app", "-n", SPACE, "-o", "json"))
    assert "hostNetwork" not in found["spec"]["template"]["spec"]
    assert "x" not in found["metadata"].get("labels", {})
