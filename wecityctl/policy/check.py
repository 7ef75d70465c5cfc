"""Evaluates a policy input: every rule's findings, what waivers let pass, and what is to be said of the waivers.

The day is given by the caller; nothing here reads a clock.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from difflib import SequenceMatcher
from typing import Literal

from wecityctl.errors import ExitCode
from wecityctl.model.city import City, Waiver
from wecityctl.model.patterns import is_broad
from wecityctl.model.waivers import holds
from wecityctl.policy.model import Finding, Level, PolicyInput, Rule

# A waiver that ends so soon is worth a word while there is time to mend what it covers.
SOON = timedelta(days=30)
# One that holds longer is looked at by nobody who gave it.
LONG = timedelta(days=366)

NoteKind = Literal["expired", "soon", "unused", "unmatched", "refused", "unknown", "long", "wide"]


@dataclass(frozen=True, slots=True)
class Violation:
    """A finding with its rule's weight in this city; `waiver` names the waiver that lets it pass, or is empty."""

    rule: str
    title: str
    level: Level
    veto: bool
    finding: Finding
    waiver: str = ""

    @property
    def stops(self) -> bool:
        """Whether nothing may be brought up while this stands."""
        return self.level == "mandatory" and not self.waiver


@dataclass(frozen=True, slots=True)
class WaiverNote:
    """What is to be said of a waiver."""

    waiver: str
    kind: NoteKind
    message: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a rule has seen to hold, for an assessor to look at."""

    rule: str
    text: str


@dataclass(frozen=True, slots=True)
class PolicyReport:
    """What came of a check. `resources` counts those judged; `rules` names the rules that judged them.

    `refusing` names stacks that could not be judged because their own program refuses the files: a run makes nothing
    of them either.
    """

    city: str
    day: str
    rules: tuple[str, ...]
    resources: int
    findings: tuple[Violation, ...] = ()
    notes: tuple[WaiverNote, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    refusing: tuple[str, ...] = ()

    @property
    def mandatory(self) -> tuple[Violation, ...]:
        return tuple(item for item in self.findings if item.stops)

    @property
    def advisory(self) -> tuple[Violation, ...]:
        return tuple(item for item in self.findings if not item.stops and not item.waiver)

    @property
    def waived(self) -> tuple[Violation, ...]:
        return tuple(item for item in self.findings if item.waiver)

    @property
    def exit_code(self) -> ExitCode:
        return ExitCode.POLICY if self.mandatory else ExitCode.OK


def judge(policy_input: PolicyInput, today: date, rules: Sequence[Rule]) -> PolicyReport:
    """The policy report of `rules` on `policy_input`, with the waivers that hold on `today`."""
    used: set[str] = set()
    findings = [
        _judged(rule, finding, policy_input.city, today, used)
        for rule in rules
        for finding in _found(rule, policy_input)
    ]
    return PolicyReport(
        city=policy_input.city.name,
        day=today.isoformat(),
        rules=tuple(rule.name for rule in rules),
        resources=sum(len(recording.resources) for recording in policy_input.recordings),
        findings=tuple(findings),
        notes=tuple(_notes(policy_input.city, today, rules, used, findings)),
        evidence=tuple(
            Evidence(rule.name, text)
            for rule in rules
            if rule.evidence is not None
            for text in rule.evidence(policy_input)
        ),
    )


def _found(rule: Rule, policy_input: PolicyInput) -> Iterable[Finding]:
    """The rule's findings, each said once: a stack may register the same thing under several parents."""
    return dict.fromkeys(rule.check(policy_input))


def _judged(rule: Rule, finding: Finding, city: City, today: date, used: set[str]) -> Violation:
    veto = rule.veto and not finding.unsaid
    level: Level = "mandatory" if veto else "advisory" if finding.unsaid else rule.level_for(city)
    waiver = "" if rule.veto else _waiver_for(rule.name, finding, city, today)
    used.add(waiver)
    return Violation(rule.name, rule.title, level, veto, finding, waiver)


def _waiver_for(rule: str, finding: Finding, city: City, today: date) -> str:
    return next(
        (item.name for item in city.waivers if item.rule == rule and holds(item, today) and covers(item, finding)), ""
    )


def covers(waiver: Waiver, finding: Finding) -> bool:
    """Whether the finding's subject matches one of the waiver's patterns."""
    return any(_pattern(text).fullmatch(finding.subject) for text in waiver.subjects)


def _pattern(text: str) -> re.Pattern[str]:
    """`*` stands for anything; everything else for itself."""
    return re.compile(".*".join(re.escape(part) for part in text.split("*")), re.DOTALL)


def _notes(
    city: City, today: date, rules: Sequence[Rule], used: set[str], findings: Sequence[Violation]
) -> Iterable[WaiverNote]:
    by_name = {rule.name: rule for rule in rules}
    for item in city.waivers:
        rule = by_name.get(item.rule)
        if rule is None:
            yield WaiverNote(item.name, "unknown", f"there is no rule {item.rule!r}")
        elif rule.veto:
            yield WaiverNote(item.name, "refused", f"rule {item.rule!r} has a veto and cannot be waived")
        elif not holds(item, today):
            yield WaiverNote(item.name, "expired", f"expired after {item.expires}; {item.owner} answers for it")
        else:
            if item.name not in used:
                yield _idle(item, [found.finding.subject for found in findings if found.rule == item.rule])
            elif date.fromisoformat(item.expires) - today <= SOON:
                yield WaiverNote(item.name, "soon", f"holds until {item.expires} only; {item.owner} answers for it")
            yield from _generous(item, today)


def _idle(waiver: Waiver, found: Sequence[str]) -> WaiverNote:
    """A waiver that lets nothing pass: because there is nothing to let pass, or because its subjects name nobody."""
    if not found or any(_pattern(text).fullmatch(subject) for text in waiver.subjects for subject in found):
        return WaiverNote(waiver.name, "unused", f"covers nothing that rule {waiver.rule!r} finds; take it out")

    def likeness(subject: str) -> float:
        return max(SequenceMatcher(None, text, subject).ratio() for text in waiver.subjects)

    near = max(dict.fromkeys(found), key=likeness)
    message = f"its subjects name nothing that rule {waiver.rule!r} finds; the nearest subject is {near!r}"
    return WaiverNote(waiver.name, "unmatched", message)


def _generous(waiver: Waiver, today: date) -> Iterable[WaiverNote]:
    """What lets pass more, or for longer, than anybody can have looked at."""
    if date.fromisoformat(waiver.expires) - today > LONG:
        message = f"it ends on {waiver.expires}, more than a year from now; {waiver.owner} answers for it"
        yield WaiverNote(waiver.name, "long", message)
    for text in waiver.subjects:
        if text and is_broad(text):
            message = f"subject {text!r} lets pass whatever rule {waiver.rule!r} will find, too; name what is meant"
            yield WaiverNote(waiver.name, "wide", message)
