"""Validates the record of a retained object before it is trusted or put into a state. Pure functions.

Anybody who may annotate an object can write a record. `marks` decides whether a record belongs to its object.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from wecityctl.engine.secrets.crypto import SIGNATURE
from wecityctl.model.naming import PROJECT

# The maximum nesting. Objects of the kinds below have less than a third of these levels.
_MOST_LEVELS: Final = 40
# No number of Kubernetes is larger, and the engine cannot read a state with larger ones.
_LARGEST: Final = 2**63
# Source: Pulumi's rule for stack names. An empty part would allow a path outside the directory of states.
_STACK: Final = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
_VERSION: Final = re.compile(r"([a-z0-9.-]+/)?v[0-9]+((alpha|beta)[0-9]+)?")

# Shapes: a dict gives the shapes of some fields of a mapping, a list the shape of each item, `str` stands for a text.
# Fields that a shape does not name may be anything; null stands for a missing field.
_METADATA: Final = {
    "name": str,
    "namespace": str,
    "generateName": str,
    "labels": {},
    "annotations": {},
    "ownerReferences": [{}],
    "finalizers": [str],
}
_PEERS: Final[list[Any]] = [{"podSelector": {}, "namespaceSelector": {}, "ipBlock": {}}]
_SPECS: Final[Mapping[str, Any]] = {
    "Namespace": {"finalizers": [str]},
    "PersistentVolume": {"capacity": {}, "accessModes": [str], "claimRef": {}, "nodeAffinity": {}},
    "PersistentVolumeClaim": {"accessModes": [str], "resources": {"requests": {}, "limits": {}}, "selector": {}},
    "NetworkPolicy": {
        "podSelector": {},
        "policyTypes": [str],
        "ingress": [{"ports": [{}], "from": _PEERS}],
        "egress": [{"ports": [{}], "to": _PEERS}],
    },
    "ResourceQuota": {"hard": {}, "scopes": [str], "scopeSelector": {}},
    "LimitRange": {
        "limits": [{"type": str, **{name: {} for name in ("max", "min", "default", "defaultRequest")}}],
    },
}
_WITHOUT_SPEC: Final = ("Namespace",)


class RecordError(ValueError):
    """Why a record is rejected, as part of a sentence."""


def parse(text: str) -> dict[str, Any]:
    """Parse the record in an annotation: `type`, `inputs` (an object's manifest) and `fieldManager`.

    Raises `RecordError` for an invalid record, and for values that no state may have: the engine's special values, and
    numbers and texts that the engine could not read back.
    """
    try:
        record = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise RecordError("its record is not JSON") from error
    if not isinstance(record, dict) or not isinstance(record.get("inputs"), dict):
        raise RecordError("its record has no `inputs`")
    _require_plain(record)
    inputs = record["inputs"]
    _require_shape(inputs, {"apiVersion": str, "kind": str, "metadata": _METADATA}, "")
    kind = str(inputs.get("kind"))
    if inputs.get("spec") is not None:
        _require_shape(inputs["spec"], _SPECS.get(kind, {}), "spec")
    elif kind not in _WITHOUT_SPEC:
        raise RecordError("its record has no `spec`")
    if not _VERSION.fullmatch(str(inputs.get("apiVersion"))):
        raise RecordError("its record has no `apiVersion`")
    return record


def is_resource(urn: str) -> bool:
    """Whether a URN may belong to a resource of a stack of this project."""
    scheme, _, rest = urn.partition("urn:pulumi:")
    parts = rest.split("::", 3)
    if scheme or parts[1:2] != [PROJECT] or not _STACK.fullmatch(parts[0]):
        return False
    return len(parts) == len(("stack", "project", "type", "name")) and all(parts) and urn.isprintable()


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number in JSON")


def _require_plain(record: Any) -> None:
    """Raise `RecordError` for a value that a state cannot contain, or that the engine would interpret as something
    else.
    """
    pending = [(record, 0)]
    while pending:
        item, level = pending.pop()
        if level > _MOST_LEVELS:
            raise RecordError("its record is nested too deeply")
        if isinstance(item, dict):
            if SIGNATURE in item:
                raise RecordError("its record has a secret or another special value, which no record of ours has")
            pending += [(part, level + 1) for pair in item.items() for part in pair]
        elif isinstance(item, list):
            pending += [(part, level + 1) for part in item]
        elif isinstance(item, str):
            try:
                item.encode()
            except UnicodeEncodeError as error:
                raise RecordError("its record has a text that is not Unicode") from error
        elif isinstance(item, int | float) and not abs(item) < _LARGEST:
            raise RecordError("its record has a number that is out of range")


def _require_shape(value: Any, shape: Any, path: str) -> None:
    """Raise `RecordError` with the path at which `value` does not have the shape."""
    if value is None:
        return
    if shape is str:
        if not isinstance(value, str):
            raise RecordError(f"in its record `{path}` is not a text")
    elif isinstance(shape, list):
        if not isinstance(value, list):
            raise RecordError(f"in its record `{path}` is not a list")
        for item in value:
            if item is None:
                raise RecordError(f"in its record an item of `{path}` is null")
            _require_shape(item, shape[0], path)
    else:
        if not isinstance(value, dict):
            raise RecordError(f"in its record `{path}` is not a mapping")
        for name, inner in shape.items():
            _require_shape(value.get(name), inner, f"{path}.{name}".lstrip("."))
