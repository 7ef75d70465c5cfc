"""English for counts: one place that knows when a noun takes its plural. Sentences are their modules' own."""

from __future__ import annotations


def counted(count: int, noun: str, plural: str = "") -> str:
    """`1 stack`, `2 stacks`; `plural` for nouns that do not take an s (`policy`, `policies`)."""
    return f"{count} {noun_for(count, noun, plural)}"


def noun_for(count: int, noun: str, plural: str = "") -> str:
    """The noun alone, in the number that `count` asks for."""
    return noun if count == 1 else plural or f"{noun}s"
