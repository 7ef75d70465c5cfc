"""Reading usage: the periods that may be asked for, answers that are none, and a city that counts nothing.

A real store is asked in `tests/images/test_metrics.py`, that of a city in `tests/e2e/operations`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.operations.conftest import SIMULATED, write_city
from wecityctl.errors import ConfigurationError, DeploymentError, NoSuchStackError
from wecityctl.model.times import rfc3339
from wecityctl.operations.usage import UsageOptions, usage
from wecityctl.operations.usage.periods import period_of
from wecityctl.operations.usage.reading import parsed
from wecityctl.session import open_session

NOW = datetime(2026, 11, 28, 10, 30, tzinfo=UTC)


def spelt(begin: str = "", end: str = "") -> tuple[str, str]:
    found = period_of(begin, end, NOW)
    return rfc3339(found.begin), rfc3339(found.end)


def test_a_period_is_this_month_or_what_is_asked_for() -> None:
    assert spelt() == ("2026-11-01T00:00:00Z", "2026-11-28T10:29:45Z")
    assert spelt(end="2026-11-01") == ("2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z")
    assert spelt("2026-10-01", "2026-11-01") == ("2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z")
    assert spelt("2026-11-01T00:00:00+08:00") == ("2026-10-31T16:00:00Z", "2026-11-28T10:29:45Z")
    # What has not been is not counted.
    assert spelt("2026-11-01", "2026-12-01") == ("2026-11-01T00:00:00Z", "2026-11-28T10:29:45Z")


@pytest.mark.parametrize(
    ("begin", "end", "message"),
    [
        ("yesterday", "", "--from 'yesterday' is neither a date nor a time with its zone"),
        ("2026-11-01T08:00", "", "--from '2026-11-01T08:00' is neither"),
        ("", "2026-13-01", "--to '2026-13-01' is neither"),
        ("2026-11-02", "2026-11-02", "the period has no time in it: from 2026-11-02T00:00:00Z until 2026-11-02"),
        ("2026-12-02", "2026-12-03", "the period begins in the future: from 2026-12-02"),
        ("0001-01-01", "", "is neither"),
    ],
)
def test_what_is_no_period_is_refused(begin: str, end: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        period_of(begin, end, NOW)
    assert message in caught.value.message
    assert "2026-11-01" in caught.value.resolution


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"data": {"result": [{"metric": {}, "values": [["x", "1"]]}]}},
        {"data": {"result": [{"metric": {}, "values": [[1, "much"]]}]}},
        {"data": {"result": "none"}},
    ],
)
def test_an_answer_that_is_none_is_an_error(told: Mapping[str, Any]) -> None:
    with pytest.raises(DeploymentError, match="something else than series"):
        list(parsed(told))


def test_numbers_that_are_none_are_left_out() -> None:
    told = {"data": {"result": [{"metric": {"a": "b"}, "values": [[60, "NaN"], [120, "2"], [180, "+Inf"]]}]}}
    assert list(parsed(told)) == [(frozenset({("a", "b")}), {120: 2.0})]


def test_a_city_without_metrics_says_what_it_cannot_know(tmp_path: Path, home: Path) -> None:
    session = open_session(write_city(tmp_path, "blind", SIMULATED))
    with pytest.raises(NoSuchStackError, match="no cloud of the city has the capability metrics") as caught:
        usage(session, UsageOptions())
    assert "cannot be found out later" in caught.value.details
    with pytest.raises(ConfigurationError, match="is no name of a tenant"):
        usage(session, UsageOptions(tenant='x"} or {a="'))


COUNTING = """
---
apiVersion: wecity.dev/v1alpha1
kind: Platform
metadata: {name: operations}
spec:
  capabilities: [{name: metrics}]
"""


def test_a_cloud_that_is_not_running_is_named(tmp_path: Path, home: Path) -> None:
    files = write_city(tmp_path, "asleep", SIMULATED)
    files.write_text(files.read_text() + COUNTING)
    with pytest.raises(NoSuchStackError, match="cloud main is not running"):
        usage(open_session(files), UsageOptions())
