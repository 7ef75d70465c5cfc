"""Compares a declared security object with an object of the API server. Pure.

A dry run cannot be used, because mutating admission changes its answer too. Instead, the declared object is completed
with the API server's defaults for its kind, and every other difference counts. Source of the defaults: `defaults.go` of
networking/v1, rbac/v1, core/v1 and admissionregistration/v1 in Kubernetes.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, Final

from wecityctl.drift.classify import differences
from wecityctl.model.findings import FieldDrift
from wecityctl.model.security import group_of
from wecityctl.provider.equality import same, same_amount

_RBAC: Final = "rbac.authorization.k8s.io"
_ADMISSION: Final = "admissionregistration.k8s.io"
# The prefix of labels that aggregate a role's rules into other roles.
_AGGREGATES: Final = f"{_RBAC}/"
_AMOUNTS: Final = frozenset({("", "ResourceQuota"), ("", "LimitRange")})
Body = dict[str, Any]


def unlike(body: Mapping[str, Any], answer: Mapping[str, Any]) -> list[FieldDrift]:
    """The fields of `answer` (a live object or the result of a write) that differ from `body`.

    `body` is a declared security object. Additional annotations, labels and finalizers do not count, because they do
    not change what the object does. A role's additional aggregation label does count.
    """
    key = group_of(str(body.get("apiVersion"))), str(body.get("kind"))
    wanted = _filled(key, body)
    found = {name: value for name, value in answer.items() if name in wanted or name not in _NOT_CONTENT}
    if body.get("aggregationRule"):
        # A controller writes the rules of an aggregated role.
        wanted.pop("rules", None)
        found.pop("rules", None)
    wanted["metadata"], found["metadata"] = _metadata(body, answer)
    return differences(_aligned(found, wanted, key in _AMOUNTS), wanted)


_NOT_CONTENT: Final = ("apiVersion", "kind", "metadata", "status")


def _filled(key: tuple[str, str], body: Mapping[str, Any]) -> Body:
    wanted = {name: copy.deepcopy(value) for name, value in body.items() if name not in _NOT_CONTENT}
    fill = _DEFAULTS.get(key)
    if fill is not None:
        fill(wanted)
    return wanted


def _metadata(body: Mapping[str, Any], answer: Mapping[str, Any]) -> tuple[Body, Body]:
    stated, there = body.get("metadata") or {}, answer.get("metadata") or {}
    wanted: Body = {"ownerReferences": stated.get("ownerReferences")}
    found: Body = {"ownerReferences": there.get("ownerReferences")}
    for name in ("annotations", "labels"):
        wanted[name] = dict(stated.get(name) or {})
        found[name] = {
            key: value
            for key, value in (there.get(name) or {}).items()
            if key in wanted[name] or (name == "labels" and key.startswith(_AGGREGATES))
        }
    return wanted, found


def _aligned(found: Any, wanted: Any, amounts: bool, name: str = "") -> Any:
    """`found`, with the spelling of `wanted` wherever both mean the same."""
    if isinstance(found, Mapping) and isinstance(wanted, Mapping):
        keys = {*found, *wanted}
        return {key: _aligned(found.get(key), wanted.get(key), amounts, key) for key in keys}
    if isinstance(found, list) and isinstance(wanted, list):
        if all(isinstance(item, str) for item in (*found, *wanted)):
            # Verbs, resources, policy types, namespaces: sets, in any order.
            return wanted if sorted(found) == sorted(wanted) else found
        if len(found) == len(wanted):
            return [_aligned(one, other, amounts) for one, other in zip(found, wanted, strict=True)]
        return found
    if found is None:
        # The API server drops empty values, except for selectors: an empty selector selects everything.
        is_selector = isinstance(wanted, Mapping) and name.lower().endswith("selector")
        is_empty = wanted is None or wanted is False or wanted in ("", 0) or (not wanted and not is_selector)
        return wanted if is_empty else None
    if wanted is None and (found == "" or found == []):
        return None
    if same(found, wanted) or (amounts and same_amount(found, wanted)):
        return wanted
    return found


def _network_policy(body: Body) -> None:
    spec = body.setdefault("spec", {})
    spec.setdefault("podSelector", {})
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", *(["Egress"] if spec.get("egress") else [])]
    for rule in (*(spec.get("ingress") or ()), *(spec.get("egress") or ())):
        for port in rule.get("ports") or ():
            _default(port, "protocol", "TCP")


def _binding(body: Body) -> None:
    _default(body.setdefault("roleRef", {}), "apiGroup", _RBAC)
    for subject in body.get("subjects") or ():
        if subject.get("kind") in ("User", "Group"):
            _default(subject, "apiGroup", _RBAC)


def _limit_range(body: Body) -> None:
    for item in (body.get("spec") or {}).get("limits") or ():
        if item.get("type") != "Container":
            continue
        limits = {**(item.get("max") or {}), **(item.get("default") or {})}
        requests = {**(item.get("min") or {}), **limits, **(item.get("defaultRequest") or {})}
        item |= {name: value for name, value in (("default", limits), ("defaultRequest", requests)) if value}


def _admission_policy(body: Body) -> None:
    spec = body.setdefault("spec", {})
    _default(spec, "failurePolicy", "Fail")
    _match(spec.get("matchConstraints"))


def _admission_binding(body: Body) -> None:
    _match((body.get("spec") or {}).get("matchResources"))


def _match(match: Body | None) -> None:
    if match is None:
        return
    _default(match, "matchPolicy", "Equivalent")
    for name in ("namespaceSelector", "objectSelector"):
        if match.get(name) is None:
            match[name] = {}
    for rule in (*(match.get("resourceRules") or ()), *(match.get("excludeResourceRules") or ())):
        _default(rule, "scope", "*")


def _default(holder: Body, name: str, value: str) -> None:
    holder[name] = holder.get(name) or value


_DEFAULTS: Final[Mapping[tuple[str, str], Callable[[Body], None]]] = {
    ("networking.k8s.io", "NetworkPolicy"): _network_policy,
    (_RBAC, "RoleBinding"): _binding,
    (_RBAC, "ClusterRoleBinding"): _binding,
    ("", "LimitRange"): _limit_range,
    (_ADMISSION, "ValidatingAdmissionPolicy"): _admission_policy,
    (_ADMISSION, "ValidatingAdmissionPolicyBinding"): _admission_binding,
}
