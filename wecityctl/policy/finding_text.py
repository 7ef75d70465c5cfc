"""Formats findings and waivers as sentences that begin with their place in the files.

Plain text: no colour, no width.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from wecityctl.policy.check import PolicyReport, Violation

NOTE_WORDS = {
    "expired": "no longer holds",
    "soon": "ends soon",
    "unused": "is not needed",
    "unmatched": "matches no finding",
    "long": "holds for long",
    "wide": "is wide",
    "refused": "is refused",
    "unknown": "names no rule",
}


class SourceLocations(Protocol):
    """Looks up the place of documents and their fields in the files."""

    def place(self, kind: str, name: str, /, *path: str | int) -> object | None: ...


def finding_line(item: Violation, positions: SourceLocations) -> str:
    """One finding as a sentence, beginning with its place in the files or its stack."""
    place = place_of(item, positions)
    waived = f" (waived: {item.waiver})" if item.waiver else ""
    veto = " (veto)" if item.veto else ""
    return f"{place + ': ' if place else ''}{item.rule}{veto}: {item.finding.subject}: {item.finding.message}{waived}"


def note_lines(policy_report: PolicyReport) -> Iterator[str]:
    """The notes about the waivers, one line each."""
    for note in policy_report.notes:
        yield f"waiver {note.waiver} {NOTE_WORDS[note.kind]}: {note.message}"


def place_of(item: Violation, positions: SourceLocations) -> str:
    """`file:line:column` of the cause in the files, otherwise the stack that would register the object."""
    finding = item.finding
    place = positions.place(*finding.document, *finding.path) if finding.document is not None else None
    return str(place) if place is not None else finding.stack
