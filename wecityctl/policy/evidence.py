"""What a city can show an assessor, as values: controls, what enforces them, and what was observed.

It is evidence, not a certificate: nothing here says that a control is fulfilled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

DISCLAIMER = (
    "This is evidence for an assessor, not a certificate: it says what this program enforces and what it observed, not"
    " that a control of GB/T 22239 is fulfilled."
)

# `not-looked-at` is never good news and never bad: nobody has looked.
State = Literal["observed", "partial", "altered", "inactive", "missing", "unreachable", "not-looked-at"]
Kind = Literal["rule", "admission", "network-policy", "pod-security", "role", "landing-zone", "setting"]
Outcome = Literal["", "nothing-to-judge", "holds", "advisory", "waived", "broken"]


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

    `outcome` is what a rule over the files and the graph came to (`nothing-to-judge`: the city has nothing that
    it could judge), `notes` what it has seen; `observations` are those of
    the clouds, none for what lives in the files alone.
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
    """Whether a cloud was looked at, or why not."""

    cloud: str
    provider: str
    state: Literal["observed", "unreachable", "not-looked-at"]
    reason: str = ""
    version: str = ""
    simulated: bool = False


@dataclass(frozen=True, slots=True)
class Dossier:
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
