"""The events and results of a run. The engine and the embedded cloud emit them; `report` displays them.

Times are in seconds; `stack` is the full name of a stack. Events contain no secrets: the sender redacts them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from wecityctl.model.findings import Finding

Operation = Literal["preview", "up", "destroy", "refresh"]
ResourceOp = Literal["same", "create", "update", "replace", "delete", "read", "import", "refresh"]
Outcome = Literal["succeeded", "failed", "refused", "unchanged", "skipped", "cancelled", "blocked"]
Severity = Literal["debug", "info", "warning", "error"]


@dataclass(frozen=True, slots=True)
class PropertyChange:
    """A changed property. `kind` is add, update or delete; `replaces`: the change forces a replacement."""

    path: str
    kind: Literal["add", "update", "delete"]
    old: Any = None
    new: Any = None
    replaces: bool = False


@dataclass(frozen=True, slots=True)
class ResourceChange:
    urn: str
    type: str
    name: str
    op: ResourceOp
    properties: tuple[PropertyChange, ...] = ()


@dataclass(frozen=True, slots=True)
class KeptObject:
    """An object that stays in its cluster although `destroy`, or an `up` without it in the files, drops it.

    `name` includes the namespace; `why` is for people.
    """

    urn: str
    type: str
    name: str
    why: str


@dataclass(frozen=True, slots=True)
class StackResult:
    """The result of one stack. `reason` is one line for people: the error, or why the stack was skipped.

    `findings` is the drift since the previous run; `kept` lists the objects that leave the state and stay in the
    cluster. `failed` are changes that were started and did not succeed. Neither these nor refused changes are in
    `changes`. The outcome `refused` means that the only problem was objects that others changed and the run refused to
    overwrite.
    """

    stack: str
    outcome: Outcome
    changes: tuple[ResourceChange, ...] = ()
    unchanged: int = 0
    seconds: float = 0.0
    reason: str = ""
    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    kept: tuple[KeptObject, ...] = ()
    failed: tuple[ResourceChange, ...] = ()

    @property
    def has_changes(self) -> bool:
        return bool(self.changes)

    @property
    def refused(self) -> tuple[str, ...]:
        """The URNs of objects that others changed and `up` does not change back."""
        return tuple(dict.fromkeys(item.urn for item in self.findings if item.is_refused))


@dataclass(frozen=True, slots=True)
class RunResult:
    """The result of a run. `exit_code` is that of the worst stack; `removals` are stacks removed from the
    configuration.

    `starts` are stopped clouds that `up` would start first (in previews only). `planned`: nothing was done, this is
    what `destroy` would do. `part`: the run covered only part of the city.
    """

    operation: Operation
    city: str
    results: tuple[StackResult, ...]
    seconds: float
    exit_code: int
    removals: tuple[str, ...] = ()
    entry_urls: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    provider: str = ""
    planned: bool = False
    starts: tuple[str, ...] = ()
    part: bool = False

    @property
    def has_changes(self) -> bool:
        return bool(self.removals or self.starts) or any(result.has_changes for result in self.results)

    @property
    def refused(self) -> tuple[str, ...]:
        """The URNs, over all stacks, of objects that others changed and `up` does not change back."""
        return tuple(urn for result in self.results for urn in result.refused)

    @property
    def failed(self) -> tuple[ResourceChange, ...]:
        """The changes of all stacks that were started and did not succeed."""
        return tuple(change for result in self.results for change in result.failed)

    @property
    def kept(self) -> tuple[KeptObject, ...]:
        """The objects that leave the states and stay in the clusters."""
        return tuple(item for result in self.results for item in result.kept)

    @property
    def additions(self) -> tuple[Finding, ...]:
        """Findings that `up` leaves as they are: additions by others, and changes made on admission."""
        return tuple(item for result in self.results for item in result.findings if item.is_left)

    @property
    def undeclared(self) -> tuple[Finding, ...]:
        """Undeclared objects that still exist, and pods that somebody changed."""
        found = (item for result in self.results for item in result.findings)
        return tuple(
            item
            for item in found
            if item.what in ("undeclared", "altered") and not (item.resolved or item.shared or item.of_stack)
        )


@dataclass(frozen=True, slots=True)
class RunStarted:
    operation: Operation
    city: str
    stacks: tuple[str, ...]
    depends_on: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StackStarted:
    stack: str


@dataclass(frozen=True, slots=True)
class StackFinished:
    result: StackResult


@dataclass(frozen=True, slots=True)
class ResourceStarted:
    stack: str
    urn: str
    type: str
    name: str
    op: ResourceOp


@dataclass(frozen=True, slots=True)
class ResourceFinished:
    stack: str
    urn: str
    type: str
    name: str
    op: ResourceOp
    failed: bool = False


@dataclass(frozen=True, slots=True)
class ResourceWaiting:
    """A resource exists but is not ready yet; `reason` says what it waits for."""

    stack: str
    urn: str
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Diagnostic:
    stack: str
    severity: Severity
    message: str
    urn: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of work outside the stacks: toolchain, images, the embedded cloud. `subject` is what is worked on."""

    subject: str
    phase: str
    detail: str = ""
    done: bool = False
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class RunFinished:
    result: RunResult


Event: TypeAlias = (
    RunStarted
    | StackStarted
    | StackFinished
    | ResourceStarted
    | ResourceFinished
    | ResourceWaiting
    | Diagnostic
    | Progress
    | RunFinished
)
Emit = Callable[[Event], None]
