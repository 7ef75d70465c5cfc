"""English for counts and lists: one place that knows when a noun takes its plural. Sentences are their modules' own."""

from __future__ import annotations

from collections.abc import Sequence

_SHOWN = 4


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
