"""`unlock`: finds the locks on a city's stacks, and removes those that the caller was shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wecityctl.engine.state.backend import Backend
    from wecityctl.engine.state.engine_lock import Lock
    from wecityctl.engine.state.stored_locks import Held
    from wecityctl.session import Session


@dataclass(frozen=True, slots=True)
class FoundLocks:
    """The engine's locks by stack, and the locks of runs. `None` for a stack whose locks only the engine knows."""

    backend: Backend
    stacks: Mapping[str, list[Lock] | None]
    runs: tuple[Held, ...]

    @property
    def lines(self) -> tuple[str, ...]:
        """Return a line for each lock, sorted; for a stack whose locks only the engine knows, its name."""
        found = [str(lock) for name, locks in self.stacks.items() for lock in ([name] if locks is None else locks)]
        return tuple(sorted([*found, *map(str, self.runs)]))


def find_locks(session: Session, stack: str = "") -> FoundLocks:
    """Return the locks on the city and its stacks, or on the stacks with `stack` in their name."""
    from wecityctl.engine.state.abandoned_locks import locks_of, run_locks_on
    from wecityctl.engine.state.backend import open_backend

    backend = open_backend(session.city)
    # Where only the engine knows them, any stack may have some.
    wanted = session.plan.matching([stack]) if stack else set(backend.list_stacks())
    known = {name: locks_of(backend, name) for name in sorted(wanted)}
    # A run of a part of the city has locks of the city too: they are its own.
    return FoundLocks(backend, known, tuple(run_locks_on(backend)) if not stack else ())


@dataclass(frozen=True, slots=True)
class Unlocked:
    """A line for each lock that is gone, and for each that is still there."""

    released: tuple[str, ...]
    remaining: tuple[str, ...]


def unlock(found: FoundLocks) -> Unlocked:
    """Remove the locks that were found, and no others; then look which of them are gone.

    The caller knows that the runs which took them are dead. Raises `LockedError` for one whose owner runs on this
    machine, and `DeploymentError` if a dead run's journal cannot be replayed.
    """
    from wecityctl.engine.state import abandoned_locks

    backend, tried, runs = found.backend, list[str](), found.runs
    for held in runs:
        abandoned_locks.break_run_lock(backend, held)
    for name, locks in found.stacks.items():
        tried += abandoned_locks.unlock(backend, name, locks)
    remaining = [held for held in abandoned_locks.run_locks_on(backend) if held in runs] if runs else []
    left = [str(lock) for name, locks in found.stacks.items() if locks for lock in _still_there(backend, name, locks)]
    released = (*(str(held) for held in runs if held not in remaining), *(line for line in tried if line not in left))
    return Unlocked(released, (*map(str, remaining), *left))


def _still_there(backend: Backend, stack: str, locks: list[Lock]) -> list[Lock]:
    from wecityctl.engine.state.abandoned_locks import locks_of

    keys = {lock.key for lock in locks}
    return [lock for lock in locks_of(backend, stack) or () if lock.key in keys]
