"""Determines which fields of a live object were changed, and by whom. Pure.

Ownership comes from `metadata.managedFields`. Changed values are found by comparing two answers of the API server (the
live object and a dry run), so that its defaults and normalisation never count as changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from wecityctl.drift import controllers, fieldset
from wecityctl.drift.fieldset import Fields, Path
from wecityctl.drift.recorded_object import RecordedObject
from wecityctl.model.findings import Drift, FieldDrift, Finding
from wecityctl.model.naming import RETAINED_FOR, RETAINED_RECORD
from wecityctl.model.security import group_of, is_security_label
from wecityctl.provider.equality import same_amount

_VOLATILE: Final = ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink")
# The API server's manager for fields that existed before the first apply, whose author it does not know.
NOBODY: Final = "before-first-apply"
# kubectl's own annotation, and our own annotations on objects that `destroy` retains.
NEVER_ADDITIONS: Final[Fields] = {
    "f:metadata": {
        "f:annotations": {
            f"f:{name}": {}
            for name in ("kubectl.kubernetes.io/last-applied-configuration", RETAINED_FOR, RETAINED_RECORD)
        },
    }
}
# Write-only: the API server stores it in another field.
_WRITE_ONLY: Final = ("f:stringData",)
_HIDDEN: Final = "[secret]"


def entries(live: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The object's field ownership: the entries of `metadata.managedFields`."""
    found = (live.get("metadata") or {}).get("managedFields") or []
    return [item for item in found if isinstance(item, dict)]


def is_ours(entry: Mapping[str, Any], manager: str) -> bool:
    """Whether an entry records the applies of the resource's own manager."""
    return entry.get("manager") == manager and entry.get("operation") == "Apply" and not entry.get("subresource")


def owned(live: Mapping[str, Any], manager: str) -> Fields:
    """The fields that the resource's own manager has applied."""
    return next((item.get("fieldsV1") or {} for item in entries(live) if is_ours(item, manager)), {})


def owned_by_anybody(live: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that any manager owns, including the status."""
    found: dict[str, Any] = {}
    for entry in entries(live):
        if entry.get("manager") != NOBODY:
            found = fieldset.union(found, entry.get("fieldsV1") or {})
    return found


def additions(live: Mapping[str, Any], manager: str, stated: Fields) -> dict[str, Any]:
    """The fields that other managers own and that are not declared, without those that controllers write."""
    found: dict[str, Any] = {}
    for entry in _foreign(live, manager):
        # If the replica count is not declared, an autoscaler may set it, whoever scaled last.
        fields = fieldset.minus(controllers.beyond(entry, str(live.get("kind"))), stated)
        fields = fieldset.minus(fields, fieldset.below_of(fields, stated))
        found = fieldset.union(found, fieldset.less(fields, NEVER_ADDITIONS))
    return found


def switched_off(live: Mapping[str, Any], stated: Fields) -> dict[str, Any]:
    """The replica count, if it is not declared and is 0: an autoscaler does nothing until it is changed.

    Scaling does not make anybody the owner of a count that had no owner, so it is not in any manager's additions.
    """
    if (live.get("spec") or {}).get("replicas") != 0:
        return {}
    return fieldset.minus({"f:spec": {"f:replicas": {}}}, stated)


def shared(live: Mapping[str, Any], manager: str) -> dict[str, Any]:
    """Fields that have their declared value but were also written by others, so that a later apply would conflict.

    Managers that use apply keep their ownership: they declare the value and will apply it again.
    """
    ours = owned(live, manager)
    theirs: dict[str, Any] = {}
    for entry in entries(live):
        if entry.get("operation") == "Update" and entry.get("subresource") != "status":
            theirs = fieldset.union(theirs, entry.get("fieldsV1") or {})
    return fieldset.minus(ours, fieldset.minus(ours, theirs))


def managers_of(live: Mapping[str, Any], manager: str, found: Fields) -> tuple[str, ...]:
    """The managers other than `manager` that own any of the fields, or a field above them."""
    named = [
        str(entry.get("manager"))
        for entry in _foreign(live, manager)
        if any(fieldset.contains(entry.get("fieldsV1") or {}, path) for path in fieldset.paths(found))
    ]
    return tuple(dict.fromkeys(named))


def foreign_managers(live: Mapping[str, Any], manager: str) -> tuple[str, ...]:
    """All other managers that own any field outside the status."""
    return tuple(dict.fromkeys(str(entry.get("manager")) for entry in _foreign(live, manager)))


def _foreign(live: Mapping[str, Any], manager: str) -> Iterator[dict[str, Any]]:
    for entry in entries(live):
        if not is_ours(entry, manager) and entry.get("subresource") != "status" and entry.get("manager") != NOBODY:
            yield entry


def is_suspicious(recorded: RecordedObject, live: Mapping[str, Any]) -> bool:
    """Whether a declared field may have been changed, so that a dry run on the API server is needed."""
    ours = owned(live, recorded.manager)
    # Fields that the resource's manager owns but does not declare: applied by a run that could not record it, or by
    # somebody who used its name.
    beyond = (path for path in fieldset.paths(ours) if fieldset.value_at(recorded.body, path) is None)
    return (
        any(_is_there(live, path) for path in beyond)
        or bool(_unowned(recorded, ours))
        or not _includes(live, recorded.body)
    )


def _is_there(live: Mapping[str, Any], path: Path) -> bool:
    return fieldset.value_at(live, path) not in (None, "", [], {})


def _unowned(recorded: RecordedObject, ours: Fields) -> list[Path]:
    return list(fieldset.unowned(_applied(recorded), ours)) if ours else [("f:metadata",)]


def _applied(recorded: RecordedObject) -> dict[str, Any]:
    """The declared fields that server-side apply gives an owner."""
    body = {key: value for key, value in recorded.body.items() if key not in ("apiVersion", "kind", "status")}
    body["metadata"] = {key: value for key, value in body["metadata"].items() if key in ("labels", "annotations")}
    return body


def _includes(live: Any, stated: Any) -> bool:
    if isinstance(stated, Mapping):
        if not isinstance(live, Mapping):
            return not stated
        return all(_includes(live.get(key), value) for key, value in stated.items())
    if isinstance(stated, list):
        if not isinstance(live, list):
            return not stated
        return len(live) == len(stated) and all(map(_includes, live, stated))
    return bool(live == stated) or (live is None and stated in (False, "", 0)) or same_amount(live, stated)


def altered(recorded: RecordedObject, answer: Mapping[str, Any]) -> list[FieldDrift]:
    """Declared fields that the resource's manager applies and that still differ in the API server's answer.

    Only admission can cause that, because ownership is determined before admission changes the object.
    """
    found = []
    for path in fieldset.paths(owned(answer, recorded.manager)):
        stated, there = fieldset.value_at(recorded.body, path), fieldset.value_at(answer, path)
        if stated is not None and path[0] not in _WRITE_ONLY and not _includes(there, stated):
            found.append(FieldDrift(fieldset.text(path), there, stated))
    return found


def owned_then(recorded: RecordedObject, structure: Fields) -> Fields:
    """The fields that the resource owned when its state was written.

    A state omits the field sets if the resource owned everything that it declares. `structure` is a set of the object's
    fields; its keys identify the elements of keyed lists.
    """
    found = entries(recorded.outputs)
    if found and all("fieldsV1" not in entry for entry in found):
        return fieldset.stated(_applied(recorded), structure)
    return owned(recorded.outputs, recorded.manager)


def was_ours(recorded: RecordedObject, fields: Fields) -> bool:
    """Whether the resource owned all of these fields when its state was written."""
    then = owned_then(recorded, fields)
    return all(fieldset.contains(then, path) for path in fieldset.paths(fields))


def meaningful(obj: Mapping[str, Any]) -> dict[str, Any]:
    """An object without its status and without metadata that the API server maintains."""
    metadata = {key: value for key, value in (obj.get("metadata") or {}).items() if key not in _VOLATILE}
    if annotations := metadata.pop("annotations", None):
        # Our own annotations on retained objects are on security objects too.
        told = {key: value for key, value in annotations.items() if key not in (RETAINED_FOR, RETAINED_RECORD)}
        metadata |= {"annotations": told} if told else {}
    rest = {key: value for key, value in obj.items() if key not in ("status", "metadata", "apiVersion", "kind")}
    # The rules of an aggregated ClusterRole are written by a controller.
    if obj.get("aggregationRule"):
        rest.pop("rules", None)
    return {"metadata": metadata, **rest}


def without_additions(recorded: RecordedObject, live: Mapping[str, Any], answer: Mapping[str, Any]) -> dict[str, Any]:
    """An answer without labels and annotations that admission added: those neither declared nor on the live object."""
    metadata = dict(answer.get("metadata") or {})
    for name in ("annotations", "labels"):
        known = {key for holder in (recorded.body, live) for key in (holder.get("metadata") or {}).get(name) or {}}
        kept = {key: value for key, value in (metadata.pop(name, None) or {}).items() if key in known}
        metadata |= {name: kept} if kept else {}
    return {**answer, "metadata": metadata}


def differences(live: Any, wanted: Any, path: str = "") -> list[FieldDrift]:
    """The fields in which two objects differ; a list of another length counts as one difference."""
    if live == wanted:
        return []
    if isinstance(live, Mapping) and isinstance(wanted, Mapping):
        found = []
        for key in sorted({*live, *wanted}):
            below = f"{path}.{key}" if path and "." not in key else f"{path}[{key}]" if path else key
            found += differences(live.get(key), wanted.get(key), below)
        return found
    if isinstance(live, list) and isinstance(wanted, list) and len(live) == len(wanted):
        return [
            item
            for index, pair in enumerate(zip(live, wanted, strict=True))
            for item in differences(*pair, f"{path}[{index}]")
        ]
    return [FieldDrift(path, live, wanted)]


def namespace_labels(recorded: RecordedObject, live: Mapping[str, Any]) -> list[FieldDrift]:
    """The security labels of a namespace that differ from the declared ones."""
    stated = (recorded.body["metadata"].get("labels")) or {}
    there = (live.get("metadata") or {}).get("labels") or {}
    return differences(
        {key: value for key, value in there.items() if is_security_label(key)},
        {key: value for key, value in stated.items() if is_security_label(key)},
        "metadata.labels",
    )


def security_labels(recorded: RecordedObject, live: Mapping[str, Any]) -> list[str]:
    """The security labels that a namespace has or should have."""
    holders = (recorded.body["metadata"], live.get("metadata") or {})
    names = {name for holder in holders for name in holder.get("labels") or {}}
    return sorted(name for name in names if is_security_label(name))


def finding(
    recorded: RecordedObject,
    what: Drift,
    managers: Sequence[str] = (),
    fields: Sequence[FieldDrift] = (),
    *,
    admission: Sequence[str] = (),
) -> Finding:
    """A finding about an object, without secrets and without anything that others have added to a Secret."""
    shown = (
        [replace(item, live=_shown(item.live), wanted=_shown(item.wanted)) for item in fields]
        if recorded.hidden or (group_of(recorded.api_version), recorded.kind) == ("", "Secret")
        else fields
    )
    return Finding(
        recorded.stack,
        recorded.urn,
        recorded.api_version,
        recorded.kind,
        recorded.namespace,
        recorded.name,
        what,
        tuple(managers),
        tuple(shown),
        admission=tuple(admission),
    )


def gone(recorded: RecordedObject, live: Mapping[str, Any] | None) -> Finding:
    """The finding about an object that does not exist or is being deleted."""
    found = finding(recorded, "missing")
    if live is None:
        return found
    return replace(found, deleting=True, finalizers=tuple(live["metadata"].get("finalizers") or ()))


def _shown(value: Any) -> Any:
    return None if value is None else _HIDDEN
