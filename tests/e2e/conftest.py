"""Machines, cities and clusters that the tests of a module share; every one is gone when its module is done."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import NoReturn

import pytest

from tests.e2e.machine import Machine, machine


@pytest.fixture(scope="module")
def home() -> Iterator[Machine]:
    """A machine on which nothing was done yet."""
    with machine() as made:
        yield made


@pytest.fixture(scope="session", autouse=True)
def ending_in_order() -> Iterator[None]:
    """A test run that is told to end tidies up as after Ctrl-C."""

    def interrupt(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    yield
    signal.signal(signal.SIGTERM, before)
