"""Which objects and labels enclose a city and give rights in it: whoever changes them, they are restored.

The rule is docs/explanation/drift.md. Pure names; how they are compared and restored is `drift`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from wecityctl.model.naming import LABEL_PREFIX

# Objects by which the city is closed and rights are given: compared whole, whoever changes them.
SECURITY_KINDS: Final = frozenset(
    {
        ("networking.k8s.io", "NetworkPolicy"),
        ("rbac.authorization.k8s.io", "Role"),
        ("rbac.authorization.k8s.io", "RoleBinding"),
        ("rbac.authorization.k8s.io", "ClusterRole"),
        ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
        ("", "ResourceQuota"),
        ("", "LimitRange"),
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"),
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding"),
    }
)
# Labels of a namespace that policies select by.
SECURITY_LABELS: Final = ("pod-security.kubernetes.io/", f"{LABEL_PREFIX}/")


# Kinds of which an object may do nothing but bound what happens in its namespace: see `only_closes`.
CLOSING_KINDS: Final = (("networking.k8s.io/v1", "NetworkPolicy"), ("v1", "ResourceQuota"), ("v1", "LimitRange"))


def group_of(api_version: str) -> str:
    """The API group of an apiVersion; empty for the core group."""
    group, slash, _ = api_version.partition("/")
    return group if slash else ""


def is_security_kind(api_version: str, kind: str) -> bool:
    """Whether objects of that kind are compared as a whole."""
    return (group_of(api_version), kind) in SECURITY_KINDS


def only_closes(api_version: str, kind: str, obj: Mapping[str, Any]) -> bool:
    """Whether an object does nothing but bound what may happen in its namespace."""
    if (group_of(api_version), kind) not in {(group_of(version), name) for version, name in CLOSING_KINDS}:
        return False
    spec = obj.get("spec") or {}
    return kind != "NetworkPolicy" or (isinstance(spec, Mapping) and not spec.get("ingress") and not spec.get("egress"))


def is_security_label(name: str) -> bool:
    """Whether a namespace's label takes part in what encloses it."""
    return name.startswith(SECURITY_LABELS)
