"""Words and marks shared by all reporters: how a change, an outcome or a duration is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from wecityctl.model.events import Outcome, Progress, PropertyChange, ResourceChange, ResourceOp, StackResult

MARKS: dict[ResourceOp, str] = {
    "create": "+",
    "update": "~",
    "replace": "±",
    "delete": "-",
    "read": ">",
    "import": "=",
    "refresh": "~",
    "same": " ",
}
COLOURS: dict[ResourceOp, str] = {
    "create": "green",
    "update": "yellow",
    "replace": "magenta",
    "delete": "red",
    "read": "cyan",
    "import": "cyan",
    "refresh": "yellow",
    "same": "dim",
}
PROPERTY_MARKS = {"add": "+", "update": "~", "delete": "-"}
OUTCOME_COLOURS: dict[Outcome, str] = {
    "succeeded": "green",
    "unchanged": "green",
    "skipped": "cyan",
    "failed": "red",
    "refused": "red",
    "cancelled": "yellow",
    "blocked": "yellow",
}
_SHORTEST = 60
# Planned and done changes, in the order in which they are shown.
_TALLY: dict[ResourceOp, tuple[str, str]] = {
    "create": ("to add", "added"),
    "import": ("to import", "imported"),
    "update": ("to change", "changed"),
    "refresh": ("to refresh", "refreshed"),
    "replace": ("to replace", "replaced"),
    "delete": ("to remove", "removed"),
    "read": ("to read", "read"),
}


def duration(seconds: float) -> str:
    """Return seconds as text: `0.4 s`, `12 s`, `2 min 05 s`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"


def progress_line(progress: Progress) -> str:
    """Return `SUBJECT: PHASE: DETAIL`, such as `image gateway: pack: 24 MiB`, without an empty detail."""
    return ": ".join(filter(None, (progress.subject, progress.phase, progress.detail)))


def kind_of(resource_type: str) -> str:
    """Return the last part of a Pulumi type: `Deployment` for `kubernetes:apps/v1:Deployment`."""
    return resource_type.rsplit(":", 1)[-1]


def count_changes(result: StackResult) -> str:
    """Return the number of changes by mark, such as `+3 -1`; a dash for no change."""
    counts: dict[ResourceOp, int] = {}
    for change in result.changes:
        counts[change.op] = counts.get(change.op, 0) + 1
    parts = [f"{MARKS[op]}{count}" for op, count in sorted(counts.items(), key=lambda item: MARKS[item[0]])]
    return " ".join(parts) or "–"


def outcome_word(result: StackResult) -> Outcome:
    """Return a stack's outcome in one word; `refused` if an `up` refused some changes, even if the rest succeeded."""
    return "refused" if result.refused and result.outcome in ("succeeded", "unchanged") else result.outcome


def count_failed(result: StackResult) -> str:
    """Return the number of objects whose change failed; a dash for none."""
    return str(len(result.failed) or "–")


def count_refused(result: StackResult) -> str:
    """Return the number of objects that are refused because others have changed them; a dash for none."""
    return str(len(result.refused) or "–")


def tally(results: Iterable[StackResult], *, planned: bool) -> str:
    """Return `12 to add, 20 to change, 7 to replace` or, if not `planned`, `12 added, 20 changed`."""
    counts = Counter(change.op for result in results for change in result.changes)
    words = [(counts[op], todo if planned else done) for op, (todo, done) in _TALLY.items() if counts[op]]
    return ", ".join(f"{count} {word}" for count, word in words)


def legend(results: Iterable[StackResult]) -> str:
    """Return an explanation of the shown marks that may be unknown to readers: replacements."""
    if any(change.op == "replace" for result in results for change in result.changes):
        return f"{MARKS['replace']} replace: the object is deleted and made again"
    return ""


def value_text(value: Any) -> str:
    """Return a property's value on one line, shortened."""
    if value is None:
        return "(none)"
    text = value if isinstance(value, str) else _compact(value)
    text = text.replace("\n", "\\n")
    return text if len(text) <= _SHORTEST else f"{text[: _SHORTEST - 1]}…"


def property_line(change: PropertyChange) -> str:
    """Return a line such as `~ spec.replicas: 2 → 3`, with a remark if the change forces a replacement."""
    mark = PROPERTY_MARKS[change.kind]
    if change.kind == "update":
        text = f"{mark} {change.path}: {value_text(change.old)} → {value_text(change.new)}"
    else:
        text = f"{mark} {change.path}: {value_text(change.new if change.kind == 'add' else change.old)}"
    return f"{text}  (forces replacement)" if change.replaces else text


def change_lines(change: ResourceChange) -> list[str]:
    """Return the lines for one resource's change: a headline, and one line for each changed property."""
    head = f"{MARKS[change.op]} {kind_of(change.type)} {change.name}"
    if change.op in ("create", "delete"):
        return [head]
    return [head, *(f"    {property_line(item)}" for item in change.properties)]


def _compact(value: Any) -> str:
    import json

    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
