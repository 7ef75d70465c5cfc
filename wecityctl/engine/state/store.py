"""A self-managed back end, read and written without starting a CLI: what is the same wherever its objects lie.

While the engine runs, its journal lies beside the state; what is read here is the state after that journal. Keys are
those of `layout`.
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

from wecityctl.engine.locks.engine_lock import LockedError, held_in_engine
from wecityctl.engine.state import layout
from wecityctl.engine.state.checkpoint import Deployment, deployment_in, deployment_of
from wecityctl.engine.state.integrity import flaw, require_sound
from wecityctl.engine.state.moved import Mark, read_mark
from wecityctl.errors import DeploymentError, WecityError
from wecityctl.journal.log import Journal, Lines, conclude, read_journal
from wecityctl.journal.replay import JournalError, Rebuilt, replay
from wecityctl.model.naming import PROJECT

_END_OF_UPDATE = re.compile(r"(\.history|\.checkpoint)?\.json(\..*)?$")
_GZIP = b"\x1f\x8b"
# What reading a damaged object raises.
UNREADABLE = (OSError, EOFError, ValueError, TypeError, AttributeError, KeyError, RecursionError, zlib.error)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A stack's whole state, empty before the first run. `version` and `features` are those of its format."""

    deployment: Deployment = field(repr=False)
    version: int = 3
    features: tuple[str, ...] = ()


class StateStore(ABC):
    """The stacks of one project in one place. Those who write hold the stack's lock.

    `url` is for our own CLIs, and may hold credentials; `public_url` is the place as a user writes it.
    """

    @property
    def project(self) -> str:
        """The project that the stacks are of: ours."""
        return PROJECT

    @property
    @abstractmethod
    def url(self) -> str:
        """The place for our own CLIs."""

    @property
    @abstractmethod
    def public_url(self) -> str:
        """The place as a user writes it."""

    @property
    @abstractmethod
    def shown_url(self) -> str:
        """The place without credentials."""

    @abstractmethod
    def where(self, key: str) -> str:
        """Where an object lies, for people."""

    @abstractmethod
    def get(self, key: str) -> bytes | None:
        """An object; `None` for none."""

    @abstractmethod
    def has(self, key: str) -> bool:
        """Whether there is an object. Nothing of it is read."""

    @abstractmethod
    def put(self, key: str, data: bytes) -> None:
        """Write an object in one step, replacing one that is there. Raises `DeploymentError`."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove an object; nothing happens where there is none."""

    @abstractmethod
    def keys(self, prefix: str) -> list[str]:
        """All keys below the directory `prefix`, sorted."""

    def lines(self, stack: str) -> Lines:
        """Where the stack's journal is kept."""
        return self.lines_at(layout.journal(stack))

    @abstractmethod
    def lines_at(self, key: str) -> Lines:
        """The journal whose key is `key`."""

    @abstractmethod
    def put_new(self, key: str, data: bytes) -> bool:
        """Write an object where there is none; whether this call did."""

    @abstractmethod
    def swap(self, key: str, data: bytes, before: bytes) -> bool:
        """Write an object in one step if it is there with the data `before`; whether this call did."""

    def swaps_safely(self) -> bool:
        """Whether nobody can write between a swap's comparing and its writing."""
        return True

    def clear(self, prefix: str) -> None:
        """Remove all objects below the directory `prefix`."""
        for key in self.keys(prefix):
            self.delete(key)

    def prepare(self) -> None:
        """Make the place a back end if it is none yet."""
        if self.get(layout.META_KEY) is None:
            self.put(layout.META_KEY, layout.META)

    def mark(self, key: str) -> Mark | None:
        """The mark of a move that lies here under `key`."""
        return read_mark(self.get(key))

    def names(self) -> list[str]:
        """Every stack of the project."""
        return sorted(layout.states_in(self.keys(layout.STACKS)))

    def find(self, stack: str) -> tuple[str, bytes]:
        """The key of the stack's state and what is stored there, whatever a journal adds; both empty for no stack."""
        for end in layout.ENDS:
            key = layout.state(stack, end)
            if (stored := self.get(key)) is not None:
                return key, stored
        return "", b""

    def exists(self, stack: str) -> bool:
        """Whether there is such a stack."""
        return any(self.has(layout.state(stack, end)) for end in layout.ENDS)

    def read(self, stack: str) -> tuple[Deployment | None, bytes]:
        """The stack's deployment and the bytes it is stored as; both empty for a stack that is not there."""
        key, stored = self._after_journal(stack)
        return (deployment_of(self._document(stack, key, stored)), stored) if key else (None, b"")

    def alone(self, stack: str) -> Deployment | None:
        """The deployment as it lies there, whatever a journal adds. Raises `WecityError` for a damaged one."""
        key, stored = self.find(stack)
        return deployment_of(self._document(stack, key, stored)) if key else None

    def stored(self, stack: str) -> bytes:
        """The stack's state as stored, unread; empty for none. With a journal beside it: as it will be stored."""
        return self._after_journal(stack)[1]

    def _after_journal(self, stack: str) -> tuple[str, bytes]:
        key, stored = self.find(stack)
        journal = self._open_journal(stack, stored) if key else None
        return key, stored if journal is None else self._rebuilt(stack, key, stored, journal)[0]

    def glimpse(self, stack: str) -> bytes:
        """The same for whoever only wants to know how it is encrypted: a damaged journal is left out."""
        stored = self.find(stack)[1]
        if b'"secrets_providers"' in stored:
            return stored
        try:
            return self.stored(stack)
        except WecityError:
            return stored

    def sealed(self, stack: str) -> Deployment | None:
        """The stack's deployment with its secrets encrypted."""
        return self.read(stack)[0]

    def checkpoint(self, stack: str) -> Checkpoint | None:
        """The stack's deployment with the version and the features of its format; `None` for no stack."""
        key, stored = self._after_journal(stack)
        if not key:
            return None
        found = self._document(stack, key, stored)
        return Checkpoint(
            found["checkpoint"].get("latest") or {}, int(found["version"]), tuple(found.get("features") or ())
        )

    def digest(self, stack: str) -> str:
        """The SHA-256 of the state as it lies there, whatever a journal adds; empty for none."""
        key, stored = self.find(stack)
        return hashlib.sha256(stored).hexdigest() if key else ""

    def earlier(self, stack: str) -> Iterator[Deployment]:
        """Earlier states of the stack, the newest first: the engine's copy beside it, and one for each update."""
        key = self.find(stack)[0]
        copies = [each for each in self.keys(f"{layout.HISTORY}/{stack}") if ".checkpoint.json" in each]
        for each in [*([f"{key}.bak"] if key else []), *sorted(copies, reverse=True)]:
            with suppress(*UNREADABLE):
                yield deployment_in(unpacked(self.get(each) or b"")) or {}

    def create(self, stack: str) -> None:
        """An empty stack, as the CLI itself begins one."""
        self.prepare()
        content = {"version": 3, "checkpoint": {"stack": f"organization/{self.project}/{stack}"}}
        self.put_new(layout.state(stack), compact(content))

    def write(self, stack: str, deployment: Deployment) -> None:
        """Replace the state, with the engine's lock taken for it. Raises `LockedError`.

        Raises `WecityError` for a state that the engine would refuse.
        """
        require_sound(stack, deployment)
        with held_in_engine(self, stack):
            self.replace(stack, deployment)

    def replace(self, stack: str, deployment: Deployment) -> None:
        """The same for whoever holds that lock."""
        require_sound(stack, deployment)
        content = {"version": 3, "checkpoint": {"stack": f"organization/{self.project}/{stack}", "latest": deployment}}
        key, stored = self.find(stack)
        self._exchange(stack, key, repacked(compact(content), stored), stored)

    def _exchange(self, stack: str, key: str, data: bytes, before: bytes) -> None:
        """Replace what was read of the stack's state under `key`, which is empty for no stack. Raises `LockedError`
        where that is no longer what is there: a process that hung for long must not write over a later run's state."""
        if not (self.swap(key, data, before) if key else self.put_new(layout.state(stack), data)):
            raise LockedError(
                f"the state of {stack} was changed by another run meanwhile, and is left as that has written it",
                details=self.where(key or layout.state(stack)),
                resolution="run it again",
            )

    def put_back(self, stack: str, stored: bytes) -> None:
        """Replace the state by one that was stored before. Only with the engine's lock held."""
        before, present = self.find(stack)
        key = layout.state(stack, ".json.gz" if stored.startswith(_GZIP) else ".json")
        if before in ("", key):
            self._exchange(stack, before, stored, present)
        else:
            self.put(key, stored)
            self.delete(before)

    def remove(self, stack: str) -> None:
        """Remove a stack and what is kept about it, with the engine's lock taken for it. Only for stacks with no
        resources left. Raises `LockedError`."""
        with held_in_engine(self, stack):
            self.drop(stack)
        self.delete(layout.lock_note(stack))

    def drop(self, stack: str) -> None:
        """The same for whoever holds that lock."""
        for area in (layout.HISTORY, layout.BACKUPS):
            self.clear(f"{area}/{stack}")
        for end in layout.ENDS:
            self.delete(f"{layout.state(stack, end)}.bak")
            self.delete(layout.state(stack, end))
        self.lines(stack).clear()
        self.delete(layout.record(stack))
        self.delete(layout.tags(stack))

    def prune(self, stack: str, keep: int) -> None:
        """Remove what the engine has kept of updates before the last `keep`: records, checkpoints, copies of states.

        Of states and journals that were put aside the last `keep` stay too.
        """
        for area in (layout.HISTORY, layout.BACKUPS):
            for key in updates_before(keep, self.keys(f"{area}/{stack}")):
                self.delete(key)
        aside = self.keys(layout.ASIDE)
        for end in (*layout.ENDS, ".jsonl"):
            for key in [key for key in aside if key.endswith(f"Z.{stack}{end}")][:-keep]:
                self.delete(key)

    def put_aside(self, name: str, data: bytes) -> str:
        """Keep what makes room for something else; where it lies."""
        key = f"{layout.ASIDE}/{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}.{name}"
        self.put(key, data)
        return self.where(key)

    def put_journal_aside(self, stack: str) -> None:
        """Keep the stack's journal, whole or not, out of the way of the next run."""
        lines = self.lines(stack)
        if found := lines.raw():
            self.put_aside(f"{stack}.jsonl", found)
        lines.clear()

    def history(self, stack: str, count: int | None = None) -> list[dict[str, Any]]:
        """The stack's last `count` updates (`None`: all), newest first, as the engine recorded them."""
        keys = [key for key in self.keys(f"{layout.HISTORY}/{stack}") if ".history.json" in key]
        found = []
        for key in sorted(keys, reverse=True)[:count]:
            # One that cannot be read hides no other.
            with suppress(*UNREADABLE):
                entry = json.loads(unpacked(self.get(key) or b""))
                found += [entry] if isinstance(entry, dict) else []
        return found

    def add_history(self, stack: str, update: Mapping[str, Any]) -> None:
        """Record an update, with a copy of the state that it has left, as the engine's own back end does."""
        prefix = f"{layout.HISTORY}/{stack}/{stack}-{time.time_ns()}"
        self.put(f"{prefix}.history.json", compact(update))
        key, stored = self.find(stack)
        if key:
            self.put(f"{prefix}.checkpoint{key.removeprefix(f'{layout.STACKS}/{stack}')}", stored)

    def has_journal(self, stack: str) -> bool:
        """Whether a run of the engine has a journal on the stack, or has left one."""
        return self.lines(stack).exists()

    def settle(self, stack: str, lines: Lines | None = None, ended: Mapping[str, Any] | None = None) -> str:
        """Put the state that comes of the stack's journal in its place, and remove the journal, with the lock held.

        `lines` are those that the caller has written the journal with itself; `ended` is what its history says of the
        end, by default that the run has failed: it was killed. Interrupted anywhere, it can be called again. Returns
        why the engine would refuse the state, which is written all the same: it tells what exists. Raises
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
        """Record the run of a journal, unless whoever was cut off after it had concluded it has done so."""
        started = int(datetime.fromisoformat(journal.header.started).timestamp())
        entry = {**journal.header.about, "startTime": started, "config": {}, "resourceChanges": {}, **ended}
        if journal.result:
            last = next(iter(self.history(stack, 1)), {})
            if all(last.get(name) == entry.get(name) for name in ("kind", "startTime", "environment", "version")):
                return
        self.add_history(stack, {**entry, "endTime": int(time.time())})

    def _open_journal(self, stack: str, stored: bytes, lines: Lines | None = None) -> Journal | None:
        """The journal that is to be replayed onto `stored`. Raises `DeploymentError` for one that does not fit."""
        lines = lines or self.lines(stack)
        return self._to_replay(stack, stored, read_journal(lines, stack), lines)

    @staticmethod
    def _to_replay(stack: str, stored: bytes, journal: Journal | None, lines: Lines) -> Journal | None:
        """The same for a journal that was read."""
        if journal is None:
            return None
        now = hashlib.sha256(stored).hexdigest()
        # Without entries nothing was done.
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
        """The checkpoint as it is stored. Raises `WecityError` for one that is damaged."""
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
    """A stored object as text: the engine compresses some. Raises `OSError` and `EOFError` for a damaged one."""
    return gzip.decompress(stored) if stored.startswith(_GZIP) else stored


def repacked(data: bytes, before: bytes) -> bytes:
    """An object's text as it is stored: compressed if the one `before` it was."""
    return gzip.compress(data, mtime=0) if before.startswith(_GZIP) else data


def updates_before(keep: int, names: Iterable[str]) -> Iterator[str]:
    """The names, or keys, of what was kept of updates before the last `keep`."""
    updates: dict[str, list[str]] = {}
    for name in sorted(names):
        # The parts of an update have one name but for their end.
        updates.setdefault(_END_OF_UPDATE.sub("", name), []).append(name)
    return chain.from_iterable(list(updates.values())[:-keep])


def compact(value: object) -> bytes:
    """JSON as the engine stores it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
