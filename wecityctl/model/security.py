"""The objects and labels that isolate a city and grant rights in it. Drift detection restores them after any change.

The rule is docs/explanation/drift.md. Names only; comparing and restoring is the responsibility of `drift`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from wecityctl.model.naming import LABEL_PREFIX

# Kinds that restrict the network or grant rights. Their objects are compared as a whole, whoever changes them.
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
# Prefixes of namespace labels that policies select by.
SECURITY_LABELS: Final = ("pod-security.kubernetes.io/", f"{LABEL_PREFIX}/")


# Kinds whose objects may do nothing but restrict their namespace; see `only_closes`.
CLOSING_KINDS: Final = (("networking.k8s.io/v1", "NetworkPolicy"), ("v1", "ResourceQuota"), ("v1", "LimitRange"))


def group_of(api_version: str) -> str:
    """The API group of an `apiVersion`; empty for the core group."""
    group, slash, _ = api_version.partition("/")
    return group if slash else ""


def is_security_kind(api_version: str, kind: str) -> bool:
    """Whether objects of this kind are compared as a whole."""
    return (group_of(api_version), kind) in SECURITY_KINDS


def only_closes(api_version: str, kind: str, obj: Mapping[str, Any]) -> bool:
    """Whether the object only restricts what may happen in its namespace."""
    if (group_of(api_version), kind) not in {(group_of(version), name) for version, name in CLOSING_KINDS}:
        return False
    spec = obj.get("spec") or {}
    return kind != "NetworkPolicy" or (isinstance(spec, Mapping) and not spec.get("ingress") and not spec.get("egress"))


def is_security_label(name: str) -> bool:
    """Whether policies that isolate a namespace select by this label."""
    return name.startswith(SECURITY_LABELS)
