"""The result of comparing names in a Cloud document, such as machine types, with what the vendor offers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Missing:
    """A name in the files that the vendor does not offer.

    `what` is its category, `known` are the names that the vendor offers, and `said` is the vendor's answer if it was
    asked for this name only.
    """

    what: str
    word: str
    known: tuple[str, ...] = ()
    said: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The result for one cloud: the `missing` names, what was compared (`asked`), and what could not be
    (`not_asked`).
    """

    missing: tuple[Missing, ...]
    asked: tuple[str, ...]
    not_asked: tuple[str, ...]
