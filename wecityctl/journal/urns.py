"""Fixes references between the resources of a state: to missing resources, and by aliases. Pure functions.

The rules are the engine's: `rebuildDependencies` in `pkg/v3/backend/journal.go` and `NormalizeURNReferences` in
`apitype/core.go` (v3.259.0). Both functions change their arguments.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_ROOT_TYPE = "pulumi:pulumi:Stack"


def rebuild_dependencies(resources: Sequence[dict[str, Any]]) -> None:
    """Remove references to resources that do not precede the referring one, as after a refresh that found resources
    gone.

    A resource whose parent is gone gets the parent's parent.
    """
    known: set[str] = set()
    for resource in resources:
        for name in ("dependencies", "replaceWith"):
            _set(resource, name, [urn for urn in resource.get(name) or () if urn in known])
        by_property = {
            key: kept
            for key, urns in (resource.get("propertyDependencies") or {}).items()
            if (kept := [urn for urn in urns if urn in known])
        }
        _set(resource, "propertyDependencies", by_property)
        if resource.get("deletedWith", "") not in known:
            _set(resource, "deletedWith", "")
        known.add(resource["urn"])
    parents: dict[str, str] = {}
    for resource in resources:
        parent = resource.get("parent", "")
        if parent not in known:
            _set(resource, "parent", parents.get(parent, ""))
        parents[resource["urn"]] = parent


def fix_references(resources: Sequence[dict[str, Any]], snippets: Iterable[dict[str, Any]] = ()) -> None:
    """Replace aliases by URNs in all references, and remove the aliases.

    Raises `ValueError` if two resources have the same alias.
    """
    aliased = _aliases(resources)

    def own(urn: str) -> str:
        return aliased.get(urn, urn)

    for resource in resources:
        resource["urn"] = own(resource["urn"])
        for name in ("parent", "deletedWith", "viewOf"):
            _set(resource, name, own(resource.get(name, "")))
        if provider := resource.get("provider"):
            urn, _, identifier = provider.rpartition("::")
            resource["provider"] = f"{own(urn)}::{identifier}"
        _set(resource, "dependencies", [own(urn) for urn in resource.get("dependencies") or ()])
        by_property = resource.get("propertyDependencies") or {}
        if by_property:
            resource["propertyDependencies"] = {
                key: [own(urn) for urn in urns or ()] for key, urns in by_property.items()
            }
        resource.pop("aliases", None)
    for snippet in snippets:
        references: Mapping[str, str] = snippet.get("references") or {}
        if references:
            snippet["references"] = {key: own(urn) for key, urn in references.items()}


def _aliases(resources: Sequence[dict[str, Any]]) -> dict[str, str]:
    aliased: dict[str, str] = {}
    for resource in resources:
        urn = resource["urn"]
        for alias in resource.get("aliases") or ():
            if aliased.get(alias, urn) != urn:
                raise ValueError(f"two resources ({aliased[alias]} and {urn}) have the same alias: {alias}")
            aliased[alias] = urn
        # The URN of a child contains the types of its parents.
        parent = aliased.get(resource.get("parent", ""))
        if parent and _qualified_type(parent) != _ROOT_TYPE:
            aliased[urn] = _below(urn, _qualified_type(parent))
    return aliased


def _below(urn: str, parents: str) -> str:
    stack, project, types, name = urn.split("::", 3)
    return "::".join((stack, project, f"{parents}${types.rpartition('$')[2]}", name))


def _qualified_type(urn: str) -> str:
    return urn.split("::", 3)[2]


def _set(resource: dict[str, Any], name: str, value: object) -> None:
    """Set a field, or remove it if the value is empty, as the engine does."""
    if value:
        resource[name] = value
    else:
        resource.pop(name, None)
