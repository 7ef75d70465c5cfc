"""Characters that look like YAML's own and are text to it: a full-width colon after a key, wide or no-break blanks.

A Chinese input method writes them, and YAML then complains about the line after, or reads one text for key and value.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

_KEY = r"\s*(?:-\s+)*[A-Za-z][\w-]*"
_COLON = re.compile(rf"{_KEY}\s*([\uff1a\ufe55\ua789])")
# A blank that is none to YAML: in the indentation, or between a colon and its value.
_BLANK = re.compile(rf"(?:[ -]*|{_KEY}:[ ]*)([^\S \t\r\n])")
_KINDS = ((_COLON, ": ", "an ASCII colon ':' and a blank"), (_BLANK, " ", "ordinary blanks U+0020"))
_EARLIER_LINES = 5


@dataclass(frozen=True, slots=True)
class Lookalike:
    """Such a character: how far into the line it is, what was meant by it, and what to say."""

    offset: int
    meant: str
    message: str
    expected: str

    def mended(self, line: str) -> str:
        """The line with what was meant."""
        return f"{line[: self.offset]}{self.meant}{line[self.offset + 1 :]}"


def find_lookalike(line: str) -> Lookalike | None:
    """The first such character in what is, or should have been, the beginning of a line."""
    for pattern, meant, expected in _KINDS:
        match = pattern.match(line)
        if match is not None:
            character = match[1]
            name = unicodedata.name(character, "").lower()
            message = f"the {name} U+{ord(character):04X} is text to YAML"
            return Lookalike(match.start(1), meant, message, expected)
    return None


def find_before(lines: list[str], index: int) -> Iterator[tuple[int, Lookalike]]:
    """The lines with such a character at `index` and shortly before it, the nearest first, each with its index."""
    for number in range(min(index, len(lines) - 1), max(index - _EARLIER_LINES, -1), -1):
        found = find_lookalike(lines[number])
        if found is not None:
            yield number, found
