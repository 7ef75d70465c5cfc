"""Extracts what users have set in a live object, from kubectl's annotation or from field ownership. Pure.

The field sets are those of `metadata.managedFields` (FieldsV1 of structured-merge-diff).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from wecityctl.provider.annotations import LAST_APPLIED
from wecityctl.provider.state import READ_ONLY_METADATA, metadata_of, name_of, namespace_of

_SERVER_ANNOTATIONS = (LAST_APPLIED, "deployment.kubernetes.io/revision")
_SERVER_LABEL = "kubernetes.io/metadata.name"
# Kubernetes' own components, which no user sets fields through.
_CONTROL_PLANE = frozenset(
    {"cloud-controller-manager", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet"}
)


def imported_inputs(live: Mapping[str, Any], manager: str) -> dict[str, Any]:
    """The inputs for an object that is imported: the fields that `manager`, else any applier, has applied.

    Without either record: what requests have written (including defaults), without what the server has set since.
    Without any ownership record: everything.
    """
    entries = [e for e in metadata_of(live).get("managedFields") or [] if isinstance(e, dict)]
    applied = [e for e in entries if e.get("operation") == "Apply" and not e.get("subresource")]
    ours = [e for e in applied if e.get("manager") == manager] or applied
    if ours:
        return _complete(_owned(live, _all_fields(ours)), live)
    recorded = _last_applied(live)
    if recorded:
        return _complete(recorded, live)
    written = [e for e in entries if not e.get("subresource") and e.get("manager") not in _CONTROL_PLANE]
    if written:
        return _complete(_owned(live, _all_fields(written)), live)
    everything = {key: value for key, value in live.items() if key != "status"}
    return _complete(everything, live)


def owned_by_others(live: Mapping[str, Any], manager: str) -> dict[str, Any]:
    """The part of a live object that field managers other than `manager` own, without status fields.

    Elements of keyed lists keep their keys, even if another manager owns those.
    """
    entries = [e for e in metadata_of(live).get("managedFields") or [] if isinstance(e, dict)]
    others = [e for e in entries if e.get("manager") != manager and e.get("subresource") != "status"]
    found: dict[str, Any] = _owned(dict(live), _all_fields(others), keyed=True) if others else {}
    return found


def _last_applied(live: Mapping[str, Any]) -> dict[str, Any]:
    annotations = metadata_of(live).get("annotations") or {}
    try:
        found = json.loads(annotations.get(LAST_APPLIED) or "{}")
    except json.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _complete(found: Mapping[str, Any], live: Mapping[str, Any]) -> dict[str, Any]:
    metadata = {k: v for k, v in metadata_of(found).items() if k not in READ_ONLY_METADATA}
    annotations = {k: v for k, v in (metadata.get("annotations") or {}).items() if k not in _SERVER_ANNOTATIONS}
    metadata.pop("annotations", None)
    if annotations:
        metadata["annotations"] = annotations
    metadata["name"] = name_of(live)
    labels = metadata.get("labels")
    if isinstance(labels, dict) and live.get("kind") == "Namespace":
        metadata["labels"] = {key: value for key, value in labels.items() if key != _SERVER_LABEL}
        if not metadata["labels"]:
            del metadata["labels"]
    if namespace_of(live):
        metadata["namespace"] = namespace_of(live)
    rest = {k: v for k, v in found.items() if k not in ("apiVersion", "kind", "metadata", "status")}
    return {"apiVersion": live.get("apiVersion"), "kind": live.get("kind"), "metadata": metadata, **rest}


def _all_fields(entries: list[dict[str, Any]]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for entry in entries:
        fields = _united(fields, entry.get("fieldsV1") or {})
    return fields


def _united(left: Mapping[str, Any], right: Mapping[str, Any]) -> dict[str, Any]:
    both = dict(left)
    for key, value in right.items():
        both[key] = _united(both[key], value) if key in both and both[key] and value else both.get(key) or value
    return both


def _owned(value: Any, fields: Mapping[str, Any], *, keyed: bool = False) -> Any:
    if not fields:
        return value
    if isinstance(value, dict):
        return {
            key[2:]: _owned(value[key[2:]], sub, keyed=keyed)
            for key, sub in fields.items()
            if key.startswith("f:") and key[2:] in value
        }
    if isinstance(value, list):
        return [item for key, sub in fields.items() for item in _elements(value, key, sub, keyed=keyed)]
    return value


def _elements(values: list[Any], key: str, fields: Mapping[str, Any], *, keyed: bool) -> list[Any]:
    if key.startswith("v:"):
        wanted = json.loads(key[2:])
        return [wanted] if wanted in values else []
    if key.startswith("k:"):
        keys = json.loads(key[2:])
        for item in values:
            if isinstance(item, dict) and all(item.get(k) == v for k, v in keys.items()):
                owned = _owned(item, fields, keyed=keyed)
                named = keys if keyed else _written(item, keys, fields)
                return [owned if not isinstance(owned, dict) else {**named, **owned}]
    if key.startswith("i:"):
        index = int(key[2:])
        return [_owned(values[index], fields, keyed=keyed)] if index < len(values) else []
    return []


def _written(item: Mapping[str, Any], keys: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    # Defaulted keys (a port's protocol) identify the element without being set by anybody.
    return {key: item[key] for key in keys if not fields or f"f:{key}" in fields}
