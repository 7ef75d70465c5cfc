"""English plurals and lists for messages, and escaping of text that comes from clouds and engines.

The messages themselves are written in the modules that report them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_SHOWN = 4
# Control characters (C0 except tab and line feed, DEL, C1), bidirectional controls and unusual line separators.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """Escape, as JSON does, the characters of `text` that control a terminal or reorder what it displays.

    Tabs and line feeds stay. A JSON document stays valid.
    """
    return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def counted(count: int, noun: str, plural: str = "") -> str:
    """`1 stack`, `2 stacks`; `plural` for nouns with an irregular plural (`policy`, `policies`)."""
    return f"{count} {noun_for(count, noun, plural)}"


def noun_for(count: int, noun: str, plural: str = "") -> str:
    """The noun alone, in singular or plural."""
    return noun if count == 1 else plural or f"{noun}s"


def some(names: Sequence[str]) -> str:
    """`a, b, c, d and 3 more`: the first names, and the number of the others."""
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`: all names, as a sentence lists them."""
    *first, last = names or ("",)
    return f"{', '.join(first)} and {last}" if first else last
