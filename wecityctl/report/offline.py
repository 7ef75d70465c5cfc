"""Prints the result of an offline preview: what each stack would create, with all properties of landing zones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from rich.console import Console
from rich.text import Text

from wecityctl.model.events import ResourceChange, RunResult, StackResult
from wecityctl.model.stacknames import StackName
from wecityctl.model.words import counted
from wecityctl.report.summary import errors, stack_table, warnings
from wecityctl.report.tables import print_table
from wecityctl.report.words import COLOURS, MARKS, duration, kind_of, property_line

# Equal on every resource of a landing zone; the output of -o json includes them.
_COMMON = frozenset({"tags"})


def print_offline(console: Console, result: RunResult) -> None:
    """Print the result of an offline preview."""
    for line in creation_report(result):
        console.print(line, soft_wrap=True)
    print_table(console, stack_table(result))
    for text in (*errors(result), *warnings(result)):
        console.print(text, soft_wrap=True)
    for note in result.notes:
        console.print(Text(f"note: {note}", style="cyan"), soft_wrap=True)
    console.print(Text(headline(result), style="bold"), soft_wrap=True)


def creation_report(result: RunResult) -> Iterator[Text]:
    """Yield every resource by stack, below a line with the number of each kind."""
    for stack in result.results:
        if not stack.changes:
            continue
        yield Text(f"{stack.stack}: {counts(stack)}", style="bold")
        is_landing = StackName.parse(stack.stack).layer == "landing"
        for change in stack.changes:
            yield Text(f"  {MARKS[change.op]} {_title(change)}", style=COLOURS[change.op])
            if is_landing:
                for item in change.properties:
                    if item.path in _COMMON:
                        continue
                    yield Text(f"      {property_line(item)}", style="dim")


def counts(stack: StackResult) -> str:
    """Return a text such as `9 resources: 3 Subnet, 2 Network …`, most frequent kinds first."""
    kinds = Counter(kind_of(change.type) for change in stack.changes)
    listed = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items(), key=lambda item: (-item[1], item[0])))
    return f"{counted(len(stack.changes), 'resource')}: {listed}"


def headline(result: RunResult) -> str:
    """Return one sentence that sums up the result."""
    failed = [item.stack for item in result.results if item.outcome == "failed"]
    if failed:
        return f"{len(failed)} of {counted(len(result.results), 'stack')} cannot be worked out: {', '.join(failed)}"
    count = sum(len(item.changes) for item in result.results)
    return (
        f"{result.city}: {count} to add in {counted(len(result.results), 'stack')} "
        f"({duration(result.seconds)}, offline)"
    )


def _title(change: ResourceChange) -> str:
    package, _, _ = change.type.partition(":")
    # A vendor's type needs its module to be understood; our own kinds and those of Kubernetes do not.
    kind = kind_of(change.type) if package in ("kubernetes", "wecity") else change.type
    return f"{kind} {change.name}"
