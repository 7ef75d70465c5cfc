"""A guard for tests that look at each of several things: of nothing, everything is true."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")


def some(items: Iterable[T]) -> list[T]:
    """The items; fails where there are none."""
    found = list(items)
    assert found, "there is nothing to look at"
    return found
