"""The engine's locks on a city's stacks that were left behind: by the dead, or as a person says."""

from __future__ import annotations

from collections.abc import Iterable

from wecityctl.engine.locks.engine_lock import Lock, LockedError, locks_on, require_free
from wecityctl.engine.locks.stored_locks import Held, break_lock, left_in
from wecityctl.engine.state.backend import Backend
from wecityctl.engine.state.store import StateStore
from wecityctl.engine.state.store_objects import ObjectStore


def is_left_behind(store: StateStore, stack: str) -> bool:
    """Whether a run that is over has left a lock of the engine on the stack, or a journal."""
    return store.has_journal(stack) or any(lock.is_dead for lock in locks_on(store, stack))


def break_dead(backend: Backend, stack: str) -> list[Lock]:
    """Remove the locks that dead runs of this machine left on a stack, and replay what they have journaled.

    Raises `LockedError` for any other lock.
    """
    return release_dead(backend.states, stack) if backend.states is not None else []


def release_dead(states: StateStore, stack: str) -> list[Lock]:
    """The same for a stack of a store."""
    found = locks_on(states, stack)
    require_free(stack, [lock for lock in found if not lock.is_dead])
    release(states, stack, found)
    return found


def release(states: StateStore, stack: str, found: Iterable[Lock]) -> None:
    """Remove locks of runs that are over; the state has first what they have journaled."""
    states.settle(stack)
    for lock in found:
        states.delete(lock.key)


def locks_of(backend: Backend, stack: str) -> list[Lock] | None:
    """The engine's locks on a stack, wherever it is; `None` where only the engine's CLI knows them."""
    return locks_on(backend.states, stack) if backend.states is not None else None


def unlock(backend: Backend, stack: str, seen: list[Lock] | None = None) -> list[str]:
    """Break every lock on a stack that was `seen` (by default all there are now) because the user says so; what was
    removed, for people.

    Raises `LockedError` for a lock whose owner is alive on this machine, and `DeploymentError` for a journal that
    cannot be replayed: the locks are gone then all the same, so that it can be mended.
    """
    states, found = backend.states, (locks_of(backend, stack) or []) if seen is None else seen
    if states is None:
        backend.cancel(stack)
        return [f"{stack}: cancelled in the back end"]
    alive = [lock for lock in found if lock.is_alive_here]
    if alive:
        raise LockedError(
            f"the run that holds {stack} is alive",
            details="\n".join(str(lock) for lock in alive),
            resolution=f"stop process {alive[0].pid} first",
        )
    try:
        states.settle(stack)
    finally:
        for lock in found:
            states.delete(lock.key)
    return [str(lock) for lock in found]


def run_locks_on(backend: Backend) -> list[Held]:
    """The locks of runs on the city and its stacks that stand.

    None for a directory: the kernel gives those of the dead back.
    """
    states = backend.states
    return left_in(states.objects, backend.city) if isinstance(states, ObjectStore) else []


def break_run_lock(backend: Backend, held: Held) -> None:
    """Break a run's lock because the user says so. Raises `LockedError` where that run is alive on this machine."""
    assert isinstance(backend.states, ObjectStore)
    if held.is_alive:
        raise LockedError(
            "a run that has the city, or a part of it, is alive",
            details=str(held),
            resolution="wait for it, or stop its process first",
        )
    break_lock(backend.states.objects, held)
