"""An update: one run of the engine that changes a stack, from taking its lock to writing the resulting state.

During the run the engine's own lock is set and its journal is in the state back end. Neither plain `pulumi` nor another
run of wecityctl can start from an outdated state, and the next run after a crash continues from the journal. Previews
have an update too, but keep nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal, Protocol
from uuid import uuid4

from wecityctl.engine.secrets.sealing import Seal
from wecityctl.engine.state import engine_lock
from wecityctl.engine.state.checkpoint import Deployment
from wecityctl.engine.state.engine_lock import LockedError
from wecityctl.engine.state.store import Checkpoint, StateStore
from wecityctl.errors import DeploymentError, WecityError
from wecityctl.journal.log import Header, Writer, read_journal
from wecityctl.toolchain.catalogue import PULUMI_VERSION

# `import` writes a complete state; no engine requests it as an update.
Kind = Literal["update", "preview", "refresh", "destroy", "import"]
KINDS: tuple[Kind, ...] = ("update", "preview", "refresh", "destroy")
Entries = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class About:
    """What the engine says about an update when it requests one, for the history. `version` is its
    number, 0 for none.
    """

    kind: Kind
    message: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    version: int = 0


class Update(Protocol):
    """A run of the engine on one stack."""

    id: str
    about: About

    def append(self, entries: Entries) -> None:
        """Store a batch of journal entries; it is durable when this returns."""

    def refuse(self) -> None:
        """Accept no more entries: a batch is missing, and later ones may depend on it."""

    def note_changes(self, counts: Mapping[str, int]) -> None:
        """Store the engine's own count of changes, by operation."""

    def complete(self, *, succeeded: bool) -> str:
        """End the run and write the resulting state. Returns why the engine would reject that state; empty if it would
        not.
        """


class Shown:
    """The update of a preview: nothing of it is kept."""

    def __init__(self, about: About) -> None:
        self.id, self.about = str(uuid4()), about

    def append(self, entries: Entries) -> None:
        """Raise `WecityError`: a preview changes nothing."""
        raise WecityError("a preview has no journal")

    def refuse(self) -> None:
        """Do nothing: a preview accepts no entries."""

    def note_changes(self, counts: Mapping[str, int]) -> None:
        """Do nothing."""

    def complete(self, *, succeeded: bool) -> str:
        """Do nothing."""
        return ""


class Running:
    """An update that changes a stack. Its methods must be called one at a time."""

    def __init__(self, states: StateStore, stack: str, about: About) -> None:
        """Lock the stack and start the run's journal. Raises `LockedError`, and `DeploymentError`
        if the disk is full.
        """
        self.id, self.about = str(uuid4()), about
        self._states, self._stack = states, stack
        self._changes, self._has_gap = dict[str, int](), False
        self._lock, self._lines = engine_lock.take(states, stack), states.lines(stack)
        try:
            states.settle(stack)
            now = datetime.now(UTC).isoformat()
            header = Header(stack, self.id, states.digest(stack), PULUMI_VERSION, now, about=asdict(about))
            self._journal = Writer(self._lines, header)
        except BaseException:
            states.delete(self._lock)
            raise

    @classmethod
    def resumed(cls, states: StateStore, stack: str, update: str) -> Running:
        """Continue the update with the id `update` of a process on this machine that has died.

        Raises `LockedError` if it may be alive, and `DeploymentError` if its journal is no longer as it left it.
        """
        held = engine_lock.locks_on(states, stack)
        engine_lock.require_free(stack, [each for each in held if not each.is_dead])
        lines = states.lines(stack)
        journal = read_journal(lines, stack)
        if journal is None or journal.header.update != update or journal.result or not held:
            raise DeploymentError(f"somebody else has brought the run on {stack} to its end")
        found = cls.__new__(cls)
        found.id, found.about = update, About(**journal.header.about)
        found._states, found._stack, found._changes, found._has_gap = states, stack, {}, False
        found._lock, found._lines = engine_lock.take_over(states, held), lines
        found._journal = Writer.resumed(lines)
        return found

    def append(self, entries: Entries) -> None:
        """Store a batch of journal entries; it is durable when this returns. Raises `DeploymentError`.

        After a rejected batch all later ones are rejected too. The engine does not wait for each entry, and a state
        with a gap in the middle might refer to resources that it lacks.
        """
        if self._has_gap:
            raise DeploymentError(
                f"an earlier part of what this run does to {self._stack} could not be kept", resolution="run it again"
            )
        self._has_gap = True
        self._journal.append(entries)
        self._has_gap = False

    def refuse(self) -> None:
        """Accept no more entries: a batch is missing, and later ones may depend on it."""
        self._has_gap = True

    def note_changes(self, counts: Mapping[str, int]) -> None:
        """Store the engine's own count of changes, by operation."""
        self._changes = dict(counts)

    def complete(self, *, succeeded: bool) -> str:
        """End the run: write the state that results from the journal, add the run to the history, release the lock.

        Returns why the engine would reject that state; empty if it would not. Raises `LockedError` if the lock was
        removed meanwhile, and `DeploymentError` if the state cannot be written: journal and lock then stay.
        """
        self._journal.close()
        if self._states.get(self._lock) is None:
            raise LockedError(
                f"the lock on {self._stack} was taken away while the engine ran",
                details="what the run has done is in its journal, which the next run replays",
                resolution="run it again",
            )
        ended = {"result": "succeeded" if succeeded else "failed", "resourceChanges": self._changes}
        flaw = self._states.settle(self._stack, self._lines, ended)
        self._states.delete(self._lock)
        return flaw


@dataclass(slots=True)
class OpenStack:
    """A stack that the engine may access in this run, with its own state or, in a preview, the state `shown`.

    With `seal`, secrets are encrypted and decrypted here; without it, by the engine.
    """

    states: StateStore
    stack: str
    shown: Deployment | None = None
    previews: bool = False
    seal: Seal | None = None
    update: Update | None = None

    def checkpoint(self, service: Mapping[str, Any]) -> Checkpoint:
        """Return the checkpoint that the engine starts from; `service` is the state of the
        service's secrets provider.
        """
        shown = Checkpoint(self.shown) if self.shown is not None else self.states.checkpoint(self.stack)
        found = shown or Checkpoint({})
        return replace(found, deployment=self.seal.shown(found.deployment, service)) if self.seal else found

    def append(self, entries: Entries) -> None:
        """Store a batch of journal entries of the current update; it is durable when this returns."""
        if self.update is None:
            raise WecityError("there is no such update")
        self.update.append([self.seal.kept(entry) for entry in entries] if self.seal else entries)

    def begin(self, about: About) -> Update:
        """Start an update. Raises `LockedError` while another one changes the stack, and `WecityError` for the wrong
        kind.
        """
        if self.previews != (about.kind == "preview"):
            raise WecityError(f"{about.kind} of {self.stack} is not what this run was started for")
        if self.update is not None:
            raise LockedError(f"the state of {self.stack} is locked", details="by another update of this run")
        self.update = Shown(about) if self.previews else Running(self.states, self.stack, about)
        return self.update

    def end(self, *, succeeded: bool) -> str:
        """End the current update, if any. Returns why the engine would reject the resulting state; empty if it would
        not.
        """
        update, self.update = self.update, None
        return update.complete(succeeded=succeeded) if update is not None else ""
