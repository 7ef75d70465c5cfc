"""Takes over objects that the official plug-in created.

Since 4.29 it creates with POST, which owns fields with the operation "Update" instead of "Apply", and only its own
updates convert them. Until then a change conflicts, and fields that are removed from the inputs stay on the object.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wecityctl.kube.client import KubeClient
from wecityctl.provider.adoption import UPDATE_MANAGERS
from wecityctl.provider.state import metadata_of, name_of, namespace_of


def was_created_officially(obj: Mapping[str, Any]) -> bool:
    """Whether the official plug-in owns fields of a live or recorded object because it created the object."""
    return any(_is_creation(entry) for entry in _entries(obj))


async def take_over_creation(client: KubeClient, obj: Mapping[str, Any], manager: str) -> None:
    """Make `manager` the applier of the fields that the official plug-in created. Raises `Conflict` on a change
    meanwhile.
    """
    rt = await client.resource(str(obj["apiVersion"]), str(obj["kind"]))
    place = namespace_of(obj) or None
    live = await client.get(rt, name_of(obj), place)
    if not was_created_officially(live):
        return
    patch = [
        {"op": "replace", "path": "/metadata/managedFields", "value": converted(_entries(live), manager)},
        {"op": "test", "path": "/metadata/resourceVersion", "value": metadata_of(live)["resourceVersion"]},
    ]
    await client.patch(rt, name_of(obj), place, patch, field_manager=manager, patch_type="json")


def converted(entries: list[dict[str, Any]], manager: str) -> list[dict[str, Any]]:
    """The `managedFields` with the official plug-in's fields merged into what `manager` has applied."""
    ours: dict[str, Any] | None = None
    others = []
    for entry in entries:
        if not _is_creation(entry) and not (entry.get("manager") == manager and entry.get("operation") == "Apply"):
            others.append(entry)
        elif ours is None:
            ours = {**entry, "manager": manager, "operation": "Apply"}
        else:
            ours["fieldsV1"] = _united(ours.get("fieldsV1") or {}, entry.get("fieldsV1") or {})
    return others if ours is None else [ours, *others]


def _united(left: Mapping[str, Any], right: Mapping[str, Any]) -> dict[str, Any]:
    # FieldsV1 sets: an empty member is the field itself; "." is the field itself next to the fields below it.
    both = dict(left)
    for key, below in right.items():
        known = both.get(key)
        if known is None:
            both[key] = below
        elif known and below:
            both[key] = _united(known, below)
        elif known or below:
            both[key] = {".": {}, **(known or below)}
    return both


def _entries(obj: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [entry for entry in metadata_of(obj).get("managedFields") or [] if isinstance(entry, dict)]


def _is_creation(entry: Mapping[str, Any]) -> bool:
    created = entry.get("operation") == "Update" and not entry.get("subresource")
    return created and entry.get("manager") in UPDATE_MANAGERS
