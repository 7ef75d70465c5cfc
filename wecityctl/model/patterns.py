"""Patterns with `*` in the files: whether one says what it is meant for. Pure."""

from __future__ import annotations

import re

# Letters and digits beside a `*` that may be somebody's: `parks-*` says who is meant, `p*` does not.
_STEM = 3


def is_broad(pattern: str) -> bool:
    """Whether a pattern such as `*`, `*/*`, `h*` or `Pod */*` matches whatever comes, and names nothing.

    Names are the parts between blanks and slashes; a kind before the first blank is none.
    """
    kind, blank, rest = pattern.partition(" ")
    return not any(_names_something(part) for part in re.split(r"[ /]", rest if blank else kind))


def _names_something(part: str) -> bool:
    known = sum(letter.isalnum() for letter in part)
    return known >= (_STEM if "*" in part else 1)
