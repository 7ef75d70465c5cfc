"""Run locks as kernel locks on files, exclusive or shared. The kernel releases those of a process that dies."""

from __future__ import annotations

import fcntl
import json
import os
import stat
import struct
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from wecityctl.engine.process.identity import Holder, owner_in
from wecityctl.engine.state.store_file import FileStore
from wecityctl.errors import ConfigurationError, WecityError
from wecityctl.paths import private_dir

# The note on an owner is far shorter.
_NOTE_BYTES = 1 << 16


class KernelLocks:
    """Locks of this process on files of a state store; see `run_locks.Locks`."""

    # The kernel releases them.
    abandoned = ""

    def __init__(self, files: FileStore) -> None:
        self._files = files
        self._open: dict[str, int] = {}

    def take(self, name: str, *, alone: bool) -> bool:
        """See `Locks.take`."""
        path = self._files.run_lock(name)
        if name not in self._open:
            private_dir(path.parent)
            self._open[name] = _opened(path, os.O_RDWR | os.O_CREAT)
        descriptor = self._open[name]
        try:
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _whole_file(fcntl.F_WRLCK if alone else fcntl.F_RDLCK))
        except BlockingIOError:
            return False
        if alone:
            os.truncate(descriptor, 0)
            os.pwrite(descriptor, _note(), 0)
        return True

    def holders(self, names: Collection[str]) -> list[str]:
        """See `Locks.holders`."""
        return [who for name in names if (who := _owner(self._files.run_lock(name)))]

    def below(self, city: str) -> list[str]:
        """See `Locks.below`."""
        path = self._files.run_lock(city)
        return [each.name.removesuffix(path.suffix) for each in sorted(path.parent.glob(f"{city}.*{path.suffix}"))]

    def release(self) -> None:
        """See `Locks.release`."""
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()


def _opened(path: Path, flags: int) -> int:
    """Open a lock file and return its descriptor. Raises `ConfigurationError` if it is not a regular file: another user
    may have put it there.
    """
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigurationError(
            "a lock cannot be taken", details=f"{path}: {error.strerror}", resolution="look at that file and its owner"
        ) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ConfigurationError("a lock cannot be taken", details=f"{path} is no file", resolution="remove it")
    return descriptor


def _whole_file(kind: int) -> bytes:
    """Return a `struct flock` for all of a file.

    Locks with `F_OFD_SETLK` change from shared to exclusive atomically, or stay as they are. A `flock` lock would be
    lost if the change fails.
    """
    return struct.pack("hhqqixxxx", kind, os.SEEK_SET, 0, 0, 0)


def _note() -> bytes:
    """Return what this process writes into its lock files: itself, the time and its command."""
    holder = Holder.of_this_process()
    return json.dumps({**holder.owner.to_json(), "since": holder.since, "command": holder.command}).encode()


def _owner(path: Path) -> str:
    """Return who holds the file's exclusive lock; empty for nobody. Takes no lock."""
    with suppress(OSError, ValueError, TypeError, RecursionError, WecityError):
        descriptor = _opened(path, os.O_RDONLY)
        try:
            found = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, _whole_file(fcntl.F_RDLCK))
            if struct.unpack_from("h", found)[0] == fcntl.F_WRLCK:
                note = json.loads(os.read(descriptor, _NOTE_BYTES))
                return str(Holder(owner_in(note), str(note.get("since", "")), str(note.get("command", ""))))
        finally:
            os.close(descriptor)
    return ""
