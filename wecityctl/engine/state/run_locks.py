"""Coordinates wecityctl's own runs: exclusive or shared locks on a city and its stacks, stored beside the states.

A run of the whole city locks the city exclusively. A run of some stacks shares the city's lock, locks the stacks that
it changes exclusively, and shares those that it depends on. In a directory the locks are the kernel's (`kernel_locks`),
elsewhere they are objects (`stored_locks`).
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

from wecityctl import cancellation
from wecityctl.engine.state.backend import Backend
from wecityctl.engine.state.engine_lock import LockedError, held_in_engine
from wecityctl.engine.state.kernel_locks import KernelLocks
from wecityctl.engine.state.moved import require_here
from wecityctl.engine.state.store import StateStore
from wecityctl.engine.state.store_file import FileStore
from wecityctl.engine.state.store_objects import ObjectStore
from wecityctl.engine.state.stored_locks import StoredLocks

_LOOK_SECONDS = 0.2
_ATTEMPTS = 3
Waiting = Callable[[str], None]


class ContendedError(LockedError):
    """Another run shares `stacks`, which this run must change. The run has already read them, so it starts again with
    these locked exclusively before it reads.
    """

    def __init__(self, stacks: Collection[str]) -> None:
        super().__init__(
            f"another run builds on {min(stacks)}, which this one has to change",
            resolution="run it again when that run has ended",
        )
        self.stacks = frozenset(stacks)


class Locks(Protocol):
    """Locks of one process by name, in one place. `abandoned` says what to do about those of a dead process."""

    @property
    def abandoned(self) -> str: ...

    def take(self, name: str, *, alone: bool) -> bool:
        """Try to take one lock without waiting. Returns whether it succeeded; on failure an
        existing lock is unchanged.
        """

    def holders(self, names: Collection[str]) -> list[str]:
        """Return who else holds one of these locks exclusively, as text for users."""

    def below(self, city: str) -> list[str]:
        """Return the names of the city's stacks that have lock files or lock objects."""

    def release(self) -> None:
        """Release all locks."""


class RunLocks:
    """The locks of one run. Without `locks` it takes none and treats every stack as locked exclusively."""

    def __init__(self, locks: Locks | None = None, city: str = "") -> None:
        self._locks, self._city = locks, city
        self._alone: set[str] = set()

    def wait(self, wanted: Mapping[str, bool], patience: float = 0.0, waiting: Waiting = lambda who: None) -> None:
        """Take locks on the names in `wanted` (the city or stacks): true for exclusive, false for shared.

        Waits up to `patience` seconds for other runs; `waiting` is called once with their description. Raises
        `LockedError`, and then holds no lock. Every run takes its locks in the order of their names, which rules out
        deadlocks.
        """
        until, told = time.monotonic() + patience, False
        for name in sorted(wanted):
            # If two runs ask at the same moment, both may withdraw.
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
                        resolution=self._advice(),
                    )
                cancellation.check()
                time.sleep(_LOOK_SECONDS)

    def claim(self, stacks: Collection[str]) -> None:
        """Turn shared locks on stacks into exclusive ones. Raises `ContendedError` if another run shares one; they then
        remain shared.
        """
        if self._locks is None or self._city in self._alone:
            return
        if any(not self._take(name, alone=True) for name in sorted(set(stacks) - self._alone)):
            raise ContendedError(stacks)

    def close(self) -> None:
        """Release all locks."""
        if self._locks is not None:
            self._locks.release()
        self._alone.clear()

    def _take(self, name: str, *, alone: bool) -> bool:
        assert self._locks is not None
        taken = self._locks.take(name, alone=alone)
        if taken and alone:
            self._alone.add(name)
        return taken

    def _advice(self) -> str:
        assert self._locks is not None
        wait = "wait until it has ended: up, refresh and destroy do so with --lock-timeout"
        return f"{wait}; {self._locks.abandoned}" if self._locks.abandoned else wait

    def _holders(self, name: str) -> str:
        """Return who holds the name exclusively, one per line; for the city also who holds any of its stacks. Empty for
        nobody.
        """
        assert self._locks is not None
        names = [name, *(self._locks.below(name) if name == self._city else ())]
        return "\n".join(dict.fromkeys(self._locks.holders([each for each in names if each not in self._alone])))


def locks_in(states: StateStore) -> Locks:
    """Return new locks of this process in the place of the states."""
    if isinstance(states, FileStore):
        return KernelLocks(states)
    assert isinstance(states, ObjectStore)
    return StoredLocks(states.objects)


@contextmanager
def whole_city(
    backend: Backend, patience: float = 0.0, waiting: Waiting = lambda who: None, *, moving: bool = False
) -> Iterator[RunLocks]:
    """Lock the city against all other runs that change it. Raises `LockedError`.

    Raises `ConfigurationError` if its states have been moved to another back end since this one was opened, unless this
    run is `moving` them.
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
    """Lock some of the city's stacks: `alone` exclusively, `shared` shared. Raises as `whole_city` does."""
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
    """Lock one stack against other runs and plain `pulumi`, to replace its state.

    Removes engine locks of dead processes but does not replay their journal. Raises `LockedError`.
    """
    with part_of_city(backend, (), (stack,)), held_in_engine(states, stack):
        yield
