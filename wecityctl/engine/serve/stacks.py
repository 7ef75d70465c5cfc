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

from wecityctl.engine.locks.abandoned import release, release_dead
from wecityctl.engine.locks.engine_lock import Lock, LockedError, held_in_engine, locks_on, require_free
from wecityctl.engine.locks.run_locks import locks_in
from wecityctl.engine.run.updates import About, OpenStack, Running, Update
from wecityctl.engine.state import layout
from wecityctl.engine.state.backend import open_states
from wecityctl.engine.state.checkpoint import ROOT_TYPE
from wecityctl.engine.state.integrity import flaw
from wecityctl.engine.state.moved import require_here
from wecityctl.engine.state.store import StateStore, compact
from wecityctl.engine.state.store_project import ProjectStore
from wecityctl.errors import ConfigurationError, NoSuchStackError, WecityError
from wecityctl.journal.replay import require_known, whole
from wecityctl.model.naming import PROJECT, WHO
from wecityctl.model.stacknames import StackName

# As the engine names stacks. What ends in .json would be taken for another stack's state.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}\Z", re.ASCII)
# As apitype and the service bound tags.
_TAG = re.compile(r"[A-Za-z0-9_.:-]{1,40}\Z", re.ASCII)
_TAG_CHARACTERS: Final = 256
_MOST_TAGS: Final = 64
_TAGS_VERSION: Final = 1
# The engine knows a stack that cannot be removed by this text alone.
HAS_RESOURCES: Final = "Bad Request: Stack still contains resources."
_STACKS: Final = layout.STACKS.removesuffix(f"/{PROJECT}")
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
    """The stacks in the place that a URL names: those of our project by their names, others as `project/stack`.

    Of each, the last `keep` updates are kept.
    """

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
        projects = {key.split("/")[2] for key in self._store.keys(_STACKS) if key.count("/") == 3}
        found = (
            named(project, stack) for project in sorted(projects) if _NAME.match(project)
            for stack in self._of(project).names()
        )  # fmt: skip
        return sorted(found)

    def _of(self, project: str) -> StateStore:
        return self._store if project == PROJECT else ProjectStore(self._store, project)

    def _at(self, stack: str) -> tuple[StateStore, str]:
        """The store of a stack's project, and the stack's name in it."""
        project, name = apart(stack)
        return self._of(project), name

    def exists(self, stack: str) -> bool:
        """Whether there is such a stack."""
        store, name = self._at(stack)
        return store.exists(name)

    def open(self, stack: str, *, previews: bool = False) -> OpenStack:
        """The stack, for the engine to read or to update."""
        store, name = self._at(stack)
        return OpenStack(store, name, previews=previews)

    def create(self, stack: str) -> None:
        """Make an empty stack. Raises `LockedError` for one that exists."""
        self._require_here(stack)
        if self.exists(stack):
            raise LockedError(f"stack {stack} already exists")
        store, name = self._at(stack)
        store.create(name)

    def _require_here(self, stack: str) -> None:
        """Raise `ConfigurationError` where the states of the stack's city have moved away."""
        if "/" not in stack:
            require_here(StackName.parse(stack).city, self._store)

    def require(self, stack: str) -> None:
        """Raise `NoSuchStackError` for a stack that does not exist, and `ConfigurationError` where its city's states
        have moved away."""
        self._require_here(stack)
        if not self.exists(stack):
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
                        self._at(stack)[0].delete(lock.key)
                raise

    def remove(self, stack: str, *, force: bool) -> None:
        """Remove a stack. Raises `StackHasResourcesError` for one with resources unless by `force`, `LockedError`."""
        self.release(stack)
        store, name = self._at(stack)
        with held_in_engine(store, name):
            deployment = store.read(name)[0] or {}
            if not force and any(item.get("type") != ROOT_TYPE for item in deployment.get("resources") or ()):
                raise StackHasResourcesError(HAS_RESOURCES)
            store.drop(name)

    def release(self, stack: str) -> int:
        """Remove the locks that dead processes of this machine have left, once what they have journaled is in the
        state; how many those were. Raises `LockedError` for any other lock."""
        return len(release_dead(*self._at(stack)))

    def unlock(self, stack: str) -> int:
        """Remove every lock, because an administrator says so. Raises `LockedError` for one of a living process of this
        machine."""
        found, (store, name) = self.locks(stack), self._at(stack)
        require_free(stack, [lock for lock in found if lock.is_alive_here])
        try:
            release(store, name, found)
        except WecityError:
            # What cannot be replayed is kept aside, and no longer in everybody's way.
            store.put_journal_aside(name)
            release(store, name, found)
        return len(found)

    def locks(self, stack: str) -> list[Lock]:
        """The engine's locks on a stack."""
        return locks_on(*self._at(stack))

    def left_behind(self) -> list[str]:
        """The stacks on which a server or a run has left a lock or a journal."""
        found = ((stack, *self._at(stack)) for stack in self.names())
        return [stack for stack, store, name in found if store.has_journal(name) or locks_on(store, name)]

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
        self._require_here(named(item.states.project, item.stack))
        item.update = Running.resumed(item.states, item.stack, update)
        return item.update

    def summary(self, stack: str) -> Summary:
        """The stack's line in the list."""
        store, name = self._at(stack)
        deployment = store.read(name)[0] or {}
        latest = next(iter(store.history(name, 1)), None)
        return Summary(
            stack, len(deployment.get("resources") or ()), int(latest.get("startTime") or 0) if latest else None
        )

    def history(self, stack: str) -> list[dict[str, Any]]:
        """The stack's updates, newest first, each with its number."""
        store, name = self._at(stack)
        found = store.history(name)
        return [{**item, "version": item.get("version") or len(found) - index} for index, item in enumerate(found)]

    def next_version(self, stack: str) -> int:
        """The number of the stack's next update."""
        store, name = self._at(stack)
        latest = next(iter(store.history(name, 1)), None)
        known = int(latest.get("version") or 0) if latest else 0
        return 1 + (known or len(store.history(name)))

    def tags(self, stack: str) -> dict[str, str]:
        """The stack's tags, as the CLI keeps them beside a state (pulumi/pkg backend/diy); none if they are damaged."""
        try:
            store, name = self._at(stack)
            found = json.loads(store.get(layout.tags(name)) or b"{}").get("tags") or {}
            return {str(tag): str(value) for tag, value in found.items()}
        except (ValueError, AttributeError, RecursionError):
            return {}

    def set_tags(self, stack: str, tags: Mapping[str, str]) -> None:
        """Replace the stack's tags."""
        if tags == self.tags(stack):
            return
        store, name = self._at(stack)
        if tags:
            store.put(layout.tags(name), compact({"version": _TAGS_VERSION, "tags": dict(sorted(tags.items()))}))
        else:
            store.delete(layout.tags(name))

    def with_tag(self, stacks: Iterable[str], name: str, value: str | None, most: int) -> list[str]:
        """Which of the stacks have a tag, with any value for `None`; the first `most` of them."""
        has = (stack for stack in stacks if (tag := self.tags(stack).get(name)) is not None and value in (None, tag))
        return list(islice(has, most))

    def prune(self, stack: str) -> None:
        """Remove what is kept of updates before the last ones."""
        store, name = self._at(stack)
        store.prune(name, self._keep)


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


def named(project: str, stack: str) -> str:
    """What a stack of a project is called here: by its name alone if it is of our project."""
    return stack if project == PROJECT else f"{project}/{stack}"


def apart(stack: str) -> tuple[str, str]:
    """The project and the name of a stack as it is called here."""
    project, _, name = stack.rpartition("/")
    return project or PROJECT, name


def require_name(stack: str) -> str:
    """Return `stack`. Raises `ConfigurationError` for what cannot be the name of a stack, or of one of a project."""
    project, _, name = stack.partition("/") if "/" in stack else (PROJECT, "", stack)
    if not _NAME.match(project) or not _NAME.match(name) or ".json" in name:
        raise ConfigurationError(
            f"{stack[:100]!r} cannot be the name of a stack",
            resolution="use up to 100 letters, digits and . _ -; .json cannot be in it",
        )
    return stack
