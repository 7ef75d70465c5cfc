"""Addresses on the API server: a served resource type and its URL paths; and fields that every object has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

Object = dict[str, Any]
Objects = list[Object]


@dataclass(frozen=True, slots=True)
class ResourceType:
    """A kind as the cluster serves it."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool
    verbs: frozenset[str] = frozenset()
    singular: str = ""
    short_names: tuple[str, ...] = ()
    subresources: frozenset[str] = frozenset()

    @property
    def api_version(self) -> str:
        """The API version, such as `v1` or `apps/v1`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def prefix(self) -> str:
        """The path prefix, such as `/api/v1` or `/apis/apps/v1`."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    def path(self, name: str | None = None, namespace: str | None = None, subresource: str = "") -> str:
        """The URL path of one object, or of the collection if `name` is None (of all namespaces without one)."""
        parts = [self.prefix]
        if self.namespaced and namespace:
            parts += ["namespaces", quote(namespace, safe="")]
        parts.append(self.plural)
        if name is not None:
            # An empty name would address the whole collection, and a delete would delete everything.
            if not name:
                raise ValueError(f"an empty name for {self.kind}")
            parts.append(quote(name, safe=""))
        if subresource:
            parts.append(subresource)
        return "/".join(parts)


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One change: `type` is ADDED, MODIFIED, DELETED or BOOKMARK (which only has metadata.resourceVersion)."""

    type: str
    object: Object


@dataclass(frozen=True, slots=True)
class Page:
    """A list with the resource version from which a watch continues."""

    items: list[Object]
    resource_version: str
    next_token: str = ""


def meta(obj: Mapping[str, Any]) -> dict[str, Any]:
    """The object's metadata; an empty dict when it has none."""
    found = obj.get("metadata")
    return found if isinstance(found, dict) else {}


def describe(obj: Mapping[str, Any]) -> str:
    """The object's name in messages: `Deployment shop/web`."""
    m = meta(obj)
    place = f"{m['namespace']}/" if m.get("namespace") else ""
    return f"{obj.get('kind', 'object')} {place}{m.get('name', '')}"
