"""What runs have done that is in no history of the engine: objects put back or removed by us, and stacks taken down.

One file for each city, a JSON object a line: beside the states, or on this machine where only the CLI reaches them.
It adds to the engine's history, which goes with its stack, and is asked for nothing that a state knows.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from wecityctl.engine.backend import Backend
from wecityctl.engine.layout import activity as activity_key
from wecityctl.filelock import turn_of
from wecityctl.model.events import StackResult
from wecityctl.model.findings import Finding
from wecityctl.model.naming import digest
from wecityctl.model.security import is_security_kind
from wecityctl.paths import state_dir, write_private

What = Literal["restored", "made again", "removed"]


@dataclass(frozen=True, slots=True)
class Touched:
    """An object and what was done to it. `name` is `NetworkPolicy shop/default-deny`; `managers` are those who had
    changed or made it."""

    what: What
    name: str
    managers: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.what} {self.name}" + (f" ({', '.join(self.managers)})" if self.managers else "")


@dataclass(frozen=True, slots=True)
class Activity:
    """What one run did to one stack. `started` is seconds since 1970; `result` as in the engine's history."""

    stack: str
    operation: Literal["update", "destroy"]
    result: Literal["succeeded", "failed"]
    started: float
    seconds: float
    deleted: int = 0
    objects: tuple[Touched, ...] = ()


def touched_in(result: StackResult) -> tuple[Touched, ...]:
    """The security objects that were put back in a stack's run, and the undeclared ones that it removed."""
    return tuple(_touched(result))


def _touched(result: StackResult) -> Iterator[Touched]:
    made = {change.urn for change in result.changes if change.op == "create"}
    for item in result.findings:
        what = _what(item, made=item.urn in made)
        if what is not None:
            yield Touched(what, item.title, item.managers)


def _what(item: Finding, *, made: bool) -> What | None:
    if item.what == "security" and item.resolved:
        return "restored"
    if item.what == "undeclared" and item.resolved:
        return "removed"
    # That it was missing was found before the engine ran; whether it is there again, the changes tell.
    is_back = item.what == "missing" and made and is_security_kind(item.api_version, item.kind)
    return "made again" if is_back else None


def note(backend: Backend, done: Iterable[Activity], keep: int) -> None:
    """Add to what was noted, of which the last `keep` of each stack stay. Raises `OSError`."""
    new = tuple(done)
    if not new:
        return
    states, by_stack = backend.states, dict[str, list[Activity]]()
    key = activity_key(backend.city)
    with states.turn_of(key) if states is not None else turn_of(_path(backend)):
        for item in (*read(backend), *new):
            by_stack.setdefault(item.stack, []).append(item)
        kept = sorted((item for items in by_stack.values() for item in items[-keep:]), key=lambda item: item.started)
        text = "".join(json.dumps(asdict(item), ensure_ascii=False) + "\n" for item in kept)
        data = text.encode("utf-8", "backslashreplace")
        if states is not None:
            states.put(key, data)
        else:
            write_private(_path(backend), data)


def read(backend: Backend) -> tuple[Activity, ...]:
    """All that was noted, the oldest first. A line that cannot be read is passed over."""
    if backend.states is not None:
        stored = backend.states.get(activity_key(backend.city)) or b""
    else:
        path = _path(backend)
        stored = path.read_bytes() if path.exists() else b""
    lines = stored.decode("utf-8", "replace").splitlines()
    return tuple(item for line in lines if (item := _parsed(line)) is not None)


def taken_down(done: Iterable[Activity]) -> dict[str, float]:
    """When each stack was taken down last, in seconds since 1970."""
    return {item.stack: item.started + item.seconds for item in done if item.operation == "destroy"}


def _parsed(line: str) -> Activity | None:
    try:
        data = json.loads(line)
        objects = tuple(Touched(**{**item, "managers": tuple(item["managers"])}) for item in data.pop("objects"))
        return Activity(**data, objects=objects)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _path(backend: Backend) -> Path:
    return state_dir() / "history" / f"{backend.city}-{digest(backend.url)}.jsonl"
