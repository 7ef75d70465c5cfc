"""The marks of moving a city's states: nobody begins anew where they were, or where they have not all arrived."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Mark:
    """The other place, as a URL without credentials, and when the move was made (RFC 3339)."""

    url: str
    time: str

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
        return Mark(str(found["url"]), str(found["time"]))
    except (ValueError, TypeError, KeyError):
        return Mark("a place that its mark does not tell", "")
