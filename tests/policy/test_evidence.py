"""The evidence as values and as documents; what the clusters are asked stands in test_evidence_cluster."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from wecityctl.errors import WecityError
from wecityctl.inputs import Clusters
from wecityctl.model.city import Waiver
from wecityctl.operations.compliance import collect
from wecityctl.operations.offline import record_session
from wecityctl.policy.controls import CONTROLS, controls_for, number_at
from wecityctl.policy.enforcement_points import contains, observe
from wecityctl.policy.evidence import ComplianceReport, Observation, status_of
from wecityctl.policy.rules import RULES
from wecityctl.report.evidence import age, as_json, html, markdown
from wecityctl.session import Session, open_session

EXAMPLE = Path(__file__).parents[2] / "examples" / "xingcheng"
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def session() -> Session:
    return open_session(EXAMPLE)


def compliance_report(session: Session, clusters: Clusters | None = None, **changes: Any) -> ComplianceReport:
    changed = replace(session, city=replace(session.city, **changes))
    return collect(changed, record_session(session), RULES, NOW, clusters or Clusters())


def test_offline_nothing_is_told_as_observed(session: Session) -> None:
    report = compliance_report(session)
    seen = [item for control in report.controls for each in control.measures for item in each.observations]
    assert len(seen) > 20
    assert {item.state for item in seen} == {"not-looked-at"}
    text = markdown(report)
    assert "not looked at" in text
    assert "observed" not in text.replace("what it observed", "")
    assert "observed" not in {item["state"] for item in as_json(report)["clouds"]}


def test_a_cloud_that_fails_is_told_with_its_reason(session: Session) -> None:
    report = compliance_report(session, Clusters({}, {"main": WecityError("no answer from https://192.0.2.1:6443")}))
    assert [(item.state, item.reason) for item in report.clouds] == [
        ("unreachable", "no answer from https://192.0.2.1:6443")
    ]
    assert "main: cloud unreachable – no answer from" in markdown(report)
    assert 'class="unreachable"' in html(report)
    assert "no cloud could be looked at: 1 of 1 unreachable" in markdown(report)
    assert "no cloud was looked at" in markdown(compliance_report(session))


def test_every_rule_is_evidence_for_a_control_of_the_table() -> None:
    known = {item.number: item.title for item in CONTROLS}
    for rule in RULES:
        for text in rule.controls:
            number, _, title = text.partition(" ")
            assert known.get(number) == title, f"{rule.name}: {text}"


@pytest.mark.parametrize(
    ("mlps", "number", "confidentiality"), [(1, "", False), (2, "7.1.4.2", False), (3, "8.1.4.2", True)]
)
def test_controls_have_the_numbers_of_the_level(mlps: int, number: str, confidentiality: bool) -> None:
    (control,) = (item for item in CONTROLS if item.number == "8.1.4.2")
    assert number_at(control, mlps) == number
    assert ("8.1.4.8" in {item.number for item in controls_for(mlps)}) is confidentiality


def test_level_two_shows_no_number_of_level_three(session: Session) -> None:
    report = compliance_report(session, compliance=replace(session.city.compliance, mlps=2))
    assert {item.number[:1] for item in report.controls} <= {"7", ""}


def test_waivers_are_told_with_their_owner_their_end_and_what_is_wrong_with_them(session: Session) -> None:
    waivers = (
        Waiver("old", "privileged-pods", ("a/*",), "a@x.example", "the supplier | is late", "2026-11-01"),
        Waiver("none", "images-by-digest", ("a/*",), "b@x.example", "no reason", "2027-06-01"),
    )
    report = compliance_report(session, waivers=waivers)
    assert [(item.name, item.note.split(":")[0]) for item in report.waivers] == [("old", "expired"), ("none", "unused")]
    line = next(line for line in markdown(report).splitlines() if line.startswith("| old "))
    assert "2026-11-01" in line
    assert "the supplier \\| is late" in line


def test_a_rule_that_has_nothing_to_judge_is_not_told_as_holding(session: Session) -> None:
    compliance = replace(session.city.compliance, registries=(), image_digests=False)
    measures = {
        item.name: item
        for control in compliance_report(session, compliance=compliance).controls
        for item in control.measures
        if item.kind == "rule"
    }
    assert measures["images-by-digest"].outcome == "nothing-to-judge"
    assert measures["privileged-pods"].outcome == "no-finding"


def test_what_the_files_declare_is_not_told_as_enforced(session: Session) -> None:
    report = compliance_report(session)
    outcomes = {item.name: item.outcome for control in report.controls for item in control.measures}
    assert {name for name, outcome in outcomes.items() if outcome == "declared"} == {
        "off-site-backup",
        "log-retention",
        "residency",
    }
    statuses = {control.number: control.status for control in report.controls}
    assert statuses["8.1.4.9"] == statuses["8.1.3.5"] == statuses["8.2.1.1"] == "declared"
    assert statuses["8.1.3.2"] == "not-looked-at"
    assert "enforced" not in statuses.values(), "nobody has looked"
    text = markdown(report)
    assert "nothing takes them" in text
    assert "(declared, not enforced)" in text
    assert "holds" not in text


def test_a_duty_that_nobody_has_is_declared_and_not_enforced(session: Session) -> None:
    named = replace(session.city.compliance.administrators, audit=())
    report = compliance_report(session, compliance=replace(session.city.compliance, mlps=2, administrators=named))
    told = {control.title: control for control in report.controls}
    outcomes = {item.name: item.outcome for control in report.controls for item in control.measures}
    assert (outcomes["system-administrators"], outcomes["audit-administrators"]) == ("", "declared")
    (measure,) = (item for item in told["审计管理"].measures if item.name == "audit-administrators")
    assert measure.notes == (
        "the files name nobody; who is in the group wecity:xingcheng:audit-admins of the sign-in is not known here",
    )
    # Their roles are there all the same, and seeing them is no proof that anybody does the work.
    seen = replace(measure, observations=(Observation("main", "observed", 3, 3),))
    assert status_of([seen]) == "declared"
    assert status_of([replace(seen, outcome="")]) == "enforced"
    assert status_of([replace(seen, observations=(Observation("main", "altered", 2, 3),))]) == "broken"


def test_what_is_no_evidence_is_said_so_and_named(session: Session) -> None:
    report = compliance_report(session)
    for text in (markdown(report), html(report)):
        assert "not a certificate" in text
        assert "8.1.4.6 可信验证" in text
    assert as_json(report)["disclaimer"].startswith("This is evidence")


def test_the_three_formats_say_the_same(session: Session) -> None:
    report = compliance_report(session)
    data = json.loads(json.dumps(as_json(report), ensure_ascii=False))
    page = _Text()
    page.feed(html(report))
    for control in data["controls"]:
        assert control["words"] in page.text
        assert control["words"] in markdown(report)
        for measure in control["measures"]:
            assert measure["title"] in page.text
    assert page.open == []


class _Text(HTMLParser):
    """A page's text; `open` is what was not closed."""

    def __init__(self) -> None:
        super().__init__()
        self.text, self.open = "", list[str]()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_text_from_files_and_clusters_is_no_markup(session: Session) -> None:
    waiver = Waiver("x", "privileged-pods", ("*",), "a@x.example", "<script>alert(1)</script>", "2027-01-01")
    report = compliance_report(session, waivers=(waiver,))
    assert "<script>" not in html(report)
    assert "\\<script\\>" in markdown(report)


WANTED = {"kind": "Namespace", "metadata": {"name": "a", "labels": {"x": "1"}}}
SINCE = "2026-01-01T00:00:00Z"
LIVE = {"kind": "Namespace", "metadata": {"name": "a", "labels": {"x": "1"}, "creationTimestamp": SINCE}}
OTHER = {"kind": "Namespace", "metadata": {"name": "b", "labels": {}}}


def test_what_is_missing_and_what_was_altered_is_named() -> None:
    live = {("Namespace", "", "a"): LIVE}
    assert observe("main", [WANTED], live).state == "observed"
    assert observe("main", [WANTED], live).since == SINCE
    part = observe("main", [WANTED, OTHER], live)
    assert (part.state, part.present, part.wanted, part.detail) == ("partial", 1, 2, "missing: Namespace b")
    changed = {**WANTED, "metadata": {"name": "a", "labels": {"x": "2"}}}
    assert observe("main", [changed], live).detail == "altered: Namespace a"
    assert observe("main", [OTHER], live).state == "missing"


@pytest.mark.parametrize(
    ("live", "wanted", "same"),
    [
        ({"a": 1, "b": 2}, {"a": 1}, True),
        ({"a": [1, 2]}, {"a": [1]}, False),
        ({"a": [{"x": 1, "y": 2}]}, {"a": [{"x": 1}]}, True),
        ({}, {"a": {}}, True),
        ({}, {"a": []}, True),
        ({}, {"a": ["x"]}, False),
        ({"a": "x"}, {"a": "[unknown]"}, True),
    ],
)
def test_a_live_object_may_say_more_than_was_asked_for_and_never_less(live: Any, wanted: Any, same: bool) -> None:
    assert contains(live, wanted) is same


@pytest.mark.parametrize(
    ("since", "words"),
    [("2026-11-21T11:59:50Z", "10 s"), ("2026-11-21T09:00:00Z", "3 h"), ("2026-11-01T12:00:00Z", "20 d")],
)
def test_ages_are_told_in_their_largest_unit(since: str, words: str) -> None:
    assert age(since, "2026-11-21T12:00:00Z") == words
