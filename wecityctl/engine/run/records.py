"""What is noted about a stack after a run that went well: the only thing on which a later `up` may leave it out."""

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
    """A run's trace. `looked_at` is seconds since 1970; `objects` maps each object to its uid and mark (see `probe`).

    `values` is the part of the fingerprint that the city's files make, for landing zones alone; for the secret store
    a digest of what its certificates are for.
    `outputs` are the stack's typed outputs, valid while the state's digest is `state`; for the secret store `names`
    stands in their place. `left` is what the run has told and left, without the values of what others had added: told
    again whenever the stack is left out. `mutators` stands for what changed objects on admission then (see
    `drift.mutators`).
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
    """The stack's record; `None` for none, or one of another version."""
    try:
        data = json.loads(states.get(layout.record(stack)) or b"")
        version = data.pop("version")
        if version not in (2, VERSION):
            return None
        # Until version 2 what was left was noted as texts.
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
    """Forget what was noted: whatever happens next has to be looked at."""
    states.delete(layout.record(stack))
