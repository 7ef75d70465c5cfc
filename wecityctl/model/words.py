"""English for counts and lists: one place that knows when a noun takes its plural. Sentences are their modules' own.

Text that comes from clouds and engines is made safe to show here too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_SHOWN = 4
# Controls (C0 but tab and line feed, DEL, C1), and what reorders text or ends lines in some terminals.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """`text` with what would command a terminal, or change the order of what it shows, written as JSON writes it.

    Tabs and line feeds stay. A document of JSON stays one.
    """
    return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def counted(count: int, noun: str, plural: str = "") -> str:
    """`1 stack`, `2 stacks`; `plural` for nouns that do not take an s (`policy`, `policies`)."""
    return f"{count} {noun_for(count, noun, plural)}"


def noun_for(count: int, noun: str, plural: str = "") -> str:
    """The noun alone, in the number that `count` asks for."""
    return noun if count == 1 else plural or f"{noun}s"


def some(names: Sequence[str]) -> str:
    """`a, b, c, d and 3 more`: the first of the names, and how many there are beside them."""
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
