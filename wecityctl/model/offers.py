"""What a vendor has of the words in a Cloud that only the vendor can judge."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Missing:
    """A word of the files that the vendor does not know: what it is, the word, those that it does know, and what it
    says where it was asked for this one alone."""

    what: str
    word: str
    known: tuple[str, ...] = ()
    said: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was found of a cloud: `missing` words, `asked` for what was compared, `not_asked` for what could not be."""

    missing: tuple[Missing, ...]
    asked: tuple[str, ...]
    not_asked: tuple[str, ...]
