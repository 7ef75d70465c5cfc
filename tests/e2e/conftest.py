"""Machines, cities and clusters that the tests of a module share; every one is gone when its module is done."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.machine import Machine, machine


@pytest.fixture(scope="module")
def home() -> Iterator[Machine]:
    """A machine on which nothing was done yet."""
    with machine() as made:
        yield made
