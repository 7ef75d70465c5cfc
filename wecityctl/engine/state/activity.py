"""Records what runs did that the engine's history does not show: restored or removed objects, and destroyed stacks.

One file per city with one JSON object per line, stored beside the states, or on this machine if the state back end is
reachable only through the CLI. It complements the engine's history, which is deleted with its stack.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from wecityctl.engine.state.backend import Backend
from wecityctl.engine.state.layout import activity as activity_key
from wecityctl.errors import TimedOutError
from wecityctl.filelock import turn_of
from wecityctl.model.events import StackResult
from wecityctl.model.findings import Finding
from wecityctl.model.naming import digest
from wecityctl.model.security import is_security_kind
from wecityctl.paths import state_dir, write_private

_ATTEMPTS = 50
_PAUSE_SECONDS = 0.1
What = Literal["restored", "made again", "removed"]


@dataclass(frozen=True, slots=True)
class Touched:
    """An object and what was done to it.

    `name` reads like `NetworkPolicy shop/default-deny`; `managers` are the field managers that had changed or created
    it.
    """

    what: What
    name: str
    managers: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.what} {self.name}" + (f" ({', '.join(self.managers)})" if self.managers else "")


@dataclass(frozen=True, slots=True)
class Activity:
    """What one run did to one stack. `started` is in seconds since 1970; `result` is as in the engine's history."""

    stack: str
    operation: Literal["update", "destroy"]
    result: Literal["succeeded", "failed"]
    started: float
    seconds: float
    deleted: int = 0
    objects: tuple[Touched, ...] = ()


def touched_in(result: StackResult) -> tuple[Touched, ...]:
    """Return the security objects that a stack's run restored and the undeclared objects that it removed."""
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
    # The object was found missing before the engine ran. Whether the engine created it again is in the changes.
    is_back = item.what == "missing" and made and is_security_kind(item.api_version, item.kind)
    return "made again" if is_back else None


def note(backend: Backend, done: Iterable[Activity], keep: int) -> None:
    """Append activities and keep the last `keep` of each stack. Raises `OSError` and `WecityError`."""
    new = tuple(done)
    if not new:
        return
    change_lines(backend, activity_key(backend.city), _path(backend), lambda stored: _joined(stored, new, keep))


def change_lines(backend: Backend, key: str, path: Path, change: Callable[[bytes], bytes]) -> None:
    """Replace the content of the object `key` beside the states; of the file `path` where only the CLI reaches them.

    `change` gets the stored content, empty if there is none, and may be called several times. Raises `OSError` and
    `WecityError`.
    """
    states = backend.states
    if states is None:
        with turn_of(path):
            write_private(path, change(path.read_bytes() if path.exists() else b""))
        return
    # Compare and swap instead of a lock: a lock left by a crashed machine would block every later run.
    for _ in range(_ATTEMPTS):
        stored = states.get(key)
        data = change(stored or b"")
        if states.put_new(key, data) if stored is None else states.swap(key, data, stored):
            return
        time.sleep(random.uniform(0.01, _PAUSE_SECONDS))  # noqa: S311 - no secret
    raise TimedOutError(f"other runs of {backend.city} have written its history all the time")


def read_lines(backend: Backend, key: str, path: Path) -> bytes:
    """The content that `change_lines` has written; empty if there is none."""
    if backend.states is not None:
        return backend.states.get(key) or b""
    return path.read_bytes() if path.exists() else b""


def _joined(stored: bytes, new: Iterable[Activity], keep: int) -> bytes:
    """Return the new content of the file: the last `keep` activities of each stack, oldest first."""
    by_stack: dict[str, list[Activity]] = {}
    for item in (*_all_in(stored), *new):
        by_stack.setdefault(item.stack, []).append(item)
    kept = sorted((item for items in by_stack.values() for item in items[-keep:]), key=lambda item: item.started)
    text = "".join(json.dumps(asdict(item), ensure_ascii=False) + "\n" for item in kept)
    return text.encode("utf-8", "backslashreplace")


def read(backend: Backend) -> tuple[Activity, ...]:
    """Return all recorded activities, oldest first. Unreadable lines are skipped."""
    return _all_in(read_lines(backend, activity_key(backend.city), _path(backend)))


def _all_in(stored: bytes) -> tuple[Activity, ...]:
    lines = stored.decode("utf-8", "replace").splitlines()
    return tuple(item for line in lines if (item := _parsed(line)) is not None)


def taken_down(done: Iterable[Activity]) -> dict[str, float]:
    """Return the time of the last destroy of each stack, in seconds since 1970."""
    return {item.stack: item.started + item.seconds for item in done if item.operation == "destroy"}


def _parsed(line: str) -> Activity | None:
    try:
        data = json.loads(line)
        objects = tuple(Touched(**{**item, "managers": tuple(item["managers"])}) for item in data.pop("objects"))
        return Activity(**data, objects=objects)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _path(backend: Backend) -> Path:
    return beside_cli(backend, "jsonl")


def beside_cli(backend: Backend, end: str) -> Path:
    """The file on this machine with lines of a city whose states only the CLI reaches."""
    return state_dir() / "history" / f"{backend.city}-{digest(backend.url)}.{end}"
