"""A self-managed back end, read and written without the CLI: the code shared by all kinds of storage.

While the engine runs, its journal is stored beside the state. Reading returns the state with that journal replayed.
Keys are those of `layout`.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import time
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from typing import Any

from wecityctl.engine.state import layout
from wecityctl.engine.state.checkpoint import Deployment, deployment_in, deployment_of
from wecityctl.engine.state.engine_lock import LockedError, held_in_engine
from wecityctl.engine.state.integrity import flaw, require_sound
from wecityctl.engine.state.moved import Mark, read_mark
from wecityctl.errors import DeploymentError, WecityError
from wecityctl.journal.log import Journal, Lines, conclude, read_journal
from wecityctl.journal.replay import JournalError, Rebuilt, replay
from wecityctl.model.naming import PROJECT

_END_OF_UPDATE = re.compile(r"(\.history|\.checkpoint)?\.json(\..*)?$")
_GZIP = b"\x1f\x8b"
# Exceptions that reading a damaged object can raise.
UNREADABLE = (OSError, EOFError, ValueError, TypeError, AttributeError, KeyError, RecursionError, zlib.error)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A stack's complete state, empty before the first run. `version` and `features` describe its format."""

    deployment: Deployment = field(repr=False)
    version: int = 3
    features: tuple[str, ...] = ()


class StateStore(ABC):
    """The stacks of one project in one place. Callers that write must hold the stack's lock.

    `url` is passed to our CLI and may contain credentials; `public_url` is the place as a user writes it.
    """

    @property
    def project(self) -> str:
        """The project of the stacks; ours by default."""
        return PROJECT

    @property
    @abstractmethod
    def url(self) -> str:
        """The URL for our CLI."""

    @property
    @abstractmethod
    def public_url(self) -> str:
        """The URL as a user writes it."""

    @property
    @abstractmethod
    def shown_url(self) -> str:
        """The URL without credentials."""

    @abstractmethod
    def where(self, key: str) -> str:
        """Return the location of an object, for users."""

    @abstractmethod
    def get(self, key: str) -> bytes | None:
        """Return an object; `None` if it does not exist."""

    @abstractmethod
    def has(self, key: str) -> bool:
        """Whether an object exists. Its data is not read."""

    @abstractmethod
    def put(self, key: str, data: bytes) -> None:
        """Write an object atomically, replacing an existing one. Raises `DeploymentError`."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Delete an object; does nothing if it does not exist."""

    @abstractmethod
    def keys(self, prefix: str) -> list[str]:
        """Return all keys below the directory `prefix`, sorted."""

    def lines(self, stack: str) -> Lines:
        """Return the stack's journal."""
        return self.lines_at(layout.journal(stack))

    @abstractmethod
    def lines_at(self, key: str) -> Lines:
        """Return the journal with the key `key`."""

    @abstractmethod
    def put_new(self, key: str, data: bytes) -> bool:
        """Write an object if it does not exist. Returns whether this call wrote it."""

    @abstractmethod
    def swap(self, key: str, data: bytes, before: bytes) -> bool:
        """Write an object atomically if its data is `before`. Returns whether this call wrote it."""

    def swaps_safely(self) -> bool:
        """Whether `swap` compares and writes atomically."""
        return True

    def clear(self, prefix: str) -> None:
        """Delete all objects below the directory `prefix`."""
        for key in self.keys(prefix):
            self.delete(key)

    def prepare(self) -> None:
        """Initialise the place as a back end if necessary."""
        if self.get(layout.META_KEY) is None:
            self.put(layout.META_KEY, layout.META)

    def mark(self, key: str) -> Mark | None:
        """Return the mark of a move under `key`; `None` for none."""
        return read_mark(self.get(key))

    def names(self) -> list[str]:
        """Return the names of all stacks of the project."""
        return sorted(layout.states_in(self.keys(layout.STACKS)))

    def find(self, stack: str) -> tuple[str, bytes]:
        """Return the key and the stored data of the stack's state, ignoring a journal; both empty if there is no such
        stack.
        """
        for end in layout.ENDS:
            key = layout.state(stack, end)
            if (stored := self.get(key)) is not None:
                return key, stored
        return "", b""

    def exists(self, stack: str) -> bool:
        """Whether the stack exists."""
        return any(self.has(layout.state(stack, end)) for end in layout.ENDS)

    def read(self, stack: str) -> tuple[Deployment | None, bytes]:
        """Return the stack's deployment and its stored bytes, with a journal replayed; both empty if there is no such
        stack.
        """
        key, stored = self._after_journal(stack)
        return (deployment_of(self._document(stack, key, stored)), stored) if key else (None, b"")

    def alone(self, stack: str) -> Deployment | None:
        """Return the stored deployment, ignoring a journal. Raises `WecityError` if it is damaged."""
        key, stored = self.find(stack)
        return deployment_of(self._document(stack, key, stored)) if key else None

    def stored(self, stack: str) -> bytes:
        """Return the stored bytes of the state, with a journal replayed; empty if there is none."""
        return self._after_journal(stack)[1]

    def _after_journal(self, stack: str) -> tuple[str, bytes]:
        key, stored = self.find(stack)
        journal = self._open_journal(stack, stored) if key else None
        return key, stored if journal is None else self._rebuilt(stack, key, stored, journal)[0]

    def glimpse(self, stack: str) -> bytes:
        """Return the stored bytes for callers that need only the encryption settings; ignores a damaged journal."""
        stored = self.find(stack)[1]
        if b'"secrets_providers"' in stored:
            return stored
        try:
            return self.stored(stack)
        except WecityError:
            return stored

    def sealed(self, stack: str) -> Deployment | None:
        """Return the stack's deployment with its secrets encrypted."""
        return self.read(stack)[0]

    def checkpoint(self, stack: str) -> Checkpoint | None:
        """Return the stack's deployment with the version and features of its format; `None` if
        there is no such stack.
        """
        key, stored = self._after_journal(stack)
        if not key:
            return None
        found = self._document(stack, key, stored)
        return Checkpoint(
            found["checkpoint"].get("latest") or {}, int(found["version"]), tuple(found.get("features") or ())
        )

    def digest(self, stack: str) -> str:
        """Return the SHA-256 of the stored state, ignoring a journal; empty if there is none."""
        key, stored = self.find(stack)
        return hashlib.sha256(stored).hexdigest() if key else ""

    def earlier(self, stack: str) -> Iterator[Deployment]:
        """Yield earlier states of the stack, newest first: the engine's backup beside it, and one for each update."""
        key = self.find(stack)[0]
        copies = [each for each in self.keys(f"{layout.HISTORY}/{stack}") if ".checkpoint.json" in each]
        for each in [*([f"{key}.bak"] if key else []), *sorted(copies, reverse=True)]:
            with suppress(*UNREADABLE):
                yield deployment_in(unpacked(self.get(each) or b"")) or {}

    def create(self, stack: str) -> None:
        """Create an empty stack in the same form as the CLI."""
        self.prepare()
        content = {"version": 3, "checkpoint": {"stack": f"organization/{self.project}/{stack}"}}
        self.put_new(layout.state(stack), compact(content))

    def write(self, stack: str, deployment: Deployment) -> None:
        """Replace the state; takes the engine's lock for it. Raises `LockedError`.

        Raises `WecityError` for a state that the engine would reject.
        """
        require_sound(stack, deployment)
        with held_in_engine(self, stack):
            self.replace(stack, deployment)

    def replace(self, stack: str, deployment: Deployment) -> None:
        """Do the same as `write` with the engine's lock already held."""
        require_sound(stack, deployment)
        content = {"version": 3, "checkpoint": {"stack": f"organization/{self.project}/{stack}", "latest": deployment}}
        key, stored = self.find(stack)
        self._exchange(stack, key, repacked(compact(content), stored), stored)

    def _exchange(self, stack: str, key: str, data: bytes, before: bytes) -> None:
        """Replace the state that was read under `key` (empty for no stack).

        Raises `LockedError` if it has changed since: a process that was suspended must not overwrite a later run's
        state.
        """
        if not (self.swap(key, data, before) if key else self.put_new(layout.state(stack), data)):
            raise LockedError(
                f"the state of {stack} was changed by another run meanwhile, and is left as that has written it",
                details=self.where(key or layout.state(stack)),
                resolution="run it again",
            )

    def put_back(self, stack: str, stored: bytes) -> None:
        """Replace the state with earlier stored bytes. Call only with the engine's lock held."""
        before, present = self.find(stack)
        key = layout.state(stack, ".json.gz" if stored.startswith(_GZIP) else ".json")
        if before in ("", key):
            self._exchange(stack, before, stored, present)
        else:
            self.put(key, stored)
            self.delete(before)

    def remove(self, stack: str) -> None:
        """Delete a stack and its data; takes the engine's lock for it. Only for stacks without resources. Raises
        `LockedError`.
        """
        with held_in_engine(self, stack):
            self.drop(stack)
        self.delete(layout.lock_note(stack))

    def drop(self, stack: str) -> None:
        """Do the same as `remove` with the engine's lock already held."""
        for area in (layout.HISTORY, layout.BACKUPS):
            self.clear(f"{area}/{stack}")
        for end in layout.ENDS:
            self.delete(f"{layout.state(stack, end)}.bak")
            self.delete(layout.state(stack, end))
        self.lines(stack).clear()
        self.delete(layout.record(stack))
        self.delete(layout.tags(stack))

    def prune(self, stack: str, keep: int) -> None:
        """Delete the engine's data on all but the last `keep` updates: history, checkpoints and backups of states.

        States and journals that were moved aside are also reduced to the last `keep`.
        """
        for area in (layout.HISTORY, layout.BACKUPS):
            for key in updates_before(keep, self.keys(f"{area}/{stack}")):
                self.delete(key)
        aside = self.keys(layout.ASIDE)
        for end in (*layout.ENDS, ".jsonl"):
            for key in [key for key in aside if key.endswith(f"Z.{stack}{end}")][:-keep]:
                self.delete(key)

    def put_aside(self, name: str, data: bytes) -> str:
        """Keep replaced data under a new key; return its location."""
        key = f"{layout.ASIDE}/{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}.{name}"
        self.put(key, data)
        return self.where(key)

    def put_journal_aside(self, stack: str) -> None:
        """Move the stack's journal aside, complete or not, so that the next run can start."""
        lines = self.lines(stack)
        if found := lines.raw():
            self.put_aside(f"{stack}.jsonl", found)
        lines.clear()

    def history(self, stack: str, count: int | None = None) -> list[dict[str, Any]]:
        """Return the stack's last `count` updates (`None`: all) as recorded by the engine, newest first."""
        keys = [key for key in self.keys(f"{layout.HISTORY}/{stack}") if ".history.json" in key]
        found = []
        for key in sorted(keys, reverse=True)[:count]:
            # An unreadable entry must not hide the others.
            with suppress(*UNREADABLE):
                entry = json.loads(unpacked(self.get(key) or b""))
                found += [entry] if isinstance(entry, dict) else []
        return found

    def add_history(self, stack: str, update: Mapping[str, Any]) -> None:
        """Record an update with a copy of the resulting state, as the engine's own back end does."""
        prefix = f"{layout.HISTORY}/{stack}/{stack}-{time.time_ns()}"
        self.put(f"{prefix}.history.json", compact(update))
        key, stored = self.find(stack)
        if key:
            self.put(f"{prefix}.checkpoint{key.removeprefix(f'{layout.STACKS}/{stack}')}", stored)

    def has_journal(self, stack: str) -> bool:
        """Whether the stack has a journal, of a current or an interrupted run."""
        return self.lines(stack).exists()

    def settle(self, stack: str, lines: Lines | None = None, ended: Mapping[str, Any] | None = None) -> str:
        """Replay the stack's journal, write the resulting state, and delete the journal. Call with the lock held.

        `lines` is the journal that the caller has written itself. `ended` are the fields on the end for the history;
        the default is a failed run, because it was killed. If interrupted, it can be called again. Returns why the
        engine would reject the state, which is written all the same because it records what exists. Raises
        `DeploymentError` for a journal that cannot be replayed.
        """
        is_own, lines, found = lines is not None, lines or self.lines(stack), ""
        if not lines.exists():
            if is_own:
                raise LockedError(
                    f"somebody else has brought the run on {stack} to its end",
                    details="what it had acknowledged is in the state",
                    resolution="run it again",
                )
            return ""
        key, stored = self.find(stack)
        whole = read_journal(lines, stack)
        journal = self._to_replay(stack, stored, whole, lines)
        if key and journal is not None:
            data, rebuilt = self._rebuilt(stack, key, stored, journal)
            conclude(lines, hashlib.sha256(data).hexdigest())
            found = flaw(rebuilt.deployment)
            self.put(f"{key}.bak", stored)
            self._exchange(stack, key, data, stored)
        else:
            conclude(lines, hashlib.sha256(stored).hexdigest())
        if whole is not None and whole.header.about:
            self._note_end(stack, whole, ended or {"result": "failed"})
        lines.remove()
        return found

    def _note_end(self, stack: str, journal: Journal, ended: Mapping[str, Any]) -> None:
        """Add the journal's run to the history, unless a process that was interrupted in `settle`
        has already done so.
        """
        started = int(datetime.fromisoformat(journal.header.started).timestamp())
        entry = {**journal.header.about, "startTime": started, "config": {}, "resourceChanges": {}, **ended}
        if journal.result:
            last = next(iter(self.history(stack, 1)), {})
            if all(last.get(name) == entry.get(name) for name in ("kind", "startTime", "environment", "version")):
                return
        self.add_history(stack, {**entry, "endTime": int(time.time())})

    def _open_journal(self, stack: str, stored: bytes, lines: Lines | None = None) -> Journal | None:
        """Return the journal to replay onto `stored`. Raises `DeploymentError` if it does not fit."""
        lines = lines or self.lines(stack)
        return self._to_replay(stack, stored, read_journal(lines, stack), lines)

    @staticmethod
    def _to_replay(stack: str, stored: bytes, journal: Journal | None, lines: Lines) -> Journal | None:
        """Do the same as `_open_journal` for a journal that was already read."""
        if journal is None:
            return None
        now = hashlib.sha256(stored).hexdigest()
        # A journal without entries changes nothing.
        if journal.result == now or not journal.entries:
            return None
        if journal.header.base == now:
            return journal
        raise DeploymentError(
            f"the state of {stack} was changed while a run's journal was to be replayed",
            details=f"{lines} began with another state, {journal.header.started}",
            resolution="have the journal put aside: wecityctl state repair PATH; the next `up` adopts what exists",
        )

    def _rebuilt(self, stack: str, key: str, stored: bytes, journal: Journal) -> tuple[bytes, Rebuilt]:
        checkpoint = self._document(stack, key, stored)
        base = checkpoint["checkpoint"].get("latest")
        try:
            rebuilt = replay(base, journal.entries, engine=journal.header.engine, time=journal.header.started)
        except (JournalError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise DeploymentError(
                f"the journal of {stack} cannot be replayed",
                details=f"{self.lines(stack)}: {error}",
                resolution="run the version that has written it, or a newer one",
            ) from error
        checkpoint["checkpoint"]["latest"] = rebuilt.deployment
        checkpoint["version"] = rebuilt.version
        checkpoint.pop("features", None)
        if rebuilt.features:
            checkpoint["features"] = list(rebuilt.features)
        return repacked(compact(checkpoint), stored), rebuilt

    def _document(self, stack: str, key: str, stored: bytes) -> dict[str, Any]:
        """Return the parsed checkpoint. Raises `WecityError` if it is damaged."""
        try:
            found: dict[str, Any] = json.loads(unpacked(stored))
            deployment_of(found)
        except UNREADABLE as error:
            raise WecityError(
                f"the state of {stack} cannot be read",
                details=f"{self.where(key)}: {error}",
                resolution="see what is left of it, and go back to that: wecityctl state repair PATH",
            ) from error
        return found


def unpacked(stored: bytes) -> bytes:
    """Return a stored object uncompressed. Raises `OSError` and `EOFError` if it is damaged."""
    return gzip.decompress(stored) if stored.startswith(_GZIP) else stored


def repacked(data: bytes, before: bytes) -> bytes:
    """Return data in its stored form: compressed if `before` was."""
    return gzip.compress(data, mtime=0) if before.startswith(_GZIP) else data


def updates_before(keep: int, names: Iterable[str]) -> Iterator[str]:
    """Yield the names or keys of the data on all but the last `keep` updates."""
    updates: dict[str, list[str]] = {}
    for name in sorted(names):
        # The files of one update differ only in the ending of their names.
        updates.setdefault(_END_OF_UPDATE.sub("", name), []).append(name)
    return chain.from_iterable(list(updates.values())[:-keep])


def compact(value: object) -> bytes:
    """Return JSON in the engine's stored form."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
