"""The stacks of a state server in the place where they are kept: all that the server asks of a store.

Everything here blocks, and is called in threads; for one stack by one caller at a time.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, Final

from wecityctl.engine import layout
from wecityctl.engine.backend import open_states
from wecityctl.engine.integrity import flaw
from wecityctl.engine.lock import Lock, LockedError, held_in_engine, locks_on, require_free
from wecityctl.engine.locks import release, release_dead
from wecityctl.engine.moved import require_here
from wecityctl.engine.run_locks import locks_in
from wecityctl.engine.state import ROOT_TYPE
from wecityctl.engine.store import compact
from wecityctl.engine.updates import About, OpenStack, Running, Update
from wecityctl.errors import ConfigurationError, NoSuchStackError, WecityError
from wecityctl.journal.replay import require_known, whole
from wecityctl.model.naming import WHO

# As the engine names stacks. What ends in .json would be taken for another stack's state.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}\Z", re.ASCII)
# As apitype and the service bound tags.
_TAG = re.compile(r"[A-Za-z0-9_.:-]{1,40}\Z", re.ASCII)
_TAG_CHARACTERS: Final = 256
_MOST_TAGS: Final = 64
_TAGS_VERSION: Final = 1
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


@dataclass(frozen=True, slots=True)
class KeptLease:
    """What another server needs to go on with an update: its id, its stack, the id of its holder's token, the hash of
    its own token, its run, and when it began, in seconds since 1970."""

    id: str
    stack: str
    holder: str
    token_hash: str
    update: str
    started: int


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

    def swaps_safely(self) -> bool:
        """Whether the place replaces a state only if it is the one that was read."""
        return self._store.swaps_safely()

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
        require_here(stack.partition(".")[0], self._store)
        if self._store.exists(stack):
            raise LockedError(f"stack {stack} already exists")
        self._store.create(stack)

    def require(self, stack: str) -> None:
        """Raise `NoSuchStackError` for a stack that does not exist, and `ConfigurationError` where its city's states
        have moved away."""
        require_here(stack.partition(".")[0], self._store)
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

    def keep_lease(self, lease: KeptLease) -> None:
        """Keep an update for the next server."""
        self._store.put(layout.lease(lease.stack), compact(asdict(lease)))

    def drop_lease(self, stack: str) -> None:
        """Forget the update of the stack."""
        self._store.delete(layout.lease(stack))

    def kept_leases(self) -> list[KeptLease]:
        """The updates that an earlier server had under way. Damaged ones are forgotten."""
        found = []
        for key in self._store.keys(layout.LEASES):
            try:
                found.append(KeptLease(**json.loads(self._store.get(key) or b"")))
            except (ValueError, TypeError, RecursionError):
                self._store.delete(key)
        return found

    def resume(self, item: OpenStack, update: str) -> Update:
        """Go on with a run of a server that is gone. Raises what `Running.resumed` raises."""
        require_here(item.stack.partition(".")[0], self._store)
        item.update = Running.resumed(self._store, item.stack, update)
        return item.update

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

    def tags(self, stack: str) -> dict[str, str]:
        """The stack's tags, as the CLI keeps them beside a state (pulumi/pkg backend/diy); none if they are damaged."""
        try:
            found = json.loads(self._store.get(layout.tags(stack)) or b"{}").get("tags") or {}
            return {str(name): str(value) for name, value in found.items()}
        except (ValueError, AttributeError, RecursionError):
            return {}

    def set_tags(self, stack: str, tags: Mapping[str, str]) -> None:
        """Replace the stack's tags."""
        if tags == self.tags(stack):
            return
        if tags:
            self._store.put(layout.tags(stack), compact({"version": _TAGS_VERSION, "tags": dict(sorted(tags.items()))}))
        else:
            self._store.delete(layout.tags(stack))

    def with_tag(self, stacks: Iterable[str], name: str, value: str | None, most: int) -> list[str]:
        """Which of the stacks have a tag, with any value for `None`; the first `most` of them."""
        has = (stack for stack in stacks if (tag := self.tags(stack).get(name)) is not None and value in (None, tag))
        return list(islice(has, most))

    def prune(self, stack: str) -> None:
        """Remove what is kept of updates before the last ones."""
        self._store.prune(stack, self._keep)


def checked_tags(tags: dict[str, Any]) -> dict[str, str]:
    """Return `tags`. Raises `ConfigurationError` for what Pulumi's own service refuses as well."""
    for name, value in tags.items():
        if not _TAG.match(name) or not isinstance(value, str) or len(value) > _TAG_CHARACTERS:
            raise ConfigurationError(
                f"{name[:100]!r} cannot be a tag of a stack, or not with its value",
                resolution=f"use up to 40 letters, digits and . : _ - for its name, and up to {_TAG_CHARACTERS}"
                " characters for its value",
            )
    if len(tags) > _MOST_TAGS:
        raise ConfigurationError(f"a stack has at most {_MOST_TAGS} tags")
    return dict(tags)


def require_name(stack: str) -> str:
    """Return `stack`. Raises `ConfigurationError` for what cannot be the name of a stack."""
    if not _NAME.match(stack) or ".json" in stack:
        raise ConfigurationError(
            f"{stack[:100]!r} cannot be the name of a stack",
            resolution="use up to 100 letters, digits and . _ -; .json cannot be in it",
        )
    return stack
