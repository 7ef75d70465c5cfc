"""Which patterns name somebody."""

from __future__ import annotations

import pytest

from wecityctl.model.patterns import is_broad


@pytest.mark.parametrize(
    "pattern", ["*", "**", "*/*", "h*", "h*/c*", "Pod */*", "capability *", "flow * → *", "*-*", "o*"]
)
def test_a_pattern_that_names_nothing_is_broad(pattern: str) -> None:
    assert is_broad(pattern)


@pytest.mark.parametrize(
    "pattern",
    ["city", "health/*", "*/code", "hea*/*", "Pod health-internet/*", "capability db", "flow internet → *", "cni-*"],
)
def test_a_pattern_that_names_something_is_not(pattern: str) -> None:
    assert not is_broad(pattern)
