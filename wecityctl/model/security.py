"""Which objects and labels enclose a city and give rights in it: whoever changes them, they are restored.

The rule is docs/explanation/drift.md. Pure names; how they are compared and restored is `drift`.
"""

from __future__ import annotations

from typing import Final

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


def is_security_kind(api_version: str, kind: str) -> bool:
    """Whether objects of that kind are compared as a whole."""
    group, slash, _ = api_version.partition("/")
    return (group if slash else "", kind) in SECURITY_KINDS


def is_security_label(name: str) -> bool:
    """Whether a namespace's label takes part in what encloses it."""
    return name.startswith(SECURITY_LABELS)
