"""Which of our own runs may change which of a city's stacks: locks of the kernel on files beside the states.

A run of the whole city has the city alone. A run of a part of it shares the city with others: it has those stacks alone
that it changes, and shares those that it only builds on, so that nobody changes them meanwhile. The kernel gives the
locks of a process that dies back. Back ends that are no local files have the engine's own locks alone, stack by stack.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
import struct
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from wecityctl.engine.backend import Backend
from wecityctl.engine.lock import LockedError
from wecityctl.engine.locks import held_in_engine
from wecityctl.engine.moved import require_here
from wecityctl.engine.process import Owner
from wecityctl.engine.store_cli import CliStore
from wecityctl.engine.store_file import FileStore
from wecityctl.errors import ConfigurationError, WecityError
from wecityctl.paths import private_dir

_LOOK_SECONDS = 0.2
# A note of an owner is far shorter.
_NOTE_BYTES = 1 << 16
Waiting = Callable[[str], None]


class ContendedError(LockedError):
    """Another run builds on `stacks`, which this one has to change: whoever raises it has read them, and begins anew
    with these locked before it reads."""

    def __init__(self, stacks: Collection[str]) -> None:
        super().__init__(
            f"another run builds on {min(stacks)}, which this one has to change",
            resolution="run it again when that run has ended",
        )
        self.stacks = frozenset(stacks)


class RunLocks:
    """The locks of one run. Without `files` it holds none, and has every stack alone."""

    def __init__(self, files: FileStore | None = None, city: str = "") -> None:
        self._files, self._city = files, city
        self._open: dict[str, int] = {}
        self._alone: set[str] = set()

    def wait(self, wanted: Mapping[str, bool], patience: float = 0.0, waiting: Waiting = lambda who: None) -> None:
        """Lock what `wanted` names, the city or stacks: true for alone, false for shared with other runs.

        Where another run is in the way, wait for `patience` seconds; `waiting` is told once who that is. Raises
        `LockedError`, and then holds nothing. Every run takes its locks in the order of their names: none waits for
        another that waits for it.
        """
        until, told = time.monotonic() + patience, False
        for name in sorted(wanted):
            while not self._take(name, alone=wanted[name]):
                if patience and not told:
                    waiting(self._holders(name) or f"one that builds on {name}")
                    told = True
                if time.monotonic() >= until:
                    holders = self._holders(name)
                    self.close()
                    raise LockedError(
                        f"another run {'is changing' if holders else 'builds on'} {name}"
                        + (f" and has not ended in {patience:.0f} s" if patience else ""),
                        details=holders,
                        resolution="wait until it has ended: up, refresh and destroy do so with --lock-timeout",
                    )
                time.sleep(_LOOK_SECONDS)

    def claim(self, stacks: Collection[str]) -> None:
        """Have stacks alone from now on that were shared so far. Raises `ContendedError` while another run shares one:
        they are still shared then."""
        if self._files is None or self._city in self._alone:
            return
        if any(not self._take(name, alone=True) for name in sorted(set(stacks) - self._alone)):
            raise ContendedError(stacks)

    def close(self) -> None:
        """Give everything back."""
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()
        self._alone.clear()

    def _take(self, name: str, *, alone: bool) -> bool:
        """Lock one name at once, or not at all: then it is locked as it was before."""
        assert self._files is not None
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
            self._alone.add(name)
            os.truncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(Owner.of(os.getpid()).to_json()).encode(), 0)
        return True

    def _holders(self, name: str) -> str:
        """Who has what is named alone; for the city also who has stacks of it alone. A line each, empty for nobody."""
        assert self._files is not None
        path = self._files.run_lock(name)
        paths = [path, *(sorted(path.parent.glob(f"{name}.*{path.suffix}")) if name == self._city else ())]
        ours = {self._files.run_lock(each) for each in self._alone}
        return "\n".join(dict.fromkeys(who for each in paths if each not in ours and (who := _owner(each))))


def _opened(path: Path, flags: int) -> int:
    """The open lock file. Raises `ConfigurationError` for what is none: others might have put it there."""
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
    """A `struct flock` for all of a file.

    Locks of an open file (`F_OFD_SETLK`) change from shared to alone in one step, or stay as they are; those of `flock`
    would be lost where that fails.
    """
    return struct.pack("hhqqixxxx", kind, os.SEEK_SET, 0, 0, 0)


def _owner(path: Path) -> str:
    """Who has the file's lock alone; empty for nobody. Only looks: locks nothing."""
    with suppress(OSError, ValueError, TypeError, RecursionError, WecityError):
        descriptor = _opened(path, os.O_RDONLY)
        try:
            found = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, _whole_file(fcntl.F_RDLCK))
            if struct.unpack_from("h", found)[0] == fcntl.F_WRLCK:
                return str(Owner(**json.loads(os.read(descriptor, _NOTE_BYTES))))
        finally:
            os.close(descriptor)
    return ""


@contextmanager
def whole_city(
    backend: Backend, patience: float = 0.0, waiting: Waiting = lambda who: None, *, moving: bool = False
) -> Iterator[RunLocks]:
    """Hold the city against every other changing run on the same local files. Raises `LockedError`.

    Unless for `moving` its states: `ConfigurationError` where they have left the place since it was opened.
    """
    with _locks(backend, {backend.city: True}, patience, waiting, moving=moving) as locks:
        yield locks


@contextmanager
def part_of_city(
    backend: Backend,
    shared: Collection[str],
    alone: Collection[str] = (),
    patience: float = 0.0,
    waiting: Waiting = lambda who: None,
) -> Iterator[RunLocks]:
    """Hold some of the city's stacks: `alone` to be changed, `shared` to build on. Raises as `whole_city` does."""
    wanted = {backend.city: False, **dict.fromkeys(shared, False), **dict.fromkeys(alone, True)}
    with _locks(backend, wanted, patience, waiting) as locks:
        yield locks


@contextmanager
def _locks(
    backend: Backend, wanted: Mapping[str, bool], patience: float, waiting: Waiting, *, moving: bool = False
) -> Iterator[RunLocks]:
    locks = RunLocks(backend.files, backend.city)
    try:
        if backend.files is not None:
            locks.wait(wanted, patience, waiting)
        if not moving and not isinstance(backend.store, CliStore):
            require_here(backend.city, backend.store)
        yield locks
    finally:
        locks.close()


@contextmanager
def one_stack(backend: Backend, files: FileStore, stack: str) -> Iterator[None]:
    """One stack, locked against other runs and plain `pulumi`, for whoever replaces its state.

    Engine's locks of the dead go first; what they have journaled stays as it is. Raises `LockedError`.
    """
    with part_of_city(backend, (), (stack,)), held_in_engine(files, stack):
        yield
