"""Formats tables: names and numbers are never cut or wrapped at any width; on a terminal, prose wraps at words.

On a terminal that is too narrow for a table, each row is printed as a record of `key: value` lines. Elsewhere, such
as in a pipe, a table has its full width, as kubectl's has, so that programs find one row on one line.
"""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Iterable, Iterator

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from wecityctl.model.times import in_utc

__all__ = ["PlainTable", "in_utc", "new_table", "print_table"]

# The minimum width of a prose column in characters; below it the table does not fit.
_LEAST_PROSE = 24
# What stands for "nothing" in a table, where a cell needs something. A record leaves it out.
_NOTHING = ("", "–", "-")


class PlainTable(Table):
    """A table whose texts are shown as they are: Rich would take `[…]` in a cluster's message for markup."""

    def add_row(self, *cells: RenderableType | None, style: str | None = None, end_section: bool = False) -> None:  # type: ignore[override]  # StyleType
        """Add a row. Each text becomes a cell without markup."""
        plain = (Text(cell) if isinstance(cell, str) else cell for cell in cells)
        super().add_row(*plain, style=style, end_section=end_section)


def new_table(titles: Iterable[str], *, prose: Collection[str] = (), right: Collection[str] = ()) -> PlainTable:
    """Return a table without borders. Columns in `prose` wrap at words, those in `right` contain numbers."""
    table = PlainTable(box=None, pad_edge=False, header_style="bold")
    for title in titles:
        table.add_column(title, justify="right" if title in right else "left", no_wrap=title not in prose)
    return table


def print_table(console: Console, table: Table) -> None:
    """Print the table; on a terminal that is narrower than its names, print its rows as records."""
    widest = console.options.update(width=10_000)
    needed = -2
    for column in table.columns:
        cells = [console.measure(cell, options=widest) for cell in (column.header, *column.cells)]
        whole, word = max(cell.maximum for cell in cells), max(cell.minimum for cell in cells)
        is_whole = column.no_wrap or not console.is_terminal
        column.min_width = whole if is_whole else min(whole, max(word, _LEAST_PROSE))
        needed += column.min_width + 2
    width = console.width
    if needed > width and console.is_terminal:
        for line in _records(table, width):
            console.print(line, soft_wrap=True)
        return
    try:
        console.width = max(width, needed + 2)
        console.print(table, crop=False)
    finally:
        console.width = width


def _records(table: Table, width: int) -> Iterator[Text]:
    """Yield the rows as `key: value` lines, indented below the first of each, with an empty line between records."""
    for number, row in enumerate(zip(*(column.cells for column in table.columns), strict=True)):
        if number:
            yield Text()
        indent = ""
        for column, cell in zip(table.columns, row, strict=True):
            value = cell if isinstance(cell, Text) else Text(str(cell))
            if value.plain.strip() in _NOTHING:
                continue
            key = f"{indent}{str(column.header).lower()}: "
            if column.no_wrap or " " not in value.plain:
                yield Text.assemble(key, value)
            else:
                further = f"{indent}    "
                yield from map(Text, _wrapped(key + value.plain, width, further))
            indent = "  "


def _wrapped(text: str, width: int, further: str) -> list[str]:
    """Return the lines of a text, wrapped at words alone; lines after the first begin with `further`."""
    return textwrap.wrap(
        text, max(width, 20), subsequent_indent=further, break_long_words=False, break_on_hyphens=False
    )
