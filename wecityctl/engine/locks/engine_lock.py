"""The engine's locks on a stack: as they are stored, who holds one, and taking one as the engine does.

A lock is broken only when its owner is provably dead on this machine; any other is named and left to `unlock`.
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

from wecityctl.engine.process.identity import Owner
from wecityctl.engine.state import layout
from wecityctl.errors import WecityError


class LockedError(WecityError):
    """Somebody else is changing the city, or died while doing so elsewhere."""


class Place(Protocol):
    """Where locks lie. All methods raise `WecityError` where it cannot be read or written."""

    def get(self, key: str) -> bytes | None: ...

    def put(self, key: str, data: bytes) -> None: ...

    def delete(self, key: str) -> None: ...

    def keys(self, prefix: str) -> list[str]:
        """All keys below the directory `prefix`, sorted."""


@dataclass(frozen=True, slots=True)
class Lock:
    """One lock of the engine on a stack. `owner` is known when one of our runs took it on a machine of ours."""

    stack: str
    key: str
    pid: int
    host: str
    user: str
    since: str
    owner: Owner | None

    @property
    def is_dead(self) -> bool:
        """Whether its owner is certainly gone."""
        return self.owner is not None and self.owner.is_dead()

    @property
    def is_alive_here(self) -> bool:
        """Whether its owner runs on this machine; by its process number alone where nobody has noted more."""
        if self.owner is not None:
            return self.owner.is_alive()
        return self.host == os.uname().nodename and Path(f"/proc/{self.pid}").exists()

    def __str__(self) -> str:
        return f"{self.stack}: process {self.pid} of {self.user} on {self.host}, since {self.since}"


def lock_in(stack: str, key: str, stored: bytes | None, owner: Owner | None = None) -> Lock:
    """The lock that is stored under `key`; `owner` is the process that our note beside it names."""
    try:
        content = json.loads(stored or b"")
        pid = int(content.get("pid", 0))
    except (ValueError, TypeError, AttributeError, RecursionError, OverflowError):
        # Cut off while it was written: its owner cannot be named by it, so the note beside decides.
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
    """What the engine writes in a lock of `process`."""
    now = datetime.now(UTC).isoformat()
    return {"pid": process.pid, "username": process.user, "hostname": process.host, "timestamp": now}


def require_free(stack: str, held: Sequence[Lock]) -> None:
    """Raise `LockedError` where somebody holds the stack."""
    if held:
        raise LockedError(
            f"the state of {stack} is locked",
            details="\n".join(str(lock) for lock in held),
            resolution=f"wait until that run has ended; if it is dead for certain: wecityctl unlock PATH {stack}",
        )


def locks_on(place: Place, stack: str) -> list[Lock]:
    """The engine's locks on a stack."""
    keys = [key for key in place.keys(f"{layout.LOCKS}/{stack}") if key.endswith(".json")]
    owner = _noted_owner(_content(place, layout.lock_note(stack))) if keys else None
    return [lock_in(stack, key, _content(place, key), owner) for key in keys]


def _content(place: Place, key: str) -> bytes | None:
    """What is stored there; `None` also for a file that cannot be read: there is a lock all the same."""
    with suppress(OSError):
        return place.get(key)
    return None


def _noted_owner(stored: bytes | None) -> Owner | None:
    try:
        return Owner(**json.loads(stored or b""))
    except (ValueError, TypeError, RecursionError):
        return None


def take(place: Place, stack: str) -> str:
    """Lock a stack for this process as the engine does; the lock's key, to be deleted at the end.

    Raises `LockedError`, and `DeploymentError` where it cannot be written.
    """
    require_free(stack, locks_on(place, stack))
    process = Owner.of(os.getpid())
    _write(place, layout.lock_note(stack), process.to_json())
    key = f"{layout.LOCKS}/{stack}/{uuid.uuid4()}.json"
    try:
        _write(place, key, lock_content(process))
        # Whoever looked in the same moment has seen nothing either.
        require_free(stack, [lock for lock in locks_on(place, stack) if lock.key != key])
    except BaseException:
        place.delete(key)
        raise
    return key


def take_over(place: Place, dead: Sequence[Lock]) -> str:
    """Have the first of these locks of dead processes on one stack for this process; the others go. Its key."""
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
    """The stack, locked as the engine does. Locks of the dead go first; what they have journaled stays as it is.

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
