"""Formats tables for a terminal: names and numbers are never cut or wrapped at any width; only prose wraps, at words.

A table that does not fit is printed at its full width, as kubectl does.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table

# The minimum width of a prose column in characters; below it the table becomes wider than the terminal.
_LEAST_PROSE = 24


def in_utc(time: str) -> str:
    """An RFC 3339 time to the second, in UTC with its `Z`; empty for an empty one. A time without a zone is in UTC."""
    if not time:
        return ""
    found = datetime.fromisoformat(time)
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def new_table(titles: Iterable[str], *, prose: Collection[str] = (), right: Collection[str] = ()) -> Table:
    """Return a table without borders. Columns in `prose` wrap at words, those in `right` contain numbers."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in titles:
        table.add_column(title, justify="right" if title in right else "left", no_wrap=title not in prose)
    return table


def print_table(console: Console, table: Table) -> None:
    """Print the table, wider than the terminal if its names do not fit."""
    widest = console.options.update(width=10_000)
    needed = 0
    for column in table.columns:
        cells = [console.measure(cell, options=widest) for cell in (column.header, *column.cells)]
        whole, word = max(cell.maximum for cell in cells), max(cell.minimum for cell in cells)
        column.min_width = whole if column.no_wrap else min(whole, max(word, _LEAST_PROSE))
        needed += column.min_width + 2
    width = console.width
    try:
        console.width = max(width, needed)
        console.print(table, crop=False)
    finally:
        console.width = width
