"""MutatingAdmissionPolicies for tests: in force while a block runs, and only for what a test has made."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

Kubectl = Callable[..., str]


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

    def until(wanted: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 30
        while not wanted():
            assert time.monotonic() < deadline, f"{name} does not come into force, or stays in it"
            time.sleep(0.2)

    before = answer()
    for item in (policy, binding):
        kubectl("create", "-f", "-", stdin=json.dumps(item))
    try:
        until(lambda: answer() != before)
        yield
    finally:
        kubectl("delete", "mutatingadmissionpolicybinding,mutatingadmissionpolicy", name)
        until(lambda: answer() == before)
