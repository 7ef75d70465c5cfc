"""The engine's lock on a stack: its stored form, its owner, and taking one in the same way as the engine.

A lock is broken only if its owner is provably dead on this machine. Any other lock is reported, and only `unlock`
removes it.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from wecityctl.engine.process.identity import Owned, Owner, owner_in
from wecityctl.engine.state import layout
from wecityctl.errors import WecityError
from wecityctl.model.times import in_utc


class LockedError(WecityError):
    """Another process is changing the city, or died on another machine while doing so."""


class Place(Protocol):
    """The storage of locks. All methods raise `WecityError` if it cannot be read or written."""

    def get(self, key: str) -> bytes | None: ...

    def put(self, key: str, data: bytes) -> None: ...

    def delete(self, key: str) -> None: ...

    def keys(self, prefix: str) -> list[str]:
        """Return all keys below the directory `prefix`, sorted."""


@dataclass(frozen=True, slots=True)
class Lock(Owned):
    """An engine lock on a stack. `owner` is known if one of our runs took it."""

    stack: str
    key: str
    pid: int
    host: str
    user: str
    since: str
    owner: Owner | None

    @property
    def is_alive_here(self) -> bool:
        """Whether the owner runs on this machine. Without a recorded owner, host name and PID decide."""
        if self.owner is not None:
            return self.owner.is_alive()
        return self.host == os.uname().nodename and Path(f"/proc/{self.pid}").exists()

    def __str__(self) -> str:
        return f"{self.stack}: process {self.pid} of {self.user} on {self.host}, since {in_utc(self.since)}"


def lock_in(stack: str, key: str, stored: bytes | None, owner: Owner | None = None) -> Lock:
    """Parse the lock stored under `key`; `owner` is the process named by the note that our runs store beside it."""
    try:
        content = json.loads(stored or b"")
        pid = int(content.get("pid", 0))
    except (ValueError, TypeError, AttributeError, RecursionError, OverflowError):
        # Truncated by an interrupted write: the lock does not name its owner, so the note beside it decides.
        content, pid = {}, owner.pid if owner is not None else 0
    return Lock(
        stack,
        key,
        pid,
        str(content.get("hostname", "?")),
        str(content.get("username", "?")),
        str(content.get("timestamp", "?")),
        owner if owner is not None and owner.pid == pid else None,
    )


def lock_content(process: Owner) -> dict[str, object]:
    """Return the content that the engine would write for a lock of `process`."""
    now = datetime.now(UTC).isoformat()
    return {"pid": process.pid, "username": process.user, "hostname": process.host, "timestamp": now}


def require_free(stack: str, held: Sequence[Lock]) -> None:
    """Raise `LockedError` if there are locks."""
    if held:
        raise LockedError(
            f"the state of {stack} is locked",
            details="\n".join(str(lock) for lock in held),
            resolution=f"wait until that run has ended; if it is dead for certain: wecityctl unlock PATH {stack}",
        )


def locks_on(place: Place, stack: str) -> list[Lock]:
    """Return the engine's locks on a stack."""
    keys = [key for key in place.keys(f"{layout.LOCKS}/{stack}") if key.endswith(".json")]
    owner = _noted_owner(_content(place, layout.lock_note(stack))) if keys else None
    return [lock_in(stack, key, _content(place, key), owner) for key in keys]


def _content(place: Place, key: str) -> bytes | None:
    """Return the stored content; `None` also for an unreadable file, which still counts as a lock."""
    with suppress(OSError):
        return place.get(key)
    return None


def _noted_owner(stored: bytes | None) -> Owner | None:
    try:
        return owner_in(json.loads(stored or b""))
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None


def take(place: Place, stack: str) -> str:
    """Lock a stack for this process as the engine does; return the lock's key, which the caller deletes at the end.

    Raises `LockedError`, and `DeploymentError` if the lock cannot be written.
    """
    require_free(stack, locks_on(place, stack))
    process = Owner.of(os.getpid())
    _write(place, layout.lock_note(stack), process.to_json())
    key = f"{layout.LOCKS}/{stack}/{uuid.uuid4()}.json"
    try:
        _write(place, key, lock_content(process))
        # Another process may have passed the check above at the same time, so check again after writing.
        require_free(stack, [lock for lock in locks_on(place, stack) if lock.key != key])
    except BaseException:
        place.delete(key)
        raise
    return key


def take_over(place: Place, dead: Sequence[Lock]) -> str:
    """Transfer the first of these dead processes' locks on one stack to this process and delete the others; return its
    key.
    """
    first, *others = dead
    process = Owner.of(os.getpid())
    _write(place, layout.lock_note(first.stack), process.to_json())
    _write(place, first.key, lock_content(process))
    for each in others:
        place.delete(each.key)
    return first.key


def _write(place: Place, key: str, content: Mapping[str, object]) -> None:
    place.put(key, json.dumps(content).encode())


@contextmanager
def held_in_engine(place: Place, stack: str) -> Iterator[None]:
    """Hold the engine's lock on a stack within the block. Removes locks of dead processes but does not replay their
    journal.

    Raises `LockedError`.
    """
    found = locks_on(place, stack)
    require_free(stack, [lock for lock in found if not lock.is_dead])
    for dead in found:
        place.delete(dead.key)
    key = take(place, stack)
    try:
        yield
    finally:
        place.delete(key)
