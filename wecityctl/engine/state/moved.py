"""The marks of a move of a city's states. They stop runs in the old place, and in a new one before all states are
there.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Protocol

from wecityctl.errors import ConfigurationError
from wecityctl.model.times import in_utc


@dataclass(frozen=True, slots=True)
class Mark:
    """The other place as a URL without credentials, the time of the move (RFC 3339), and a unique number."""

    url: str
    time: str
    number: str = ""

    def to_json(self) -> bytes:
        """Return the stored form."""
        return json.dumps(asdict(self)).encode()


def left_key(city: str) -> str:
    """Return the key of the mark in the place that the states have left."""
    return f".wecity/moved/{city}.json"


def under_way_key(city: str) -> str:
    """Return the key of the mark in the place that the states are being moved to."""
    return f".wecity/moving/{city}.json"


def read_mark(stored: bytes | None) -> Mark | None:
    """Parse a stored mark; `None` for none. An unreadable mark still counts as one."""
    if stored is None:
        return None
    try:
        found = json.loads(stored)
        number = str(found.get("number", ""))
        return Mark(str(found["url"]), str(found["time"]), number if number.isalnum() else "")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return Mark("a place that its mark does not tell", "")


class Marked(Protocol):
    """A store that can read its marks."""

    def mark(self, key: str) -> Mark | None:
        """Return the mark of a move under `key`; `None` for none."""


def require_here(city: str, store: Marked) -> None:
    """Raise `ConfigurationError` if the city's states were moved out of the store, or have not all arrived in it."""
    if left := store.mark(left_key(city)):
        raise ConfigurationError(
            f"the states of {city} were moved to {left.url}",
            details=f"at {in_utc(left.time)}" if left.time else "",
            resolution="name that place in the city's file, in spec.state.backend",
        )
    if begun := store.mark(under_way_key(city)):
        raise ConfigurationError(
            f"the states of {city} are being moved here, and have not all arrived",
            details=f"from {begun.url}, since {in_utc(begun.time) or 'an unknown time'}",
            resolution="give `wecityctl state move` again, with the files that name the old place",
        )
