"""Which of our own runs may change which of a city's stacks: locks beside the states, alone or shared.

A run of the whole city has the city alone. A run of a part of it shares the city with others: it has those stacks alone
that it changes, and shares those that it only builds on, so that nobody changes them meanwhile. In a directory the
locks are the kernel's (`kernel_locks`), elsewhere objects (`stored_locks`).
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

from wecityctl.engine.locks.engine_lock import LockedError, held_in_engine
from wecityctl.engine.locks.kernel_locks import KernelLocks
from wecityctl.engine.locks.stored_locks import StoredLocks
from wecityctl.engine.state.backend import Backend
from wecityctl.engine.state.moved import require_here
from wecityctl.engine.state.store import StateStore
from wecityctl.engine.state.store_file import FileStore
from wecityctl.engine.state.store_objects import ObjectStore

_LOOK_SECONDS = 0.2
_ATTEMPTS = 3
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


class Locks(Protocol):
    """Locks of one process by name, in one place."""

    def take(self, name: str, *, alone: bool) -> bool:
        """Lock one name at once, or not at all: then it is locked as it was before."""

    def holders(self, names: Collection[str]) -> list[str]:
        """Which others have one of these alone, each as people read it."""

    def below(self, city: str) -> list[str]:
        """The names of the city's stacks that anybody has ever locked."""

    def release(self) -> None:
        """Give all of them back."""


class RunLocks:
    """The locks of one run. Without `locks` it holds none, and has every stack alone."""

    def __init__(self, locks: Locks | None = None, city: str = "") -> None:
        self._locks, self._city = locks, city
        self._alone: set[str] = set()

    def wait(self, wanted: Mapping[str, bool], patience: float = 0.0, waiting: Waiting = lambda who: None) -> None:
        """Lock what `wanted` names, the city or stacks: true for alone, false for shared with other runs.

        Where another run is in the way, wait for `patience` seconds; `waiting` is told once who that is. Raises
        `LockedError`, and then holds nothing. Every run takes its locks in the order of their names: none waits for
        another that waits for it.
        """
        until, told = time.monotonic() + patience, False
        for name in sorted(wanted):
            # Of two that ask in one moment both may withdraw.
            attempts = 0
            while not self._take(name, alone=wanted[name]):
                attempts += 1
                if attempts < _ATTEMPTS:
                    time.sleep(random.uniform(0.01, _LOOK_SECONDS))  # noqa: S311 - no secret
                    continue
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
        if self._locks is None or self._city in self._alone:
            return
        if any(not self._take(name, alone=True) for name in sorted(set(stacks) - self._alone)):
            raise ContendedError(stacks)

    def close(self) -> None:
        """Give everything back."""
        if self._locks is not None:
            self._locks.release()
        self._alone.clear()

    def _take(self, name: str, *, alone: bool) -> bool:
        assert self._locks is not None
        taken = self._locks.take(name, alone=alone)
        if taken and alone:
            self._alone.add(name)
        return taken

    def _holders(self, name: str) -> str:
        """Who has what is named alone; for the city also who has stacks of it alone. A line each, empty for nobody."""
        assert self._locks is not None
        names = [name, *(self._locks.below(name) if name == self._city else ())]
        return "\n".join(dict.fromkeys(self._locks.holders([each for each in names if each not in self._alone])))


def locks_in(states: StateStore) -> Locks:
    """New locks of this process where the states are."""
    if isinstance(states, FileStore):
        return KernelLocks(states)
    assert isinstance(states, ObjectStore)
    return StoredLocks(states.objects)


@contextmanager
def whole_city(
    backend: Backend, patience: float = 0.0, waiting: Waiting = lambda who: None, *, moving: bool = False
) -> Iterator[RunLocks]:
    """Hold the city against every other changing run. Raises `LockedError`.

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
    states = backend.states
    locks = RunLocks(locks_in(states) if states is not None else None, backend.city)
    try:
        if states is not None:
            locks.wait(wanted, patience, waiting)
            if not moving:
                require_here(backend.city, states)
        yield locks
    finally:
        locks.close()


@contextmanager
def one_stack(backend: Backend, states: StateStore, stack: str) -> Iterator[None]:
    """One stack, locked against other runs and plain `pulumi`, for whoever replaces its state.

    Engine's locks of the dead go first; what they have journaled stays as it is. Raises `LockedError`.
    """
    with part_of_city(backend, (), (stack,)), held_in_engine(states, stack):
        yield
