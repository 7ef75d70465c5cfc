"""Finds characters that look like YAML syntax but are text: full-width colons, and full-width or no-break spaces.

Chinese input methods produce them. YAML then reports the following line, or reads key and value as one text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

_KEY = r"\s*(?:-\s+)*[A-Za-z][\w-]*"
_COLON = re.compile(rf"{_KEY}\s*([\uff1a\ufe55\ua789])")
# A space character that YAML does not treat as one: in the indentation, or between a colon and its value.
_BLANK = re.compile(rf"(?:[ -]*|{_KEY}:[ ]*)([^\S \t\r\n])")
_KINDS = ((_COLON, ": ", "an ASCII colon ':' and a blank"), (_BLANK, " ", "ordinary blanks U+0020"))
_EARLIER_LINES = 5


@dataclass(frozen=True, slots=True)
class Lookalike:
    """A lookalike character: its offset in the line, the intended character, and the problem's texts."""

    offset: int
    meant: str
    message: str
    expected: str

    def mended(self, line: str) -> str:
        """The line with the intended character."""
        return f"{line[: self.offset]}{self.meant}{line[self.offset + 1 :]}"


def find_lookalike(line: str) -> Lookalike | None:
    """The first lookalike character in the part of the line that should be indentation and key; `None` without one."""
    for pattern, meant, expected in _KINDS:
        match = pattern.match(line)
        if match is not None:
            character = match[1]
            name = unicodedata.name(character, "").lower()
            message = f"the {name} U+{ord(character):04X} is text to YAML"
            return Lookalike(match.start(1), meant, message, expected)
    return None


def find_before(lines: list[str], index: int) -> Iterator[tuple[int, Lookalike]]:
    """Yield the lines with a lookalike at `index` and shortly before it, nearest first, each with its index."""
    for number in range(min(index, len(lines) - 1), max(index - _EARLIER_LINES, -1), -1):
        found = find_lookalike(lines[number])
        if found is not None:
            yield number, found
