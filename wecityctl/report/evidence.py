"""Formats the compliance report as Markdown, JSON and HTML, with the same content."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from typing import Any

from wecityctl.model.words import counted
from wecityctl.policy.evidence import CloudLook, ComplianceReport, ControlEvidence, Measure, Observation, WaiverEvidence

WORDS = {
    "observed": "observed",
    "partial": "in part",
    "altered": "ALTERED",
    "undeclared": "UNDECLARED ONES BESIDE IT",
    "inactive": "THERE, BUT REFUSES NOTHING",
    "crossed": "CROSSED BY WHAT RUNS",
    "missing": "MISSING",
    "unreachable": "cloud unreachable",
    "not-looked-at": "not looked at",
}
OUTCOMES = {
    "": "",
    "nothing-to-judge": "nothing to judge here",
    "no-finding": "nothing found",
    "declared": "declared, not enforced",
    "advisory": "advice given",
    "waived": "waived",
    "broken": "BROKEN",
}
CONTROL_STATUSES = {
    "enforced": "observed working",
    "partly": "observed working in part; the rest is declared or was not looked at",
    "broken": "NOT AS IT SHOULD BE",
    "not-looked-at": "not looked at",
    "declared": "declared, not enforced",
    "nothing": "nothing that this program enforces",
}
_LEVEL_FOUR = "Numbers are those of level 3, whose demands level 4 contains; what level 4 adds is not covered here."


def as_json(compliance_report: ComplianceReport) -> dict[str, Any]:
    """Return the complete report as plain values."""
    return asdict(compliance_report)


def markdown(compliance_report: ComplianceReport) -> str:
    """Return the report as a document with one table of controls."""
    return "\n".join(_markdown(compliance_report)) + "\n"


def _markdown(compliance_report: ComplianceReport) -> Iterator[str]:
    yield f"# {title(compliance_report)}"
    yield ""
    for line in introduction(compliance_report):
        yield line
        yield ""
    looks = ((item.cloud, item.provider, cloud_line(item)) for item in compliance_report.clouds)
    yield from _table(("Cloud", "Provider", "State"), looks)
    yield ""
    yield "## Controls"
    yield ""
    yield from _table(("Control", "What enforces it", "In the files", "In the clouds now"), rows(compliance_report))
    yield ""
    yield "## Waivers"
    yield ""
    if compliance_report.waivers:
        heads = ("Waiver", "Rule", "For", "Owner", "Reason", "Expires", "Note")
        yield from _table(heads, (waiver_row(item) for item in compliance_report.waivers))
    else:
        yield "There are none."
    yield ""
    yield "## Not covered"
    yield ""
    yield from (f"- {line}" for line in compliance_report.elsewhere)


def title(compliance_report: ComplianceReport) -> str:
    return f"Evidence for {compliance_report.city}, MLPS 等保 level {compliance_report.mlps}"


def introduction(compliance_report: ComplianceReport) -> Iterator[str]:
    """Yield what a reader must know before the tables."""
    yield compliance_report.disclaimer
    yield (
        f"Controls are those of GB/T 22239-2019, told in our own words. The files were judged over "
        f"{compliance_report.resources} resources on {compliance_report.at}; {_looked(compliance_report)}."
    )
    if compliance_report.mlps == 4:
        yield _LEVEL_FOUR
    for stack in compliance_report.unseen:
        yield f"The program of stack {stack} does not run: nothing is known of what it would make."


def _looked(compliance_report: ComplianceReport) -> str:
    """Return how many clouds were examined; distinguishes unreachable clouds from those that were not queried."""
    states = [item.state for item in compliance_report.clouds]
    count, silent, whole = states.count("observed"), states.count("unreachable"), len(states)
    if count:
        return f"{count} of {counted(whole, 'cloud')} looked at then" + (f", {silent} unreachable" if silent else "")
    if silent:
        return f"no cloud could be looked at: {silent} of {whole} unreachable"
    return "no cloud was looked at"


def rows(compliance_report: ComplianceReport) -> Iterator[tuple[str, str, str, str]]:
    """Yield the cells control, enforcing measure, result on the files, observation; only a control's first row names
    it.
    """
    for control in compliance_report.controls:
        head = f"{control.number} {control.title}".strip() + f" – {control.words} {status_line(control)}"
        if not control.measures:
            yield head, "–", "–", "–"
        for number, measure in enumerate(control.measures):
            observed = observed_line(measure, compliance_report.at)
            yield head if number == 0 else "", measure_line(measure), outcome_line(measure), observed


def status_line(control: ControlEvidence) -> str:
    """Return the combined result of a control's measures."""
    return f"({CONTROL_STATUSES[control.status]})"


def measure_line(measure: Measure) -> str:
    """Return a measure's title, kind and name."""
    return f"{measure.title} ({measure.kind} {measure.name})"


def outcome_line(measure: Measure) -> str:
    """Return a rule's result with its notes."""
    return "; ".join(filter(None, (OUTCOMES[measure.outcome], *measure.notes))) or "–"


def observed_line(measure: Measure, at: str) -> str:
    """Return the observations of a measure on all clouds."""
    if not measure.observations:
        return "–"
    return "; ".join(observation_line(item, at) for item in measure.observations)


def observation_line(item: Observation, at: str) -> str:
    """Return one observation, such as `main: observed, 4 of 4, since 2026-11-02 (19 d)`."""
    parts = [f"{item.cloud}: {WORDS[item.state]}"]
    if item.wanted and item.state in ("observed", "partial", "altered", "undeclared", "inactive", "missing"):
        parts.append(f"{item.present} of {item.wanted}")
    if item.since:
        parts.append(f"since {item.since[:10]} ({age(item.since, at)})")
    return ", ".join(parts) + (f" – {item.detail}" if item.detail else "")


def cloud_line(item: CloudLook) -> str:
    """Return whether and how a cloud was examined."""
    line = "looked at" if item.state == "observed" else WORDS[item.state]
    if item.version:
        line += f", Kubernetes {item.version}"
    if item.simulated:
        line += ", simulated nodes"
    if item.reason:
        line += f": {item.reason}"
    if item.expected:
        line += f"; expected, by the cloud's owner: {', '.join(item.expected)}"
    return "; ".join((line, *item.altered))


def waiver_row(item: WaiverEvidence) -> tuple[str, ...]:
    return item.name, item.rule, ", ".join(item.subjects), item.owner, item.reason, item.expires, item.note or "holds"


def age(since: str, at: str) -> str:
    """Return the time from `since` to `at` (ISO 8601) in its largest unit."""
    seconds = (datetime.fromisoformat(at) - datetime.fromisoformat(since)).total_seconds()
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{max(0, int(seconds))} s"


def html(compliance_report: ComplianceReport) -> str:
    """Return the report as one self-contained HTML file."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("wecityctl.report", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("evidence.html.j2").render(
        compliance_report=compliance_report,
        title=title(compliance_report),
        introduction=tuple(introduction(compliance_report)),
        cloud_line=cloud_line,
        measure_line=measure_line,
        status_line=status_line,
        outcome_line=outcome_line,
        observation_line=observation_line,
        waiver_row=waiver_row,
    )


def _table(heads: tuple[str, ...], lines: Any) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield f"| {' | '.join('---' for _ in heads)} |"
    for line in lines:
        yield f"| {' | '.join(_cell(text) for text in line)} |"


def _cell(text: str) -> str:
    """Escape text so that it stays in its Markdown cell."""
    flat = " ".join(text.split())
    return "".join(f"\\{char}" if char in r"\|<>*_`[]" else char for char in flat)
