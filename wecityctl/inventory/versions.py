"""Whether a version is one of those that an advisory means. Versions are compared as their ecosystem compares them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol


class Unknown:
    """A version cannot be compared. It is true in conditions: what is not known is not left out."""


@dataclass(frozen=True, slots=True)
class Assessment:
    """Whether a version is affected, and the versions that mend it."""

    affected: bool | Unknown
    fixed: tuple[str, ...] = ()


class _Comparable(Protocol):
    def __lt__(self, other: Any, /) -> bool: ...


def affects(statement: Mapping[str, Any], ecosystem: str, version: str) -> Assessment:
    """Judge `version` by one entry of `affected` in an advisory of the OSV schema.

    A package that is named with neither versions nor ranges of versions is affected. Ranges of commits say nothing
    about versions. Raises `TypeError`, `AttributeError` or `KeyError` for what is not of the schema.
    """
    ranges = [item for item in statement.get("ranges") or () if item["type"] != "GIT"]
    versions = [str(item) for item in statement.get("versions") or ()]
    fixed = tuple(str(event["fixed"]) for item in ranges for event in item["events"] if "fixed" in event)
    if version in versions:
        return Assessment(affected=True, fixed=fixed)
    if not ranges:
        only_commits = bool(statement.get("ranges")) and not versions
        return Assessment(affected=not versions and not only_commits, fixed=fixed)
    found = [_within(item["events"], ecosystem, version) for item in ranges]
    sure = any(item is True for item in found)
    return Assessment(affected=sure or next((item for item in found if isinstance(item, Unknown)), False), fixed=fixed)


def _within(events: Any, ecosystem: str, version: str) -> bool | Unknown:
    """Whether a range contains the version. Source: the evaluation algorithm of the OSV schema."""
    own = _parsed(ecosystem, version)
    stated = list(_events(events, ecosystem))
    if own is None or any(place is None and text != "0" for _, text, place in stated):
        return Unknown()
    affected = False
    for kind, text, place in sorted(stated, key=_order):
        before = text == "0" or not own < place
        match kind:
            case "introduced" if before:
                affected = True
            case "fixed" | "limit" if before:
                affected = False
            case "last_affected" if text != "0" and place is not None and place < own:
                affected = False
    return affected


def _events(events: Any, ecosystem: str) -> Iterator[tuple[str, str, _Comparable | None]]:
    for event in events:
        # The schema has one kind in each; some databases write `introduced` and `fixed` together.
        if not event:
            raise KeyError("an event says nothing")
        for kind, text in event.items():
            # The beginning of all versions.
            yield kind, str(text), None if str(text) == "0" else _parsed(ecosystem, str(text))


class _Least:
    """Comes before every version."""

    def __lt__(self, other: object) -> bool:
        return not isinstance(other, _Least)

    def __gt__(self, other: object) -> bool:
        return False


_KINDS = ("introduced", "last_affected", "fixed", "limit")


def _order(event: tuple[str, str, _Comparable | None]) -> _Place:
    kind, _, place = event
    return _Place(place if place is not None else _Least(), _KINDS.index(kind) if kind in _KINDS else len(_KINDS))


@dataclass(frozen=True, slots=True)
class _Place:
    """The place of an event in a range: by version, and where versions are equal by kind."""

    version: _Comparable
    kind: int

    def __lt__(self, other: _Place) -> bool:
        if self.version < other.version:
            return True
        return not other.version < self.version and self.kind < other.kind


# Characters of a version. What is longer is none, and goes deeper than comparisons can recurse.
_LONGEST = 256


@lru_cache(maxsize=65536)
def _parsed(ecosystem: str, version: str) -> _Comparable | None:
    """A version that can be compared with others of its ecosystem; `None` for text that is none."""
    from univers.versions import (
        DebianVersion,
        GolangVersion,
        InvalidVersion,
        MavenVersion,
        PypiVersion,
        SemverVersion,
    )

    kinds = {
        "Debian": DebianVersion,
        "PyPI": PypiVersion,
        "Go": GolangVersion,
        "npm": SemverVersion,
        "Maven": MavenVersion,
    }
    kind = kinds.get(ecosystem.partition(":")[0])
    if kind is None or len(version) > _LONGEST:
        return None
    # Advisories about Go leave out the v that module versions begin with.
    text = version.removeprefix("v") if kind is GolangVersion else version
    try:
        found: _Comparable = kind(text)
    except (InvalidVersion, ValueError, TypeError):
        return None
    return found
