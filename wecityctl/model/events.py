"""What happens in a run, as values: the engine and the embedded cloud send them, `report` shows them.

Times are seconds; `stack` is a stack's full name. Nothing here carries a secret: senders redact.
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
    """One changed property: `kind` add, update or delete; `replaces` when it forces a replacement."""

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
    """An object that a `destroy` leaves in its cluster. `name` has its namespace; `why` is for people."""

    urn: str
    type: str
    name: str
    why: str


@dataclass(frozen=True, slots=True)
class StackResult:
    """How one stack ended. `reason` is one line for people: the error, or why it was left out; `findings` is what was
    not as the run before had left it; `kept` is what a `destroy` leaves in the cluster. `failed` are changes that were
    begun and did not succeed; they are not among `changes`, and neither are refused ones among them.

    The outcome `refused`: nothing went wrong but that objects were refused, which others have changed."""

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
        """The objects (URNs) that others have changed and an `up` does not change back."""
        return tuple(dict.fromkeys(item.urn for item in self.findings if item.is_refused))


@dataclass(frozen=True, slots=True)
class RunResult:
    """A whole run. `exit_code` is the worst result's; `removals` are stacks that were removed from the configuration;
    `starts` are the stopped clouds that an `up` starts first (in previews only).

    `planned`: nothing was done, this is what a `destroy` would do. `part`: not all of the city was looked at.
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
        """The objects (URNs) of all stacks that others have changed and an `up` does not change back."""
        return tuple(urn for result in self.results for urn in result.refused)

    @property
    def failed(self) -> tuple[ResourceChange, ...]:
        """The changes of all stacks that were begun and did not succeed."""
        return tuple(change for result in self.results for change in result.failed)

    @property
    def kept(self) -> tuple[KeptObject, ...]:
        """What a `destroy` leaves in the clusters."""
        return tuple(item for result in self.results for item in result.kept)

    @property
    def additions(self) -> tuple[Finding, ...]:
        """What others have added, or change on admission, and an `up` leaves."""
        return tuple(item for result in self.results for item in result.findings if item.is_left)

    @property
    def undeclared(self) -> tuple[Finding, ...]:
        """What nobody declared and is still there, and pods that somebody changed."""
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
    """A resource exists and is not ready yet; `reason` says what is being waited for."""

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
    """Work outside the stacks: engine parts, images, the embedded cloud. `subject` is what is worked on."""

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
