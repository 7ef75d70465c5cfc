"""The stacks of a state server: all operations that the server needs from its store.

All methods block and are called in threads, with one caller at a time per stack.
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

from wecityctl.engine.state import layout
from wecityctl.engine.state.abandoned_locks import release, release_dead
from wecityctl.engine.state.backend import open_states
from wecityctl.engine.state.checkpoint import ROOT_TYPE
from wecityctl.engine.state.engine_lock import Lock, LockedError, held_in_engine, locks_on, require_free
from wecityctl.engine.state.integrity import flaw
from wecityctl.engine.state.moved import require_here
from wecityctl.engine.state.run_locks import locks_in
from wecityctl.engine.state.store import StateStore, compact
from wecityctl.engine.state.store_project import ProjectStore
from wecityctl.engine.state_service.updates import About, OpenStack, Running, Update
from wecityctl.errors import ConfigurationError, NoSuchStackError, WecityError
from wecityctl.journal.replay import require_known, whole
from wecityctl.model.naming import PROJECT, WHO
from wecityctl.model.stacknames import StackName

# The engine's rule for stack names.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}\Z", re.ASCII)
# The limits of apitype and of Pulumi's service.
_TAG = re.compile(r"[A-Za-z0-9_.:-]{1,40}\Z", re.ASCII)
_TAG_CHARACTERS: Final = 256
_MOST_TAGS: Final = 64
_TAGS_VERSION: Final = 1
# The engine recognises this error by its exact text.
HAS_RESOURCES: Final = "Bad Request: Stack still contains resources."
_STACKS: Final = layout.STACKS.removesuffix(f"/{PROJECT}")
# City names contain no blank, so this cannot be the lock of a city.
_SERVER: Final = "state server"


class StackHasResourcesError(WecityError):
    """A stack with resources can be removed only with force."""


@dataclass(frozen=True, slots=True)
class Summary:
    """An entry in the list of stacks. `updated` is in seconds since 1970; `None` before the first update."""

    stack: str
    resources: int
    updated: int | None


@dataclass(frozen=True, slots=True)
class KeptLease:
    """What another server needs to continue an update.

    `holder` is the id of the holder's token, `token_hash` the hash of the update's own token, `update` the id of its
    run, and `started` its start in seconds since 1970.
    """

    id: str
    stack: str
    holder: str
    token_hash: str
    update: str
    started: int


class Stacks:
    """The stacks at a URL: those of our project by their names, others as `project/stack`.

    The last `keep` updates of each stack are kept.
    """

    def __init__(self, url: str, keep: int) -> None:
        """Open the store. Raises what `open_states` raises."""
        self._store = open_states(url)
        self._keep = keep
        self._store.prepare()

    @property
    def url(self) -> str:
        """The URL without credentials."""
        return self._store.shown_url

    def swaps_safely(self) -> bool:
        """Whether the store compares and replaces a state atomically."""
        return self._store.swaps_safely()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Lock the store against a second server. Raises `ConfigurationError`."""
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
        """Return the names of all stacks."""
        projects = {key.split("/")[2] for key in self._store.keys(_STACKS) if key.count("/") == 3}
        found = (
            named(project, stack) for project in sorted(projects) if _NAME.match(project)
            for stack in self._of(project).names()
        )  # fmt: skip
        return sorted(found)

    def _of(self, project: str) -> StateStore:
        return self._store if project == PROJECT else ProjectStore(self._store, project)

    def _at(self, stack: str) -> tuple[StateStore, str]:
        """Return the store of a stack's project, and the stack's name in it."""
        project, name = apart(stack)
        return self._of(project), name

    def exists(self, stack: str) -> bool:
        """Whether the stack exists."""
        store, name = self._at(stack)
        return store.exists(name)

    def open(self, stack: str, *, previews: bool = False) -> OpenStack:
        """Return the stack for the engine to read or update."""
        store, name = self._at(stack)
        return OpenStack(store, name, previews=previews)

    def create(self, stack: str) -> None:
        """Create an empty stack. Raises `LockedError` if it exists."""
        self._require_here(stack)
        if self.exists(stack):
            raise LockedError(f"stack {stack} already exists")
        store, name = self._at(stack)
        store.create(name)

    def _require_here(self, stack: str) -> None:
        """Raise `ConfigurationError` if the states of the stack's city were moved elsewhere."""
        if "/" not in stack:
            require_here(StackName.parse(stack).city, self._store)

    def require(self, stack: str) -> None:
        """Raise `NoSuchStackError` if the stack does not exist, and `ConfigurationError` if its city's states were
        moved.
        """
        self._require_here(stack)
        if not self.exists(stack):
            raise NoSuchStackError(f"there is no stack {stack}")

    def replace(self, stack: str, deployment: Mapping[str, Any], message: str, who: str) -> None:
        """Replace the stack's state, recorded as an update.

        Raises `WecityError` for a state that the engine would reject, and `LockedError`.
        """
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
                # Nobody else ends this update: the journal stays, and the next update replays it.
                for lock in self.locks(stack):
                    if lock.pid == os.getpid() and lock.is_alive_here:
                        self._at(stack)[0].delete(lock.key)
                raise

    def remove(self, stack: str, *, force: bool) -> None:
        """Remove a stack. Raises `LockedError`, and `StackHasResourcesError` for one with resources unless `force` is
        set.
        """
        self.release(stack)
        store, name = self._at(stack)
        with held_in_engine(store, name):
            deployment = store.read(name)[0] or {}
            if not force and any(item.get("type") != ROOT_TYPE for item in deployment.get("resources") or ()):
                raise StackHasResourcesError(HAS_RESOURCES)
            store.drop(name)

    def release(self, stack: str) -> int:
        """Remove locks of dead processes of this machine after replaying their journal; return their number.

        Raises `LockedError` for any other lock.
        """
        return len(release_dead(*self._at(stack)))

    def unlock(self, stack: str) -> int:
        """Remove all locks at an administrator's request; return their number.

        Raises `LockedError` if the owner of one is alive on this machine.
        """
        found, (store, name) = self.locks(stack), self._at(stack)
        require_free(stack, [lock for lock in found if lock.is_alive_here])
        try:
            release(store, name, found)
        except WecityError:
            # A journal that cannot be replayed is moved aside, so that it no longer blocks the stack.
            store.put_journal_aside(name)
            release(store, name, found)
        return len(found)

    def locks(self, stack: str) -> list[Lock]:
        """Return the engine's locks on a stack."""
        return locks_on(*self._at(stack))

    def left_behind(self) -> list[str]:
        """Return the stacks with a lock or a journal of a server or run."""
        found = ((stack, *self._at(stack)) for stack in self.names())
        return [stack for stack, store, name in found if store.has_journal(name) or locks_on(store, name)]

    def keep_lease(self, lease: KeptLease) -> None:
        """Store an update's lease for the next server."""
        self._store.put(layout.lease(lease.stack), compact(asdict(lease)))

    def drop_lease(self, stack: str) -> None:
        """Delete the stored lease of the stack."""
        self._store.delete(layout.lease(stack))

    def kept_leases(self) -> list[KeptLease]:
        """Return the leases of an earlier server's updates. Unreadable ones are deleted."""
        found = []
        for key in self._store.keys(layout.LEASES):
            try:
                found.append(KeptLease(**json.loads(self._store.get(key) or b"")))
            except (ValueError, TypeError, RecursionError):
                self._store.delete(key)
        return found

    def resume(self, item: OpenStack, update: str) -> Update:
        """Continue an update of a previous server. Raises what `Running.resumed` raises."""
        self._require_here(named(item.states.project, item.stack))
        item.update = Running.resumed(item.states, item.stack, update)
        return item.update

    def summary(self, stack: str) -> Summary:
        """Return the stack's entry in the list."""
        store, name = self._at(stack)
        deployment = store.read(name)[0] or {}
        latest = next(iter(store.history(name, 1)), None)
        return Summary(
            stack, len(deployment.get("resources") or ()), int(latest.get("startTime") or 0) if latest else None
        )

    def history(self, stack: str) -> list[dict[str, Any]]:
        """Return the stack's updates with their numbers, newest first."""
        store, name = self._at(stack)
        found = store.history(name)
        return [{**item, "version": item.get("version") or len(found) - index} for index, item in enumerate(found)]

    def next_version(self, stack: str) -> int:
        """Return the number of the stack's next update."""
        store, name = self._at(stack)
        latest = next(iter(store.history(name, 1)), None)
        known = int(latest.get("version") or 0) if latest else 0
        return 1 + (known or len(store.history(name)))

    def tags(self, stack: str) -> dict[str, str]:
        """Return the stack's tags, stored as the CLI does (pulumi/pkg backend/diy); none if they are unreadable."""
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
        """Return up to `most` of the stacks that have a tag; `None` as value matches any value."""
        has = (stack for stack in stacks if (tag := self.tags(stack).get(name)) is not None and value in (None, tag))
        return list(islice(has, most))

    def prune(self, stack: str) -> None:
        """Delete the data of all but the last `keep` updates."""
        store, name = self._at(stack)
        store.prune(name, self._keep)


def checked_tags(tags: dict[str, Any]) -> dict[str, str]:
    """Return `tags`. Raises `ConfigurationError` for tags that Pulumi's own service rejects too."""
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
    """Return the server's name of a stack: the plain name in our project, otherwise `project/stack`."""
    return stack if project == PROJECT else f"{project}/{stack}"


def apart(stack: str) -> tuple[str, str]:
    """Return the project and the stack name for a server's name of a stack."""
    project, _, name = stack.rpartition("/")
    return project or PROJECT, name


def require_name(stack: str) -> str:
    """Return `stack`. Raises `ConfigurationError` for an invalid name of a stack or of `project/stack`."""
    project, _, name = stack.partition("/") if "/" in stack else (PROJECT, "", stack)
    if not _NAME.match(project) or not _NAME.match(name) or ".json" in name:
        raise ConfigurationError(
            f"{stack[:100]!r} cannot be the name of a stack",
            resolution="use up to 100 letters, digits and . _ -; .json cannot be in it",
        )
    return stack
