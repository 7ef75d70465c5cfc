"""Formats the policy report and the policy rules as text and JSON."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from wecityctl.model.words import counted
from wecityctl.policy.check import PolicyReport, Violation
from wecityctl.policy.finding_text import finding_line, note_lines
from wecityctl.policy.model import Rule
from wecityctl.report.tables import new_table
from wecityctl.spec import Positions
from wecityctl.spec.nodes import format_path

_STYLES = {"mandatory": "bold red", "advisory": "yellow", "waived": "cyan"}


def print_policy_report(
    console: Console, policy_report: PolicyReport, positions: Positions, *, evidence: bool = False
) -> None:
    """Print every finding with its resolution, the notes on waivers, and one line that sums up."""
    for item in _by_weight(policy_report):
        console.print(_headline(item, positions), soft_wrap=True)
        if not item.waiver:
            # A waived finding needs no resolution here; the JSON output has it.
            console.print(f"    → {item.finding.resolution}", soft_wrap=True, markup=False)
    for line in note_lines(policy_report):
        console.print(line, soft_wrap=True, markup=False)
    if evidence:
        for each in policy_report.evidence:
            console.print(f"{each.rule}: {each.text}", soft_wrap=True, markup=False)
    console.print(summary(policy_report), soft_wrap=True, markup=False)


def summary(policy_report: PolicyReport) -> str:
    """Return a text such as `xingcheng: 20 rules over 123 resources: 1 mandatory, 2 advisory, 0 waived`."""
    found = {"mandatory": policy_report.mandatory, "advisory": policy_report.advisory, "waived": policy_report.waived}
    counts = ", ".join(f"{len(items)} {word}" for word, items in found.items())
    rules, resources = len(policy_report.rules), policy_report.resources
    return f"{policy_report.city}: {counted(rules, 'rule')} over {counted(resources, 'resource')}: {counts}"


def policy_report_json(policy_report: PolicyReport, positions: Positions) -> dict[str, Any]:
    """Return the content of the text output as plain values."""
    return {
        "city": policy_report.city,
        "day": policy_report.day,
        "rules": list(policy_report.rules),
        "resources": policy_report.resources,
        "counts": {
            "mandatory": len(policy_report.mandatory),
            "advisory": len(policy_report.advisory),
            "waived": len(policy_report.waived),
        },
        "findings": [_finding_json(item, positions) for item in _by_weight(policy_report)],
        "waivers": [{"name": note.waiver, "kind": note.kind, "message": note.message} for note in policy_report.notes],
        "evidence": [{"rule": item.rule, "text": item.text} for item in policy_report.evidence],
    }


def rule_json(rule: Rule) -> dict[str, Any]:
    return {
        "name": rule.name,
        "title": rule.title,
        "level": rule.level,
        "veto": rule.veto,
        "mlps": rule.mlps,
        "enforced": rule.enforced,
        "controls": list(rule.controls),
        "in_cluster": rule.admission is not None,
        "why": " ".join(rule.why.split()),
    }


def weight_of(rule: Rule) -> str:
    """Return a rule's weight: `veto`, `mandatory`, `mandatory from MLPS 3`, `advisory`, or that nothing enforces it
    yet.
    """
    if rule.enforced == "nobody":
        return "advisory, not enforced yet"
    if rule.veto:
        return "veto"
    return f"{rule.level} from MLPS {rule.mlps}" if rule.mlps else rule.level


def rule_table(rules: Iterable[Rule]) -> Table:
    """Return a table with one row for each rule."""
    table = new_table(("RULE", "WEIGHT", "TITLE"), prose=("TITLE",))
    for rule in rules:
        table.add_row(rule.name, weight_of(rule), rule.title)
    return table


def rule_text(rule: Rule) -> Iterator[str]:
    """Yield the lines that describe one rule in full."""
    yield f"{rule.name}: {rule.title}"
    yield f"  {weight_of(rule)}{'; cannot be waived' if rule.veto else ''}"
    if rule.admission is not None:
        yield "  held in the clusters by admission policies, too"
    if rule.controls:
        yield f"  GB/T 22239: {', '.join(rule.controls)}"
    yield ""
    yield from textwrap.wrap(" ".join(rule.why.split()), 100)


def _by_weight(policy_report: PolicyReport) -> tuple[Violation, ...]:
    return (*policy_report.mandatory, *policy_report.advisory, *policy_report.waived)


def _headline(item: Violation, positions: Positions) -> Text:
    word = "waived" if item.waiver else item.level
    return Text.assemble((f"{word:<9}", _STYLES[word]), " ", finding_line(item, positions))


def _finding_json(item: Violation, positions: Positions) -> Mapping[str, Any]:
    finding = item.finding
    place = positions.place(*finding.document, *finding.path) if finding.document is not None else None
    return {
        "rule": item.rule,
        "title": item.title,
        "level": item.level,
        "veto": item.veto,
        "waiver": item.waiver,
        "subject": finding.subject,
        "message": finding.message,
        "resolution": finding.resolution,
        "stack": finding.stack,
        "document": list(finding.document) if finding.document is not None else None,
        "path": format_path(finding.path),
        "file": place.file if place is not None else "",
        "line": place.line if place is not None else 0,
        "column": place.column if place is not None else 0,
    }
