"""Which of our own runs may change which of a city's stacks: locks of the kernel on files beside the states.

A run of the whole city has the city alone. A run of a part of it shares the city with others: it has those stacks alone
that it changes, and shares those that it only builds on, so that nobody changes them meanwhile. The kernel gives the
locks of a process that dies back. Back ends that are no local files have the engine's own locks alone, stack by stack.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from wecityctl.engine.backend import Backend
from wecityctl.engine.lock import LockedError
from wecityctl.engine.locks import held_in_engine
from wecityctl.engine.process import Owner
from wecityctl.engine.store_file import FileStore
from wecityctl.paths import private_dir

_LOOK_SECONDS = 0.2
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
                    waiting(self._holders())
                    told = True
                if time.monotonic() >= until:
                    holders = self._holders()
                    self.close()
                    raise LockedError(
                        f"another run is changing {name}"
                        + (f" and has not ended in {patience:.0f} s" if patience else ""),
                        details=holders,
                        resolution="wait until it has ended (--lock-timeout), or stop it",
                    )
                time.sleep(_LOOK_SECONDS)

    def claim(self, stacks: Collection[str]) -> None:
        """Have stacks alone from now on that were shared so far. Raises `ContendedError` while another run shares one:
        then nothing is sure any more of what was read of them."""
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
        """Lock one name at once, or not at all."""
        assert self._files is not None
        path = self._files.run_lock(name)
        if name not in self._open:
            private_dir(path.parent)
            self._open[name] = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        descriptor = self._open[name]
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        if alone:
            self._alone.add(name)
            os.truncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(Owner.of(os.getpid()).to_json()).encode(), 0)
        return True

    def _holders(self) -> str:
        """Who has the city, or stacks of it, alone; a line each."""
        assert self._files is not None
        found: dict[str, None] = {}
        whole = self._files.run_lock(self._city)
        for path in (whole, *sorted(whole.parent.glob(f"{self._city}.*{whole.suffix}"))):
            if path.name.removesuffix(whole.suffix) not in self._alone and (who := _owner(path)):
                found[who] = None
        return "\n".join(found)


def _owner(path: Path) -> str:
    """Who has the file's lock alone; empty for nobody."""
    with suppress(OSError, ValueError, TypeError), path.open("rb") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return str(Owner(**json.loads(stream.read())))
    return ""


@contextmanager
def whole_city(backend: Backend, patience: float = 0.0, waiting: Waiting = lambda who: None) -> Iterator[RunLocks]:
    """Hold the city against every other changing run on the same local files. Raises `LockedError`."""
    with _locks(backend, {backend.city: True}, patience, waiting) as locks:
        yield locks


@contextmanager
def part_of_city(
    backend: Backend,
    shared: Collection[str],
    alone: Collection[str] = (),
    patience: float = 0.0,
    waiting: Waiting = lambda who: None,
) -> Iterator[RunLocks]:
    """Hold some of the city's stacks: `alone` to be changed, `shared` to build on. Raises `LockedError`."""
    wanted = {backend.city: False, **dict.fromkeys(shared, False), **dict.fromkeys(alone, True)}
    with _locks(backend, wanted, patience, waiting) as locks:
        yield locks


@contextmanager
def _locks(backend: Backend, wanted: Mapping[str, bool], patience: float, waiting: Waiting) -> Iterator[RunLocks]:
    locks = RunLocks(backend.files, backend.city)
    try:
        if backend.files is not None:
            locks.wait(wanted, patience, waiting)
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
