"""Judges whether a pattern with `*` in the files is specific enough. Pure functions."""

from __future__ import annotations

import re

# The least number of letters and digits beside a `*`: `parks-*` names an owner, `p*` does not.
_STEM = 3


def is_broad(pattern: str) -> bool:
    """Whether a pattern such as `*`, `*/*`, `h*` or `Pod */*` matches almost anything.

    The parts between blanks and slashes are names. The part before the first blank is a kind and does not count.
    """
    kind, blank, rest = pattern.partition(" ")
    return not any(_names_something(part) for part in re.split(r"[ /]", rest if blank else kind))


def _names_something(part: str) -> bool:
    known = sum(letter.isalnum() for letter in part)
    return known >= (_STEM if "*" in part else 1)
