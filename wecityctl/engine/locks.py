"""The engine's own locks on stacks: those that a run of ours takes as the engine does, and those that the dead left.

A lock is broken only when its owner is provably dead on this machine; any other is named and left to `unlock`.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from wecityctl.engine.backend import Backend
from wecityctl.engine.process import Owner
from wecityctl.engine.store_cli import CliStore
from wecityctl.engine.store_file import FileStore
from wecityctl.errors import WecityError
from wecityctl.paths import write_private


class LockedError(WecityError):
    """Somebody else is changing the city, or died while doing so elsewhere."""


@dataclass(frozen=True, slots=True)
class Lock:
    """One lock of the engine on a stack. `owner` is known when one of our runs took it on a machine of ours."""

    stack: str
    path: Path
    pid: int
    host: str
    user: str
    since: str
    owner: Owner | None

    @property
    def is_dead(self) -> bool:
        """Whether its owner is certainly gone."""
        return self.owner is not None and self.owner.is_dead()

    def __str__(self) -> str:
        return f"{self.stack}: process {self.pid} of {self.user} on {self.host}, since {self.since}"


def locks_on(files: FileStore, stack: str) -> list[Lock]:
    """The engine's locks on a stack."""
    owner = _noted_owner(files.lock_record(stack))
    found = []
    for path in sorted(files.lock_directory(stack).glob("*.json")):
        try:
            content = json.loads(path.read_text())
            pid = int(content.get("pid", 0))
        except (OSError, ValueError):
            # Cut off while it was written: its owner cannot be named by it, so the note beside decides.
            content, pid = {}, owner.pid if owner is not None else 0
        found.append(
            Lock(
                stack,
                path,
                pid,
                str(content.get("hostname", "?")),
                str(content.get("username", "?")),
                str(content.get("timestamp", "?")),
                owner if owner is not None and owner.pid == pid else None,
            )
        )
    return found


def _noted_owner(path: Path) -> Owner | None:
    try:
        return Owner(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def lock_content(process: Owner) -> dict[str, object]:
    """What the engine writes in a lock of `process`."""
    now = datetime.now(UTC).isoformat()
    return {"pid": process.pid, "username": process.user, "hostname": process.host, "timestamp": now}


def take(files: FileStore, stack: str) -> Path:
    """Lock a stack for this process as the engine does; the lock, to be removed at the end. Raises `LockedError`."""
    _require_free(stack, locks_on(files, stack))
    process = Owner.of(os.getpid())
    write_private(files.lock_record(stack), json.dumps(process.to_json()).encode())
    path = files.lock_directory(stack) / f"{uuid.uuid4()}.json"
    write_private(path, json.dumps(lock_content(process)).encode())
    try:
        # Whoever looked in the same moment has seen nothing either.
        _require_free(stack, [lock for lock in locks_on(files, stack) if lock.path != path])
    except LockedError:
        path.unlink(missing_ok=True)
        raise
    return path


@contextmanager
def held_in_engine(files: FileStore, stack: str) -> Iterator[None]:
    """The stack, locked as the engine does. Locks of the dead go first; what they have journaled stays as it is.

    Raises `LockedError`.
    """
    found = locks_on(files, stack)
    _require_free(stack, [lock for lock in found if not lock.is_dead])
    for dead in found:
        dead.path.unlink(missing_ok=True)
    lock = take(files, stack)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)


def is_left_behind(files: FileStore, stack: str) -> bool:
    """Whether a run that is over has left a lock of the engine on the stack, or a journal."""
    return files.journal(stack).exists() or any(lock.is_dead for lock in locks_on(files, stack))


def break_dead(backend: Backend, stack: str) -> list[Lock]:
    """Remove the locks that dead runs of this machine left on a stack, and replay what they have journaled.

    Raises `LockedError` for any other lock.
    """
    files = backend.files
    if files is None:
        return []
    found = locks_on(files, stack)
    _require_free(stack, [lock for lock in found if not lock.is_dead])
    _release(files, stack, found)
    return found


def _require_free(stack: str, held: list[Lock]) -> None:
    if held:
        raise LockedError(
            f"the state of {stack} is locked",
            details="\n".join(str(lock) for lock in held),
            resolution=f"wait until that run has ended; if it is dead for certain: wecityctl unlock PATH {stack}",
        )


def _release(files: FileStore, stack: str, found: list[Lock]) -> None:
    """Remove locks of runs that are over; the state has first what they have journaled."""
    files.settle(stack)
    for lock in found:
        lock.path.unlink(missing_ok=True)


def unlock(backend: Backend, stack: str) -> list[str]:
    """Break every lock on a stack because the user says so; what was removed, for people.

    Raises `LockedError` for a lock whose owner is alive on this machine.
    """
    if isinstance(backend.store, CliStore):
        backend.store.cancel(stack)
        return [f"{stack}: cancelled in the back end"]
    found = locks_on(backend.store, stack)
    alive = [lock for lock in found if _is_alive_here(lock)]
    if alive:
        raise LockedError(
            f"the run that holds {stack} is alive",
            details="\n".join(str(lock) for lock in alive),
            resolution=f"stop process {alive[0].pid} first",
        )
    _release(backend.store, stack, found)
    return [str(lock) for lock in found]


def _is_alive_here(lock: Lock) -> bool:
    if lock.owner is not None:
        return lock.owner.is_alive()
    return lock.host == os.uname().nodename and Path(f"/proc/{lock.pid}").exists()
