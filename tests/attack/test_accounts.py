"""What is no person: pods and the embedded cloud's own programs have no rights that lead to Secrets or pods."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.stacks.cities import full_city, objects, record_city
from wecityctl.local.node import objects as node
from wecityctl.local.node.provisioner import roles

_OWN: tuple[dict[str, Any], ...] = (
    *node.policy_agent(),
    *node.dns("image", "192.0.2.1"),
    *node.metrics("192.0.2.2", 443, b""),
    *roles(),
)


def rights(role: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for rule in role["rules"]:
        yield from ((verb, resource) for verb in rule["verbs"] for resource in rule.get("resources", ()))


@pytest.mark.parametrize("role", [item for item in _OWN if "rules" in item], ids=lambda item: item["metadata"]["name"])
def test_a_program_of_the_embedded_cloud_reads_no_secret_and_makes_no_pod(role: dict[str, Any]) -> None:
    found = set(rights(role))
    assert found
    assert not {resource for _, resource in found} & {"secrets", "serviceaccounts/token", "nodes/proxy", "*"}
    written = {resource for verb, resource in found if verb not in ("get", "list", "watch")}
    assert written <= {"persistentvolumes", "persistentvolumeclaims", "persistentvolumeclaims/status", "events"}


def test_no_pod_of_a_city_has_a_token_and_no_account_a_right() -> None:
    """Apps, platforms, provisioning Jobs and the entry point."""
    recordings = record_city(full_city())
    pods = [item.inputs for item in objects(recordings) if item.inputs["kind"] in ("Deployment", "StatefulSet", "Job")]
    assert {item["kind"] for item in pods} == {"Deployment", "StatefulSet", "Job"}
    assert all(item["spec"]["template"]["spec"]["automountServiceAccountToken"] is False for item in pods)
    bound = [subject for item in objects(recordings) for subject in item.inputs.get("subjects") or ()]
    assert bound
    assert {subject["kind"] for subject in bound} == {"User", "Group"}
