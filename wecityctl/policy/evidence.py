"""What a city can show an assessor, as values: controls, what enforces them, and what was observed.

It is evidence, not a certificate: nothing here says that a control is fulfilled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

DISCLAIMER = (
    "This is evidence for an assessor, not a certificate: it says what this program enforces and what it observed, not"
    " that a control of GB/T 22239 is fulfilled."
)

# `not-looked-at` is never good news and never bad: nobody has looked.
State = Literal[
    "observed", "partial", "altered", "undeclared", "inactive", "crossed", "missing", "unreachable", "not-looked-at"
]
Kind = Literal["rule", "admission", "network-policy", "pod-security", "role", "landing-zone", "setting"]
Outcome = Literal["", "nothing-to-judge", "no-finding", "declared", "advisory", "waived", "broken"]
# What can be said of a control. `enforced`: everything that enforces it was observed working on every cloud.
CurrentPlacement = Literal["enforced", "partly", "broken", "not-looked-at", "declared", "nothing"]
_WRONG = ("partial", "altered", "undeclared", "inactive", "crossed", "missing")


@dataclass(frozen=True, slots=True)
class Observation:
    """How something was found on one cloud: how many objects of those wanted are there and as they should be, and since
    when the oldest of them is there (RFC 3339)."""

    cloud: str
    state: State
    present: int = 0
    wanted: int = 0
    since: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Measure:
    """One thing that enforces a control.

    `outcome` is what a rule over the files and the graph came to (`nothing-to-judge`: the city has nothing that it
    could judge; `declared`: the files say so, and nothing that this program observes does it, although objects that
    prepare it may be there), `notes` what it has seen; `observations` are those of the clouds, none for what lives in
    the files alone. Those of a rule say what it came to over the live objects.
    """

    kind: Kind
    name: str
    title: str
    outcome: Outcome = ""
    notes: tuple[str, ...] = ()
    observations: tuple[Observation, ...] = ()


@dataclass(frozen=True, slots=True)
class ControlEvidence:
    """A control with everything that speaks for it. `number` is empty where none is certain."""

    number: str
    title: str
    words: str
    measures: tuple[Measure, ...]
    standing: CurrentPlacement = "nothing"


def standing_of(measures: Sequence[Measure]) -> CurrentPlacement:
    """What a control's measures come to: what the files declare never counts as enforced."""
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
    """A waiver. `note` is what is to be said of it; empty while it simply holds."""

    name: str
    rule: str
    subjects: tuple[str, ...]
    owner: str
    reason: str
    expires: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class CloudLook:
    """Whether a cloud was looked at, or why not.

    `expected` names what gives rights, opens or limits in the city's namespaces and is said to be the cloud's owner's;
    `altered` are sentences on pods that are otherwise than the templates of their controllers.
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
    """Everything that a report says.

    `at` is when the clouds were looked at (RFC 3339, UTC); `unseen` names stacks whose program does not run, so that
    nothing is known of what they would make.
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
