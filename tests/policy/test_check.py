"""The policy report: levels, vetoes, and waivers with their last day."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date

import pytest

from stacks.catalogue import load_catalogue
from tests.stacks.cities import IMAGES, app, city
from wecityctl.errors import ExitCode
from wecityctl.model.city import Compliance, Waiver
from wecityctl.placement import Placement
from wecityctl.policy.check import PolicyReport, judge
from wecityctl.policy.model import Finding, PolicyInput, Rule

DAY = date(2026, 11, 21)


def two_findings(policy_input: PolicyInput) -> Iterator[Finding]:
    yield Finding("health/code", "is wrong", "mend it")
    yield Finding("health/map", "is wrong", "mend it")
    # A program may register the same thing twice; it is one finding.
    yield Finding("health/map", "is wrong", "mend it")


RULE = Rule("tidy", "Tidy", "why", two_findings)


def waiver(name: str = "leave", rule: str = "tidy", expires: str = "2027-06-30", **changes: object) -> Waiver:
    base = Waiver(name, rule, ("health/*",), "alice@x.example", "the supplier is late", expires)
    return replace(base, **changes)  # type: ignore[arg-type]


def policy_report(*waivers: Waiver, rule: Rule = RULE, mlps: int = 2, day: date = DAY) -> PolicyReport:
    whole = city(app("code"), waivers=waivers, compliance=Compliance(mlps=mlps))
    placement = Placement({}, {("health", "code"): "main"}, "main")
    return judge(PolicyInput(whole, load_catalogue(), placement, IMAGES), day, (rule,))


def test_mandatory_findings_end_with_the_code_of_policies() -> None:
    found = policy_report()
    assert [item.finding.subject for item in found.mandatory] == ["health/code", "health/map"]
    assert found.exit_code is ExitCode.POLICY


@pytest.mark.parametrize(("level", "mlps", "stops"), [("advisory", 2, 0), ("mandatory", 2, 0), ("mandatory", 3, 2)])
def test_advice_and_rules_of_a_higher_level_stop_nothing(level: str, mlps: int, stops: int) -> None:
    found = policy_report(rule=replace(RULE, level=level, mlps=3), mlps=mlps)  # type: ignore[arg-type]
    assert (len(found.mandatory), len(found.advisory)) == (stops, 2 - stops)
    assert found.exit_code is (ExitCode.POLICY if stops else ExitCode.OK)


def test_a_veto_is_mandatory_at_every_level_and_no_waiver_lifts_it() -> None:
    found = policy_report(waiver(), rule=replace(RULE, veto=True, level="advisory", mlps=4))
    assert len(found.mandatory) == 2
    assert [(note.kind, note.waiver) for note in found.notes] == [("refused", "leave")]


@pytest.mark.parametrize(("day", "waived"), [("2027-06-29", 2), ("2027-06-30", 2), ("2027-07-01", 0)])
def test_a_waiver_holds_up_to_and_on_its_last_day(day: str, waived: int) -> None:
    found = policy_report(waiver(), day=date.fromisoformat(day))
    assert len(found.waived) == waived
    assert len(found.mandatory) == 2 - waived
    assert [note.kind for note in found.notes] == (["soon"] if waived else ["expired"])


@pytest.mark.parametrize(("day", "kinds"), [("2027-05-30", []), ("2027-05-31", ["soon"])])
def test_the_end_of_a_waiver_is_told_a_month_before(day: str, kinds: list[str]) -> None:
    assert [note.kind for note in policy_report(waiver(), day=date.fromisoformat(day)).notes] == kinds


def test_a_waiver_covers_its_subjects_and_its_rule_only() -> None:
    found = policy_report(waiver(subjects=("health/map",)), waiver("other", rule="tidier", subjects=("*",)))
    assert [(item.finding.subject, item.waiver) for item in found.findings] == [
        ("health/code", ""),
        ("health/map", "leave"),
    ]
    assert [(note.waiver, note.kind) for note in found.notes] == [("other", "unknown")]


@pytest.mark.parametrize("pattern", ["health/cod", "HEALTH/*", "health.code", "health/c[o]de", "?ealth/code", ""])
def test_only_a_star_is_wild(pattern: str) -> None:
    found = policy_report(waiver(subjects=(pattern,)))
    assert not found.waived
    assert [note.kind for note in found.notes] == ["unmatched"]


def test_a_waiver_that_names_nobody_is_told_the_nearest_subject() -> None:
    (note,) = policy_report(waiver(subjects=("health/maps",))).notes
    assert note.kind == "unmatched"
    assert "the nearest subject is 'health/map'" in note.message
    (note,) = policy_report(waiver(), rule=replace(RULE, check=lambda policy_input: ())).notes
    assert note.kind == "unused"
    assert "take it out" in note.message
    # What another waiver lets pass already needs no second one.
    assert [(note.waiver, note.kind) for note in policy_report(waiver(), waiver("too")).notes] == [("too", "unused")]


@pytest.mark.parametrize(("expires", "kinds"), [("2027-11-22", []), ("2027-11-23", ["long"]), ("2999-12-31", ["long"])])
def test_a_waiver_for_more_than_a_year_is_told(expires: str, kinds: list[str]) -> None:
    found = policy_report(waiver(expires=expires))
    assert [note.kind for note in found.notes] == kinds
    assert found.exit_code is ExitCode.OK


@pytest.mark.parametrize(
    ("subject", "kinds"),
    [
        ("*", ["wide"]),
        ("**", ["wide"]),
        ("*/*", ["wide"]),
        ("h*", ["wide"]),
        ("h*/*", ["wide"]),
        ("health/*", []),
        ("hea*/*", []),
    ],
)
def test_a_waiver_for_everything_is_told(subject: str, kinds: list[str]) -> None:
    found = policy_report(waiver(subjects=(subject,)))
    assert len(found.waived) == 2
    assert [note.kind for note in found.notes] == kinds


def test_an_expired_waiver_that_another_replaces_is_still_told() -> None:
    found = policy_report(waiver("old", expires="2026-01-31"), waiver("new"))
    assert {item.waiver for item in found.findings} == {"new"}
    assert [(note.waiver, note.kind) for note in found.notes] == [("old", "expired")]


def test_advice_can_be_waived_too() -> None:
    found = policy_report(waiver(), rule=replace(RULE, level="advisory"))
    assert (len(found.advisory), len(found.waived)) == (0, 2)
