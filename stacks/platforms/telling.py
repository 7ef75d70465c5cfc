"""The interface of a capability's `telling.py`: what its running server says of itself, and what is made of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stacks import references
from wecityctl.model.catalogue import CapabilityType
from wecityctl.model.city import City


@dataclass(frozen=True)
class Told:
    """Sentences about a server: `facts`, and `problems`, with which it does not do what the files ask of it."""

    facts: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Teller:
    """How a server is asked: its administrator gets an object of JSON at `path`, which `judge` understands.

    `judge` is given that object, the city, and the names of the cluster's nodes that are ready.
    """

    path: str
    judge: Callable[[Mapping[str, Any], City, Sequence[str]], Told]


def teller_of(kind: CapabilityType) -> Teller | None:
    """The teller of a type; `None` if its server says nothing. Raises `ConfigurationError` if it cannot be loaded."""
    found: Teller | None = references.load(kind.tells, kind.name) if kind.tells else None
    return found
