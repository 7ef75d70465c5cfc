"""Admission policies for tests: in force while a block runs, and only for what a test has made."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

Kubectl = Callable[..., str]


def of_city(item: dict[str, Any], city: str) -> dict[str, Any]:
    """An object with the label of its city, as stacks give it: another city's lines are no strangers of this one's."""
    metadata = item["metadata"]
    return {**item, "metadata": {**metadata, "labels": {"wecity.dev/city": city, **metadata.get("labels", {})}}}


def operator(name: str, groups: list[str]) -> Iterator[dict[str, Any]]:
    """Somebody who operates the cluster: every right in some API groups, and none over a city."""
    api = "rbac.authorization.k8s.io"
    rules = [{"apiGroups": groups, "resources": ["*"], "verbs": ["*"]}]
    yield {"apiVersion": f"{api}/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules}
    yield {
        "apiVersion": f"{api}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": api, "kind": "ClusterRole", "name": name},
        "subjects": [{"apiGroup": api, "kind": "User", "name": name}],
    }


@contextlib.contextmanager
def denying(kubectl: Kubectl, name: str, resources: tuple[str, str], probe: dict[str, Any]) -> Iterator[None]:
    """A policy that lets nobody create objects of a kind: a group and a plural. `probe` is such an object."""
    group, plural = resources
    rule = {"apiGroups": [group], "apiVersions": ["*"], "operations": ["CREATE"], "resources": [plural]}
    policy = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {"resourceRules": [rule]},
            "validations": [{"expression": "false", "message": "not today"}],
        },
    }
    binding = {
        **policy,
        "kind": "ValidatingAdmissionPolicyBinding",
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    }

    def is_denied() -> bool:
        order = ("create", "--dry-run=server", "-o", "name", "-f", "-")
        return "/probe" not in kubectl(*order, stdin=json.dumps(probe), code=None)

    for item in (policy, binding):
        kubectl("create", "-f", "-", stdin=json.dumps(item))
    try:
        _until(is_denied, f"{name} does not come into force")
        yield
    finally:
        kubectl("delete", "validatingadmissionpolicybinding,validatingadmissionpolicy", name)
        _until(lambda: not is_denied(), f"{name} stays in force")


def _until(wanted: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + 30
    while not wanted():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.2)


@contextlib.contextmanager
def mutating(
    kubectl: Kubectl,
    name: str,
    resources: tuple[str, str],
    expression: str,
    probe: dict[str, Any],
    *conditions: str,
    namespace: str = "",
) -> Iterator[None]:
    """A policy that applies JSON patches (a CEL expression) to every object of a kind, in one namespace.

    `resources` is a group and a plural. `probe` is an object that the policy changes: a dry run of it tells when the
    policy is in force, and when it no longer is. `conditions` are match conditions.
    """
    group, plural = resources
    rule = {"apiGroups": [group], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE"], "resources": [plural]}
    match: dict[str, Any] = {"resourceRules": [rule]}
    if namespace:
        match["namespaceSelector"] = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    policy = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "failurePolicy": "Fail",
            "reinvocationPolicy": "Never",
            "matchConstraints": match,
            "matchConditions": [{"name": f"c{index}", "expression": text} for index, text in enumerate(conditions)],
            "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}],
        },
    }
    binding = {**policy, "kind": "MutatingAdmissionPolicyBinding", "spec": {"policyName": name}}

    def answer() -> dict[str, Any]:
        told = kubectl("create", "--dry-run=server", "-o", "json", "-f", "-", stdin=json.dumps(probe))
        found: dict[str, Any] = json.loads(told)
        found["metadata"] = {key: found["metadata"].get(key) for key in ("labels", "annotations")}
        return found

    before = answer()
    for item in (policy, binding):
        kubectl("create", "-f", "-", stdin=json.dumps(item))
    try:
        _until(lambda: answer() != before, f"{name} does not come into force")
        yield
    finally:
        kubectl("delete", "mutatingadmissionpolicybinding,mutatingadmissionpolicy", name)
        _until(lambda: answer() == before, f"{name} stays in force")
