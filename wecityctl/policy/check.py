"""Evaluates a policy input: the findings of every rule, the waivers that cover them, and notes about the waivers.

The caller gives the date; nothing here reads a clock.
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

# A waiver that ends within this time gets a note, so that what it covers can be fixed in time.
SOON = timedelta(days=30)
# A longer waiver gets a note: nobody would review it.
LONG = timedelta(days=366)

NoteKind = Literal["expired", "soon", "unused", "unmatched", "refused", "unknown", "long", "wide"]


@dataclass(frozen=True, slots=True)
class Violation:
    """A finding with its rule's level in this city; `waiver` is the waiver that covers it, or empty."""

    rule: str
    title: str
    level: Level
    veto: bool
    finding: Finding
    waiver: str = ""

    @property
    def stops(self) -> bool:
        """Whether it blocks the city from being brought up."""
        return self.level == "mandatory" and not self.waiver


@dataclass(frozen=True, slots=True)
class WaiverNote:
    """A note about a waiver."""

    waiver: str
    kind: NoteKind
    message: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a rule has found to hold, for an assessor."""

    rule: str
    text: str


@dataclass(frozen=True, slots=True)
class PolicyReport:
    """The result of a check. `resources` counts the checked ones; `rules` names the rules that were evaluated.

    `refusing` names stacks that could not be checked because their program rejects the files. A run creates none of
    their resources either.
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
    """The result of `rules` for `policy_input`, with the waivers that are valid on `today`."""
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
    """The rule's findings without duplicates: a stack may register the same object under several parents."""
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
    """Compile a pattern in which `*` matches any text."""
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
    """A note about a waiver that covers nothing: there is nothing to cover, or its subjects do not exist."""
    if not found or any(_pattern(text).fullmatch(subject) for text in waiver.subjects for subject in found):
        return WaiverNote(waiver.name, "unused", f"covers nothing that rule {waiver.rule!r} finds; take it out")

    def likeness(subject: str) -> float:
        return max(SequenceMatcher(None, text, subject).ratio() for text in waiver.subjects)

    near = max(dict.fromkeys(found), key=likeness)
    message = f"its subjects name nothing that rule {waiver.rule!r} finds; the nearest subject is {near!r}"
    return WaiverNote(waiver.name, "unmatched", message)


def _generous(waiver: Waiver, today: date) -> Iterable[WaiverNote]:
    """Notes about a waiver that covers more, or for longer, than anybody can have reviewed."""
    if date.fromisoformat(waiver.expires) - today > LONG:
        message = f"it ends on {waiver.expires}, more than a year from now; {waiver.owner} answers for it"
        yield WaiverNote(waiver.name, "long", message)
    for text in waiver.subjects:
        if text and is_broad(text):
            message = f"subject {text!r} lets pass whatever rule {waiver.rule!r} will find, too; name what is meant"
            yield WaiverNote(waiver.name, "wide", message)
