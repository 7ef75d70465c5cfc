"""The evidence of a city for an assessor, as values: controls, what enforces them, and what was observed.

It is no certificate: nothing here says that a control is fulfilled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

DISCLAIMER = (
    "This is evidence for an assessor, not a certificate: it says what this program enforces and what it observed, not"
    " that a control of GB/T 22239 is fulfilled."
)

# `not-looked-at` is neither good nor bad: nothing was observed.
State = Literal[
    "observed", "partial", "altered", "undeclared", "inactive", "crossed", "missing", "unreachable", "not-looked-at"
]
Kind = Literal["rule", "admission", "network-policy", "pod-security", "role", "landing-zone", "setting", "capability"]
Outcome = Literal["", "nothing-to-judge", "no-finding", "declared", "advisory", "waived", "broken"]
# The status of a control. `enforced`: everything that enforces it was observed to work on every cloud.
ControlStatus = Literal["enforced", "partly", "broken", "not-looked-at", "declared", "nothing"]
_WRONG = ("partial", "altered", "undeclared", "inactive", "crossed", "missing")


@dataclass(frozen=True, slots=True)
class Observation:
    """An observation on one cloud: how many of the wanted objects exist and are unchanged.

    `cloud` is the URL of the target for what is observed in the target of backups. `since` is the creation time of the
    oldest of them (RFC 3339).
    """

    cloud: str
    state: State
    present: int = 0
    wanted: int = 0
    since: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Measure:
    """One thing that enforces a control.

    `outcome` is the result of a rule over the files and the graph. `nothing-to-judge`: the city has nothing that the
    rule applies to. `declared`: the files say so, but nothing that this program observes enforces it, although objects
    that prepare it may exist. `notes` are what the rule has found. `observations` are per cloud; empty for what is in
    the files only. The observations of a rule are its results for the live objects.
    """

    kind: Kind
    name: str
    title: str
    outcome: Outcome = ""
    notes: tuple[str, ...] = ()
    observations: tuple[Observation, ...] = ()


@dataclass(frozen=True, slots=True)
class ControlEvidence:
    """A control with all its evidence. `number` is empty if it is not certain."""

    number: str
    title: str
    words: str
    measures: tuple[Measure, ...]
    status: ControlStatus = "nothing"


def status_of(measures: Sequence[Measure]) -> ControlStatus:
    """The status of a control from its measures. What is only declared in the files never counts as enforced."""
    if not measures:
        return "nothing"
    working = [measure for measure in measures if measure.kind != "rule" and measure.outcome != "declared"]
    seen = [item for measure in working for item in measure.observations]
    all_seen = [item for measure in measures for item in measure.observations]
    if any(measure.outcome == "broken" for measure in measures) or any(item.state in _WRONG for item in all_seen):
        return "broken"
    observed = [item.state == "observed" for item in seen]
    if any(observed):
        only_declared = any(measure.outcome == "declared" for measure in measures)
        return "partly" if only_declared or not all(observed) else "enforced"
    return (
        "not-looked-at"
        if any(measure.kind != "landing-zone" for measure in working if measure.observations)
        else "declared"
    )


@dataclass(frozen=True, slots=True)
class WaiverEvidence:
    """A waiver, with a note; the note is empty for a valid waiver without remarks."""

    name: str
    rule: str
    subjects: tuple[str, ...]
    owner: str
    reason: str
    expires: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class CloudLook:
    """Whether a cloud was observed, or why not.

    `expected` names security-relevant objects in the city's namespaces that the files attribute to the cloud's owner.
    `altered` are sentences about pods that differ from the templates of their controllers.
    """

    cloud: str
    provider: str
    state: Literal["observed", "unreachable", "not-looked-at"]
    reason: str = ""
    version: str = ""
    simulated: bool = False
    expected: tuple[str, ...] = ()
    altered: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ComplianceReport:
    """Everything that a report contains.

    `at` is when the clouds were observed (RFC 3339, UTC). `unseen` names stacks whose program fails, so that their
    resources are unknown.
    """

    city: str
    mlps: int
    at: str
    resources: int
    clouds: tuple[CloudLook, ...]
    controls: tuple[ControlEvidence, ...]
    waivers: tuple[WaiverEvidence, ...]
    elsewhere: tuple[str, ...]
    unseen: tuple[str, ...] = ()
    disclaimer: str = DISCLAIMER
