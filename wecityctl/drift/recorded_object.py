"""An object of a stack's state, with everything that comparing it with the cluster needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from wecityctl.model.security import group_of, is_security_kind, only_closes

# Namespaced security kinds, which are recreated even if the stack's engine does not run.
_OF_NAMESPACES: Final = frozenset({"NetworkPolicy", "Role", "RoleBinding", "ResourceQuota", "LimitRange"})
# The prefix of the field managers of Pulumi's Kubernetes providers.
PROVIDERS: Final = "pulumi-kubernetes-"

Key = tuple[str, str, str, str]


@dataclass(frozen=True, slots=True)
class RecordedObject:
    """An object as recorded in a state.

    `inputs` is the declared object, in plain text. `outputs` is the object as last seen (secrets may be marked).
    `manager` owns the fields on the API server. `hidden` means that values must not be shown.
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
        """Whether it is a security object, which is compared as a whole."""
        return is_security_kind(self.api_version, self.kind)

    @property
    def encloses(self) -> bool:
        """Whether it is a namespaced security object."""
        return self.is_security and self.kind in _OF_NAMESPACES

    @property
    def only_closes(self) -> bool:
        """Whether it only restricts what is allowed in its namespace."""
        return only_closes(self.api_version, self.kind, self.inputs)

    @property
    def is_namespace(self) -> bool:
        return (group_of(self.api_version), self.kind) == ("", "Namespace")

    @property
    def keeps_its_number(self) -> bool:
        """Whether the declared replica count is restored, because an additional pod could write to the same data."""
        return (group_of(self.api_version), self.kind) == ("apps", "StatefulSet")

    @property
    def body(self) -> dict[str, Any]:
        """The declared object as it is sent to the API server, with its actual name and namespace."""
        metadata = {**(self.inputs.get("metadata") or {}), "name": self.name}
        if self.namespace:
            metadata["namespace"] = self.namespace
        return {**self.inputs, "apiVersion": self.api_version, "kind": self.kind, "metadata": metadata}
