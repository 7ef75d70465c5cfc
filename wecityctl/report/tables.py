"""Tables on a terminal: names and numbers are never cut or broken, whatever the width; only prose wraps, at words.

A table that needs more than the terminal has is printed as wide as it is, as kubectl does.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from rich.console import Console
from rich.table import Table

# What a column of prose keeps, in characters, before the whole table grows beyond the terminal.
_LEAST_PROSE = 24


def new_table(titles: Iterable[str], *, prose: Collection[str] = (), right: Collection[str] = ()) -> Table:
    """A table without lines. Columns of `prose` wrap at words, those of `right` hold numbers."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in titles:
        table.add_column(title, justify="right" if title in right else "left", no_wrap=title not in prose)
    return table


def print_table(console: Console, table: Table) -> None:
    """Print the table, on a terminal that is too narrow for its names too."""
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
