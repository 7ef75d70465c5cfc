"""What a stack's state says of one Kubernetes object: all that an examination needs to know of the state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from wecityctl.model.security import group_of, is_security_kind, only_closes

# Those of a namespace, which are made again even where the stack's engine does not run.
_OF_NAMESPACES: Final = frozenset({"NetworkPolicy", "Role", "RoleBinding", "ResourceQuota", "LimitRange"})
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
        return only_closes(self.api_version, self.kind, self.inputs)

    @property
    def is_namespace(self) -> bool:
        return (group_of(self.api_version), self.kind) == ("", "Namespace")

    @property
    def keeps_its_number(self) -> bool:
        """Whether its stated number of replicas is restored, because one pod more writes what another writes."""
        return (group_of(self.api_version), self.kind) == ("apps", "StatefulSet")

    @property
    def body(self) -> dict[str, Any]:
        """The stated object as it is sent to the API server, under the name and namespace that it has there."""
        metadata = {**(self.inputs.get("metadata") or {}), "name": self.name}
        if self.namespace:
            metadata["namespace"] = self.namespace
        return {**self.inputs, "apiVersion": self.api_version, "kind": self.kind, "metadata": metadata}
