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


def unlock(found: FoundLocks) -> tuple[str, ...]:
    """Remove the locks that were found, and no others; return a line on each.

    The caller knows that the runs which took them are dead. Raises `LockedError` for one whose owner runs on this
    machine, and `DeploymentError` if a dead run's journal cannot be replayed.
    """
    from wecityctl.engine.state import abandoned_locks

    for held in found.runs:
        abandoned_locks.break_run_lock(found.backend, held)
    removed = [
        line for name, locks in found.stacks.items() for line in abandoned_locks.unlock(found.backend, name, locks)
    ]
    return (*map(str, found.runs), *removed)
