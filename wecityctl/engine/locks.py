"""The engine's own locks on stacks: those that a run of ours takes as the engine does, and those that the dead left.

A lock is broken only when its owner is provably dead on this machine; any other is named and left to `unlock`.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from wecityctl.engine.backend import Backend
from wecityctl.engine.lock import Lock, LockedError, lock_content, lock_in, require_free
from wecityctl.engine.process import Owner
from wecityctl.engine.store_cli import CliStore
from wecityctl.engine.store_file import FileStore, disk_error
from wecityctl.paths import write_private


def locks_on(files: FileStore, stack: str) -> list[Lock]:
    """The engine's locks on a stack."""
    owner = _noted_owner(files.lock_record(stack))
    found = []
    for path in sorted(files.lock_directory(stack).glob("*.json")):
        try:
            stored = path.read_bytes()
        except OSError:
            stored = b""
        found.append(lock_in(stack, path, stored, owner))
    return found


def _noted_owner(path: Path) -> Owner | None:
    try:
        return Owner(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError, RecursionError):
        return None


def take(files: FileStore, stack: str) -> Path:
    """Lock a stack for this process as the engine does; the lock, to be removed at the end. Raises `LockedError`,
    and `DeploymentError` where it cannot be written."""
    require_free(stack, locks_on(files, stack))
    process = Owner.of(os.getpid())
    _write(files.lock_record(stack), process.to_json())
    path = files.lock_directory(stack) / f"{uuid.uuid4()}.json"
    _write(path, lock_content(process))
    try:
        # Whoever looked in the same moment has seen nothing either.
        require_free(stack, [lock for lock in locks_on(files, stack) if lock.path != path])
    except LockedError:
        path.unlink(missing_ok=True)
        raise
    return path


def _write(path: Path, content: Mapping[str, object]) -> None:
    try:
        write_private(path, json.dumps(content).encode())
    except OSError as error:
        raise disk_error(error, path) from error


@contextmanager
def held_in_engine(files: FileStore, stack: str) -> Iterator[None]:
    """The stack, locked as the engine does. Locks of the dead go first; what they have journaled stays as it is.

    Raises `LockedError`.
    """
    found = locks_on(files, stack)
    require_free(stack, [lock for lock in found if not lock.is_dead])
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
    require_free(stack, [lock for lock in found if not lock.is_dead])
    _release(files, stack, found)
    return found


def _release(files: FileStore, stack: str, found: list[Lock]) -> None:
    """Remove locks of runs that are over; the state has first what they have journaled."""
    files.settle(stack)
    for lock in found:
        lock.path.unlink(missing_ok=True)


def locks_of(backend: Backend, stack: str) -> list[Lock] | None:
    """The engine's locks on a stack, wherever it is; `None` where only the engine's CLI knows them."""
    store = backend.store
    if isinstance(store, CliStore):
        return None
    return locks_on(store, stack) if isinstance(store, FileStore) else store.locks(stack)


def unlock(backend: Backend, stack: str) -> list[str]:
    """Break every lock on a stack because the user says so; what was removed, for people.

    Raises `LockedError` for a lock whose owner is alive on this machine.
    """
    store, found = backend.store, locks_of(backend, stack) or []
    if isinstance(store, CliStore):
        store.cancel(stack)
        return [f"{stack}: cancelled in the back end"]
    alive = [lock for lock in found if _is_alive_here(lock)]
    if alive:
        raise LockedError(
            f"the run that holds {stack} is alive",
            details="\n".join(str(lock) for lock in alive),
            resolution=f"stop process {alive[0].pid} first",
        )
    if isinstance(store, FileStore):
        _release(store, stack, found)
    else:
        for lock in found:
            store.unlock(lock)
    return [str(lock) for lock in found]


def _is_alive_here(lock: Lock) -> bool:
    if lock.owner is not None:
        return lock.owner.is_alive()
    return lock.host == os.uname().nodename and Path(f"/proc/{lock.pid}").exists()
