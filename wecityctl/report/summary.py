"""Prints the result of a run: changes, one row for each stack, and errors with their resolution."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table
from rich.text import Text

from wecityctl.model.events import RunResult
from wecityctl.model.words import counted
from wecityctl.report.tables import new_table, print_table
from wecityctl.report.words import (
    COLOURS,
    OUTCOME_COLOURS,
    change_lines,
    count_changes,
    count_failed,
    count_refused,
    duration,
    kind_of,
    legend,
    outcome_word,
    tally,
)

_MOST_ERRORS = 12
_MOST_KEPT = 12


def print_result(console: Console, result: RunResult, *, details: bool) -> None:
    """Print the result of a run. `details` adds every change with its properties."""
    if details:
        for line in change_report(result):
            console.print(line, soft_wrap=True)
        if marks := legend(result.results):
            console.print(Text(marks, style="dim"), soft_wrap=True)
    print_table(console, stack_table(result))
    for text in (*errors(result), *warnings(result)):
        console.print(text, soft_wrap=True)
    for line in kept_lines(result, details=details):
        console.print(line, soft_wrap=True)
    for note in result.notes:
        console.print(Text(f"note: {note}", style="cyan"), soft_wrap=True)
    if result.starts and any(item.changes for item in result.results):
        told = f"note: {starts(result)}; what is on it now was not looked at: the changes follow from the state"
        console.print(Text(told, style="cyan"), soft_wrap=True)
    if result.removals:
        console.print(_removal_note(result), soft_wrap=True)
    console.print(Text(headline(result), style="bold"), soft_wrap=True)
    for url in result.entry_urls:
        console.print(url, soft_wrap=True)


def change_report(result: RunResult) -> Iterator[Text]:
    """Yield every change, by stack."""
    for stack in result.results:
        if not stack.changes:
            continue
        yield Text(stack.stack, style="bold")
        for change in stack.changes:
            for line in change_lines(change):
                yield Text(f"  {line}", style=COLOURS[change.op])


def stack_table(result: RunResult) -> Table:
    """Return a table with one row for each stack."""
    bad = [
        (title, count)
        for title, count, found in (("FAILED", count_failed, result.failed), ("REFUSED", count_refused, result.refused))
        if found
    ]
    table = new_table(("STACK", "OUTCOME", "CHANGES", *(title for title, _ in bad), "UNCHANGED", "TIME"))
    for item in result.results:
        word = outcome_word(item)
        outcome = Text(word, style=OUTCOME_COLOURS[word])
        same = str(item.unchanged) if item.unchanged else "–"
        table.add_row(
            item.stack,
            outcome,
            count_changes(item),
            *(count(item) for _, count in bad),
            same,
            duration(item.seconds) if item.seconds else "–",
        )
    return table


def kept_lines(result: RunResult, *, details: bool) -> Iterator[Text]:
    """Yield what a `destroy` or an `up` retained and why; limited to one screen unless `details` is set."""
    shown = result.kept if details else result.kept[:_MOST_KEPT]
    for item in shown:
        yield Text(f"kept: {kind_of(item.type)} {item.name}: {item.why}", style="cyan")
    if len(shown) < len(result.kept):
        yield Text(f"kept: {len(result.kept) - len(shown)} more; --report-file has them all", style="cyan")
    if shown:
        them = "them" if len(result.kept) > 1 else "it"
        again = "" if result.operation == "destroy" else f" if the files have {them} again"
        yield Text(
            f"  `wecityctl up` goes on with {them}{again}; "
            f"`wecityctl destroy --confirm={result.city} --delete-data` deletes {them}",
            style="cyan",
        )


def headline(result: RunResult) -> str:
    """Return one sentence on how the run ended."""
    failed = [item.stack for item in result.results if item.outcome == "failed"]
    cancelled = any(item.outcome == "cancelled" for item in result.results)
    refused = [item.stack for item in result.results if item.outcome == "refused"]
    total = counted(len(result.results), "stack")
    if failed:
        also = f"; it refused {_objects(result)}" if result.refused else ""
        return f"{result.operation} failed in {len(failed)} of {total}: {', '.join(failed)}{also}"
    if cancelled:
        return f"{result.operation} was cancelled after {duration(result.seconds)}; run it again to go on"
    blocked = [item.stack for item in result.results if item.outcome == "blocked"]
    if refused:
        waiting = f"; it did not come to {', '.join(blocked)}" if blocked else ""
        told = f"{result.operation} refused {_objects(result)} in {len(refused)} of {total}"
        return f"{told}: {', '.join(refused)}{waiting}"
    if blocked:
        count = f"{len(blocked)} of {total}"
        return f"{result.operation} did not come to {count}: {', '.join(blocked)}"
    if result.starts and not any(item.changes for item in result.results) and not result.removals:
        return f"{starts(result)}; nothing else would change"
    if not result.has_changes and result.operation == "destroy":
        but = f" but what is kept: {counted(len(result.kept), 'object')}" if result.kept else ""
        return f"nothing to take down of {result.city}{but} ({duration(result.seconds)})"
    if not result.has_changes:
        if result.refused:
            return f"nothing would be changed in {result.city}, and `up` would refuse {_objects(result)}"
        if result.undeclared:
            count = counted(len(result.undeclared), "object")
            changed = " or that were changed" if any(item.what == "altered" for item in result.undeclared) else ""
            had = f"{result.city} has {count} that nobody declared{changed}"
            return f"nothing to change in what the files declare; {had}"
        what = f"this part of {result.city}" if result.part else result.city
        if result.additions:
            others = "added" if all(item.what == "addition" for item in result.additions) else "added or changed"
            return f"nothing to change: {what} is as its files say, apart from what others have {others}"
        looked = "" if result.operation == "preview" else f" ({duration(result.seconds)})"
        return f"nothing to change: {what} is as its files say{looked}"
    changes = tally(result.results, planned=result.operation == "preview" or result.planned)
    if not changes:
        # All changes are in stacks that were removed from the configuration; the line above names them.
        return f"{result.city}: nothing to change in the stacks of its files"
    counted_stacks = counted(sum(item.has_changes for item in result.results), "stack")
    took = "" if result.operation == "preview" or result.planned else f" in {duration(result.seconds)}"
    kept = f", {counted(len(result.kept), 'object')} kept" if result.kept else ""
    return f"{result.city}: {changes}{kept} ({counted_stacks}){took}"


def _objects(result: RunResult) -> str:
    """Return a text such as `2 objects that others have changed`."""
    return f"{counted(len(result.refused), 'object')} that others have changed"


def starts(result: RunResult) -> str:
    """Return a sentence on the stopped clouds that an `up` starts first."""
    names = " and ".join(result.starts)
    several = len(result.starts) > 1
    verb, them = ("are", "them") if several else ("is", "it")
    return f"cloud{'s' if several else ''} {names} {verb} stopped; `up` starts {them} first"


def errors(result: RunResult) -> Iterator[Text]:
    """Yield the errors of the failed stacks, limited to one screen."""
    shown = 0
    for item in result.results:
        if item.outcome in ("failed", "refused", "blocked", "cancelled", "skipped") and item.reason:
            style = OUTCOME_COLOURS[item.outcome]
            yield Text(f"{item.outcome}: {item.stack}: {item.reason}", style=style)
        for message in item.errors[: max(0, _MOST_ERRORS - shown)]:
            # The reason is not repeated, only the text after it.
            if told := message.strip().removeprefix(item.reason or "\n").strip():
                yield Text("    " + told.replace("\n", "\n    "))
                shown += 1
    total = sum(len(item.errors) for item in result.results)
    if total > _MOST_ERRORS:
        yield Text(f"    … {total - _MOST_ERRORS} more; --report-file has them all", style="dim")


def warnings(result: RunResult) -> Iterator[Text]:
    """Yield the distinct warnings of all stacks."""
    for message in dict.fromkeys(message for item in result.results for message in item.warnings):
        yield Text(f"warning: {message.strip()}", style="yellow")


def _removal_note(result: RunResult) -> Text:
    names = ", ".join(result.removals)
    return Text(f"no longer in the files: {names}\n  `wecityctl up --confirm={result.city}` removes them", style="red")
