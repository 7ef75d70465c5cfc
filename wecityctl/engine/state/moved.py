"""The marks of moving a city's states: nobody begins anew where they were, or where they have not all arrived."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Protocol

from wecityctl.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Mark:
    """The other place, as a URL without credentials, when the move was made (RFC 3339), and a number of its own."""

    url: str
    time: str
    number: str = ""

    def to_json(self) -> bytes:
        """What is stored."""
        return json.dumps(asdict(self)).encode()


def left_key(city: str) -> str:
    """The key of the mark at the place that the states have left."""
    return f".wecity/moved/{city}.json"


def under_way_key(city: str) -> str:
    """The key of the mark at the place that they are on their way to."""
    return f".wecity/moving/{city}.json"


def read_mark(stored: bytes | None) -> Mark | None:
    """The mark in what is stored; `None` for nothing. One that cannot be read still says that there is one."""
    if stored is None:
        return None
    try:
        found = json.loads(stored)
        number = str(found.get("number", ""))
        return Mark(str(found["url"]), str(found["time"]), number if number.isalnum() else "")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return Mark("a place that its mark does not tell", "")


class Marked(Protocol):
    """A store that shows its marks."""

    def mark(self, key: str) -> Mark | None:
        """The mark of a move that lies there under `key`."""


def require_here(city: str, store: Marked) -> None:
    """Raise `ConfigurationError` where the city's states have left the store, or have not all arrived in it."""
    if left := store.mark(left_key(city)):
        raise ConfigurationError(
            f"the states of {city} were moved to {left.url}",
            details=f"{left.time}",
            resolution="name that place in the city's file, in spec.state.backend",
        )
    if begun := store.mark(under_way_key(city)):
        raise ConfigurationError(
            f"the states of {city} are being moved here, and have not all arrived",
            details=f"from {begun.url}, since {begun.time}",
            resolution="give `wecityctl state move` again, with the files that name the old place",
        )
