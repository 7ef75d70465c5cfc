"""The stacks of a state server in the place where they are kept: all that the server asks of a store.

Everything here blocks, and is called in threads; for one stack by one caller at a time.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from wecityctl.engine.backend import open_states
from wecityctl.engine.integrity import flaw
from wecityctl.engine.lock import Lock, LockedError, held_in_engine, locks_on, require_free
from wecityctl.engine.locks import release, release_dead
from wecityctl.engine.moved import require_here
from wecityctl.engine.run_locks import locks_in
from wecityctl.engine.state import ROOT_TYPE
from wecityctl.engine.updates import About, OpenStack
from wecityctl.errors import ConfigurationError, NoSuchStackError, WecityError
from wecityctl.journal.replay import require_known, whole
from wecityctl.model.naming import WHO
from wecityctl.model.stacknames import StackName

# As the engine names stacks. What ends in .json would be taken for another stack's state.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}\Z", re.ASCII)
# The engine knows a stack that cannot be removed by this text alone.
HAS_RESOURCES: Final = "Bad Request: Stack still contains resources."
# No city has a name with a blank, so this is no lock of one.
_SERVER: Final = "state server"


class StackHasResourcesError(WecityError):
    """A stack with resources is removed with force only."""


@dataclass(frozen=True, slots=True)
class Summary:
    """A line of the list of stacks. `updated` is seconds since 1970; `None` before the first update."""

    stack: str
    resources: int
    updated: int | None


class Stacks:
    """The stacks in the place that a URL names. Of each, the last `keep` updates are kept."""

    def __init__(self, url: str, keep: int) -> None:
        """Open the place. Raises what `open_states` raises."""
        self._store = open_states(url)
        self._keep = keep
        self._store.prepare()

    @property
    def url(self) -> str:
        """The place, without credentials."""
        return self._store.shown_url

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep a second server from the same place. Raises `ConfigurationError`."""
        locks = locks_in(self._store)
        try:
            if not locks.take(_SERVER, alone=True):
                raise ConfigurationError(
                    f"another server has the states in {self.url}",
                    details="\n".join(locks.holders((_SERVER,))),
                    resolution="stop it first, or name another place",
                )
            yield
        finally:
            locks.release()

    def names(self) -> list[str]:
        """Every stack."""
        return self._store.names()

    def exists(self, stack: str) -> bool:
        """Whether there is such a stack."""
        return self._store.exists(stack)

    def open(self, stack: str, *, previews: bool = False) -> OpenStack:
        """The stack, for the engine to read or to update."""
        return OpenStack(self._store, stack, previews=previews)

    def create(self, stack: str) -> None:
        """Make an empty stack. Raises `LockedError` for one that exists."""
        require_here(StackName.parse(stack).city, self._store)
        if self._store.exists(stack):
            raise LockedError(f"stack {stack} already exists")
        self._store.create(stack)

    def require(self, stack: str) -> None:
        """Raise `NoSuchStackError` for a stack that does not exist, and `ConfigurationError` where its city's states
        have moved away."""
        require_here(StackName.parse(stack).city, self._store)
        if not self._store.exists(stack):
            raise NoSuchStackError(f"there is no stack {stack}")

    def replace(self, stack: str, deployment: Mapping[str, Any], message: str, who: str) -> None:
        """Give the stack another state, as an update of its own. Raises `WecityError` for one that the engine would
        refuse, and `LockedError`."""
        found = flaw(dict(deployment))
        if found:
            raise WecityError(f"the state of {stack} is left as it was: the engine would refuse the new one: {found}")
        self.release(stack)
        item = self.open(stack)
        entry, succeeded = whole(dict(deployment)), False
        require_known(entry)
        item.begin(About("import", message, {WHO: who}, self.next_version(stack)))
        try:
            item.append([entry])
            succeeded = True
        finally:
            try:
                item.end(succeeded=succeeded)
            except BaseException:
                # Nobody else ends it: the journal stays, and the next one replays it.
                for lock in self.locks(stack):
                    if lock.pid == os.getpid() and lock.is_alive_here:
                        self._store.delete(lock.key)
                raise

    def remove(self, stack: str, *, force: bool) -> None:
        """Remove a stack. Raises `StackHasResourcesError` for one with resources unless by `force`, `LockedError`."""
        self.release(stack)
        with held_in_engine(self._store, stack):
            deployment = self._store.read(stack)[0] or {}
            if not force and any(item.get("type") != ROOT_TYPE for item in deployment.get("resources") or ()):
                raise StackHasResourcesError(HAS_RESOURCES)
            self._store.drop(stack)

    def release(self, stack: str) -> int:
        """Remove the locks that dead processes of this machine have left, once what they have journaled is in the
        state; how many those were. Raises `LockedError` for any other lock."""
        return len(release_dead(self._store, stack))

    def unlock(self, stack: str) -> int:
        """Remove every lock, because an administrator says so. Raises `LockedError` for one of a living process of this
        machine."""
        found = self.locks(stack)
        require_free(stack, [lock for lock in found if lock.is_alive_here])
        try:
            release(self._store, stack, found)
        except WecityError:
            # What cannot be replayed is kept aside, and no longer in everybody's way.
            self._store.put_journal_aside(stack)
            release(self._store, stack, found)
        return len(found)

    def locks(self, stack: str) -> list[Lock]:
        """The engine's locks on a stack."""
        return locks_on(self._store, stack)

    def left_behind(self) -> list[str]:
        """The stacks on which a server or a run has left a lock or a journal."""
        store = self._store
        return [name for name in store.names() if store.has_journal(name) or locks_on(store, name)]

    def summary(self, stack: str) -> Summary:
        """The stack's line in the list."""
        deployment = self._store.read(stack)[0] or {}
        latest = next(iter(self._store.history(stack, 1)), None)
        return Summary(
            stack, len(deployment.get("resources") or ()), int(latest.get("startTime") or 0) if latest else None
        )

    def history(self, stack: str) -> list[dict[str, Any]]:
        """The stack's updates, newest first, each with its number."""
        found = self._store.history(stack)
        return [{**item, "version": item.get("version") or len(found) - index} for index, item in enumerate(found)]

    def next_version(self, stack: str) -> int:
        """The number of the stack's next update."""
        latest = next(iter(self._store.history(stack, 1)), None)
        known = int(latest.get("version") or 0) if latest else 0
        return 1 + (known or len(self._store.history(stack)))

    def prune(self, stack: str) -> None:
        """Remove what is kept of updates before the last ones."""
        self._store.prune(stack, self._keep)


def require_name(stack: str) -> str:
    """Return `stack`. Raises `ConfigurationError` for what cannot be the name of a stack."""
    if not _NAME.match(stack) or ".json" in stack:
        raise ConfigurationError(
            f"{stack[:100]!r} cannot be the name of a stack",
            resolution="use up to 100 letters, digits and . _ -; .json cannot be in it",
        )
    return stack
