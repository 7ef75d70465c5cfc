"""A changing run of the engine on one stack, from its lock to the state that comes of it; and what a preview is shown.

While the run lasts, the engine's own lock stands and its journal is in the back end, so that neither plain `pulumi` nor
another run of ours begins with a state that is out of date, and whoever comes after a crash goes on from the journal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal, Protocol
from uuid import uuid4

from wecityctl.engine.locks import engine_lock
from wecityctl.engine.locks.engine_lock import LockedError
from wecityctl.engine.secrets.sealing import Seal
from wecityctl.engine.state.checkpoint import Deployment
from wecityctl.engine.state.store import Checkpoint, StateStore
from wecityctl.errors import DeploymentError, WecityError
from wecityctl.journal.log import Header, Writer, read_journal
from wecityctl.toolchain.catalogue import PULUMI_VERSION

# `import` is a state that was given as a whole: no engine asks for it as an update.
Kind = Literal["update", "preview", "refresh", "destroy", "import"]
KINDS: tuple[Kind, ...] = ("update", "preview", "refresh", "destroy")
Entries = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class About:
    """What the engine says of an update when it asks for one: for its history. `version` is the update's number, 0 for
    none."""

    kind: Kind
    message: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    version: int = 0


class Update(Protocol):
    """A run of the engine on one stack."""

    id: str
    about: About

    def append(self, entries: Entries) -> None:
        """Keep a batch of journal entries; durable when this returns."""

    def refuse(self) -> None:
        """Take no more entries: a batch is missing, and those after it may rest on it."""

    def note_changes(self, counts: Mapping[str, int]) -> None:
        """Take the engine's own count of what it has changed, by operation."""

    def complete(self, *, succeeded: bool) -> str:
        """End the run: the stack has the state that comes of the journal. Returns why the engine would refuse it."""


class Shown:
    """A preview: nothing of it is kept."""

    def __init__(self, about: About) -> None:
        self.id, self.about = str(uuid4()), about

    def append(self, entries: Entries) -> None:
        """Refuse it: a preview changes nothing."""
        raise WecityError("a preview has no journal")

    def refuse(self) -> None:
        """It takes none anyway."""

    def note_changes(self, counts: Mapping[str, int]) -> None:
        """Nothing to note."""

    def complete(self, *, succeeded: bool) -> str:
        """Nothing to put in place."""
        return ""


class Running:
    """A changing run on a stack. Its methods are called one at a time."""

    def __init__(self, states: StateStore, stack: str, about: About) -> None:
        """Lock the stack and begin the run's journal. Raises `LockedError`, and `DeploymentError` for a full disk."""
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
        """Go on with the run `update` of a process of this machine that is gone. Raises `LockedError` where that is not
        certain, and `DeploymentError` where its journal is not there as it left it."""
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
        """Keep a batch of journal entries; durable when this returns. Raises `DeploymentError`.

        Once a batch was refused all later ones are: the engine does not wait for each entry before it goes on, so that
        a state without one in the middle might name what is not there.
        """
        if self._has_gap:
            raise DeploymentError(
                f"an earlier part of what this run does to {self._stack} could not be kept", resolution="run it again"
            )
        self._has_gap = True
        self._journal.append(entries)
        self._has_gap = False

    def refuse(self) -> None:
        """Take no more entries: a batch is missing, and those after it may rest on it."""
        self._has_gap = True

    def note_changes(self, counts: Mapping[str, int]) -> None:
        """Take the engine's own count of what it has changed, by operation."""
        self._changes = dict(counts)

    def complete(self, *, succeeded: bool) -> str:
        """End the run: the stack has the state that comes of the journal, its history has the run, its lock is gone.

        Returns why the engine would refuse that state. Raises `LockedError` where somebody has taken the lock away, and
        `DeploymentError` where the state cannot be written: the journal then stays, and so does the lock.
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
    """A stack that the engine may reach in this run: its state, or for a preview another one that it is `shown`.

    With a `seal` the engine has its secrets encrypted here; without one it does so itself.
    """

    states: StateStore
    stack: str
    shown: Deployment | None = None
    previews: bool = False
    seal: Seal | None = None
    update: Update | None = None

    def checkpoint(self, service: Mapping[str, Any]) -> Checkpoint:
        """What the engine begins with; `service` is the state of the secrets provider that the service is."""
        shown = Checkpoint(self.shown) if self.shown is not None else self.states.checkpoint(self.stack)
        found = shown or Checkpoint({})
        return replace(found, deployment=self.seal.shown(found.deployment, service)) if self.seal else found

    def append(self, entries: Entries) -> None:
        """Keep a batch of journal entries of the run that is under way; durable when this returns."""
        if self.update is None:
            raise WecityError("there is no such update")
        self.update.append([self.seal.kept(entry) for entry in entries] if self.seal else entries)

    def begin(self, about: About) -> Update:
        """Start a run. Raises `LockedError` while another one changes the stack, and for a change in a preview."""
        if self.previews != (about.kind == "preview"):
            raise WecityError(f"{about.kind} of {self.stack} is not what this run was started for")
        if self.update is not None:
            raise LockedError(f"the state of {self.stack} is locked", details="by another update of this run")
        self.update = Shown(about) if self.previews else Running(self.states, self.stack, about)
        return self.update

    def end(self, *, succeeded: bool) -> str:
        """End the run that is under way, if there is one; why the engine would refuse the state it has left."""
        update, self.update = self.update, None
        return update.complete(succeeded=succeeded) if update is not None else ""
