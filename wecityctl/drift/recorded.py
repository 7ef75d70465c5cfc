"""What a stack's state says of one Kubernetes object: all that an examination needs to know of the state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
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
# Those of a namespace, which are made again even where the stack's engine does not run.
_OF_NAMESPACES: Final = frozenset({"NetworkPolicy", "Role", "RoleBinding", "ResourceQuota", "LimitRange"})
# Labels of a namespace that policies select by.
SECURITY_LABELS: Final = ("pod-security.kubernetes.io/", f"{LABEL_PREFIX}/")

# How the field managers of the Kubernetes providers begin.
PROVIDERS: Final = "pulumi-kubernetes-"

Key = tuple[str, str, str, str]


@dataclass(frozen=True, slots=True)
class Recorded:
    """An object as a state has it.

    `inputs` is what was stated, in clear; `outputs` the object as it was last seen (secrets in it may be marked);
    `manager` owns the fields on the API server. `hidden`: values are not to be shown.
    """

    stack: str
    urn: str
    api_version: str
    kind: str
    namespace: str
    name: str
    manager: str
    inputs: Mapping[str, Any] = field(repr=False)
    outputs: Mapping[str, Any] = field(repr=False)
    hidden: bool = False

    @property
    def key(self) -> Key:
        """apiVersion, kind, namespace and name."""
        return self.api_version, self.kind, self.namespace, self.name

    @property
    def is_security(self) -> bool:
        """Whether the object is compared as a whole."""
        return is_security_kind(self.api_version, self.kind)

    @property
    def encloses(self) -> bool:
        """Whether it is a security object of a namespace."""
        return self.is_security and self.kind in _OF_NAMESPACES

    @property
    def only_closes(self) -> bool:
        """Whether it does nothing but bound what may happen in its namespace."""
        if self.kind == "NetworkPolicy":
            spec = self.inputs.get("spec") or {}
            return self.is_security and not spec.get("ingress") and not spec.get("egress")
        return self.is_security and self.kind in ("ResourceQuota", "LimitRange")

    @property
    def is_namespace(self) -> bool:
        return (self.group, self.kind) == ("", "Namespace")

    @property
    def group(self) -> str:
        group, slash, _ = self.api_version.partition("/")
        return group if slash else ""

    @property
    def body(self) -> dict[str, Any]:
        """The stated object as it is sent to the API server, under the name and namespace that it has there."""
        metadata = {**(self.inputs.get("metadata") or {}), "name": self.name}
        if self.namespace:
            metadata["namespace"] = self.namespace
        return {**self.inputs, "apiVersion": self.api_version, "kind": self.kind, "metadata": metadata}


def is_security_kind(api_version: str, kind: str) -> bool:
    """Whether objects of that kind are compared as a whole."""
    group, slash, _ = api_version.partition("/")
    return (group if slash else "", kind) in SECURITY_KINDS


def is_security_label(name: str) -> bool:
    """Whether a namespace's label takes part in what encloses it."""
    return name.startswith(SECURITY_LABELS)
