"""Takes over the fields that `kubectl apply` (client-side) owns of an imported or adopted object.

Shared ownership would keep a field on the object after it is removed from the inputs. Only fields in the inputs are
taken over, as in Kubernetes' own migration to server-side apply.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from wecityctl.kube.client import KubeClient
from wecityctl.provider.adoption import applied_by
from wecityctl.provider.state import metadata_of, name_of, namespace_of

# "before-first-apply" owns what was written before the API server tracked field ownership.
_MANAGERS: Final = frozenset({"kubectl-client-side-apply", "before-first-apply"})
Fields = Mapping[str, Any]


def was_applied_by_kubectl(obj: Mapping[str, Any], manager: str) -> bool:
    """Whether `kubectl apply` owns fields of a live or recorded object that `manager` has not applied yet."""
    return is_owned_by_kubectl(obj) and manager not in applied_by(obj)


def is_owned_by_kubectl(obj: Mapping[str, Any]) -> bool:
    """Whether `kubectl apply` owns fields of a live or recorded object."""
    return any(map(_is_kubectls, _entries(obj)))


async def take_over_application(
    client: KubeClient, obj: Mapping[str, Any], stated: Mapping[str, Any], manager: str
) -> dict[str, Any]:
    """Make `manager` the applier of the fields that `kubectl apply` owns of `obj` and that `stated` contains.

    Returns the live object afterwards. Raises `Conflict` when the object changes meanwhile, and the client's other
    errors.
    """
    rt = await client.resource(str(obj["apiVersion"]), str(obj["kind"]))
    place = namespace_of(obj) or None
    live = await client.get(rt, name_of(obj), place)
    if not is_owned_by_kubectl(live):
        return live
    patch = [
        {"op": "replace", "path": "/metadata/managedFields", "value": converted(_entries(live), stated, manager)},
        {"op": "test", "path": "/metadata/resourceVersion", "value": metadata_of(live)["resourceVersion"]},
    ]
    return await client.patch(rt, name_of(obj), place, patch, field_manager=manager, patch_type="json")


def converted(entries: list[dict[str, Any]], stated: Mapping[str, Any], manager: str) -> list[dict[str, Any]]:
    """The `managedFields` in which `manager` has applied what `kubectl apply` owned of the stated object.

    If `manager` has applied the object before, it owns those fields already, and `kubectl apply` only loses its share.
    """
    has_applied = any(item.get("manager") == manager and item.get("operation") == "Apply" for item in entries)
    result = []
    for entry in entries:
        if not _is_kubectls(entry):
            result.append(entry)
            continue
        taken, rest = split(entry.get("fieldsV1") or {}, stated)
        if taken and not has_applied:
            result.append({**entry, "manager": manager, "operation": "Apply", "fieldsV1": taken})
        if rest:
            result.append({**entry, "fieldsV1": rest})
    return result


def split(fields: Fields, value: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split a field set (FieldsV1) into the fields that a value has and those that it does not have."""
    taken: dict[str, Any] = {}
    rest: dict[str, Any] = {}
    for key, below in fields.items():
        found, inner = _child(value, key)
        if not found:
            rest[key] = below
            continue
        inside, outside = split(below, inner)
        if inside or not below:
            taken[key] = inside
        if outside:
            rest[key] = outside
    return taken, rest


def _child(value: Any, key: str) -> tuple[bool, Any]:
    kind, _, rest = key.partition(":")
    if key == ".":
        return True, None
    if kind == "f":
        return (True, value[rest]) if isinstance(value, Mapping) and rest in value else (False, None)
    if not isinstance(value, list):
        return False, None
    if kind == "i":
        index = int(rest)
        return (True, value[index]) if index < len(value) else (False, None)
    wanted = json.loads(rest)
    for item in value:
        # Keys that the server defaults, such as a port's protocol, may be missing from the inputs.
        if item == wanted if kind == "v" else _has_keys(item, wanted):
            return True, item
    return False, None


def _has_keys(item: Any, keys: Mapping[str, Any]) -> bool:
    return isinstance(item, Mapping) and all(item.get(name, value) == value for name, value in keys.items())


def _entries(obj: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [entry for entry in metadata_of(obj).get("managedFields") or [] if isinstance(entry, dict)]


def _is_kubectls(entry: Mapping[str, Any]) -> bool:
    return entry.get("operation") == "Update" and not entry.get("subresource") and entry.get("manager") in _MANAGERS
