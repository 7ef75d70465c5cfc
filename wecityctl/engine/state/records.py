"""The record of a successful run of a stack. Only a record lets a later `up` skip the stack."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from wecityctl.engine.state import layout
from wecityctl.engine.state.store import StateStore
from wecityctl.model.findings import FieldDrift, Finding

VERSION = 3


@dataclass(frozen=True, slots=True)
class Record:
    """What a successful run of one stack recorded.

    `looked_at` is in seconds since 1970; `objects` maps each object to its UID and mark (see `probe`). `values` is, for
    landing zones, the digest of the inputs from the city's files and, for the secret store, the digest of the subject
    names of its certificates. `outputs` are the stack's typed outputs, valid while the digest of its state is `state`;
    the secret store has `names` instead. `left` are the findings that the run reported and did not resolve, without the
    values that others had added: they are reported again whenever the stack is skipped. `mutators` is the digest of
    what modified objects on admission (see `drift.mutators`).
    """

    stack: str
    fingerprint: str
    state: str
    looked_at: float
    provider: str
    cluster: str
    outputs: Mapping[str, Any] | None = None
    objects: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    unchanged: int = 0
    values: str = ""
    left: tuple[Finding, ...] = ()
    mutators: str = ""


def load(states: StateStore, stack: str) -> Record | None:
    """Return the stack's record; `None` if there is none or it has an unsupported version."""
    try:
        data = json.loads(states.get(layout.record(stack)) or b"")
        version = data.pop("version")
        if version not in (2, VERSION):
            return None
        # Up to version 2, unresolved findings were stored as texts.
        data.pop("notices", None)
        data["objects"] = {key: (uid, mark) for key, (uid, mark) in data["objects"].items()}
        data["names"], data["left"] = tuple(data["names"]), tuple(map(_finding, data.get("left", ())))
        return Record(**data)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _finding(data: Mapping[str, Any]) -> Finding:
    plain: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}
    plain["fields"] = tuple(FieldDrift(**item) for item in data["fields"])
    return Finding(**plain)


def save(states: StateStore, record: Record) -> None:
    """Replace the stack's record."""
    states.put(layout.record(record.stack), json.dumps({"version": VERSION, **asdict(record)}).encode())


def discard(states: StateStore, stack: str) -> None:
    """Delete the stack's record, so that the next run examines the stack."""
    states.delete(layout.record(stack))
