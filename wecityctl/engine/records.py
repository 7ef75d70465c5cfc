"""What is noted about a stack after a run that went well: the only thing on which a later `up` may leave it out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from wecityctl.paths import write_private

VERSION = 2


@dataclass(frozen=True, slots=True)
class Record:
    """A run's trace. `looked_at` is seconds since 1970; `objects` maps each object to its uid and mark (see `probe`).

    `values` is the part of the fingerprint that the city's files make, for landing zones alone.
    `outputs` are the stack's typed outputs, valid while the state's digest is `state`; for the secret store `names`
    stands in their place. `notices` is what others had added to the objects: told again whenever it is left out.
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
    notices: tuple[str, ...] = ()


def load(path: Path) -> Record | None:
    """The record at `path`; `None` for none, or one of another version."""
    try:
        data = json.loads(path.read_bytes())
        if data.pop("version") != VERSION:
            return None
        data["objects"] = {key: (uid, mark) for key, (uid, mark) in data["objects"].items()}
        data["names"], data["notices"] = tuple(data["names"]), tuple(data["notices"])
        return Record(**data)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def save(path: Path, record: Record) -> None:
    """Replace the record."""
    write_private(path, json.dumps({"version": VERSION, **asdict(record)}).encode())


def discard(path: Path) -> None:
    """Forget what was noted: whatever happens next has to be looked at."""
    path.unlink(missing_ok=True)
