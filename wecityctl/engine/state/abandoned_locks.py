"""Removes abandoned locks: those of dead processes, and those that the user asks to break."""

from __future__ import annotations

from collections.abc import Iterable

from wecityctl.engine.state.backend import Backend
from wecityctl.engine.state.engine_lock import Lock, LockedError, locks_on, require_free
from wecityctl.engine.state.store import StateStore
from wecityctl.engine.state.store_objects import ObjectStore
from wecityctl.engine.state.stored_locks import Held, break_lock, left_in


def is_left_behind(store: StateStore, stack: str) -> bool:
    """Whether a run that has ended left an engine lock or a journal on the stack."""
    return store.has_journal(stack) or any(lock.is_dead for lock in locks_on(store, stack))


def break_dead(backend: Backend, stack: str) -> list[Lock]:
    """Remove the locks of dead processes of this machine on a stack, after replaying their journal. Returns the locks.

    Raises `LockedError` for any other lock.
    """
    return release_dead(backend.states, stack) if backend.states is not None else []


def release_dead(states: StateStore, stack: str) -> list[Lock]:
    """Do the same as `break_dead` for a stack in a state store."""
    found = locks_on(states, stack)
    require_free(stack, [lock for lock in found if not lock.is_dead])
    release(states, stack, found)
    return found


def release(states: StateStore, stack: str, found: Iterable[Lock]) -> None:
    """Replay the journal of runs that have ended, then remove their locks."""
    states.settle(stack)
    for lock in found:
        states.delete(lock.key)


def locks_of(backend: Backend, stack: str) -> list[Lock] | None:
    """Return the engine's locks on a stack; `None` if only the engine's CLI can read them."""
    return locks_on(backend.states, stack) if backend.states is not None else None


def unlock(backend: Backend, stack: str, seen: list[Lock] | None = None) -> list[str]:
    """Break the locks in `seen` (default: all current ones) at the user's request; return messages on what was removed.

    Raises `LockedError` for a lock whose owner is alive on this machine, and `DeploymentError` if the journal cannot be
    replayed. In the latter case the locks are removed all the same, so that the state can be repaired.
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
    """Return the current run locks on the city and its stacks.

    A directory has none to show: the kernel releases the locks of dead processes.
    """
    states = backend.states
    return left_in(states.objects, backend.city) if isinstance(states, ObjectStore) else []


def break_run_lock(backend: Backend, held: Held) -> None:
    """Break a run's lock at the user's request. Raises `LockedError` if that run is alive on this machine."""
    assert isinstance(backend.states, ObjectStore)
    if held.is_alive:
        raise LockedError(
            "a run that has the city, or a part of it, is alive",
            details=str(held),
            resolution="wait for it, or stop its process first",
        )
    break_lock(backend.states.objects, held)
