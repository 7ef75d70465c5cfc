"""Snapshots as the target lists them, and which of them a restore takes."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from wecityctl.model.backups import FORMAT, Snapshot, newest, parse_snapshots, parse_time, tags, when

NOW = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)
ONE = Snapshot(
    "abc", NOW, "qinghe", "main", "postgresql", "a", "parks/a/db", "postgresql", "15", FORMAT, "/postgresql/a", 5
)


def test_a_snapshot_says_what_it_is_of() -> None:
    said = tags(
        city="qinghe", capability="postgresql", type="postgresql", version="15", format=str(FORMAT), cloud="main"
    )
    ours = {
        "id": "abc",
        "time": "2026-11-28T20:00:00.123456789+08:00",
        "tags": [*said.split(","), "account=a", "owner=parks/a/db"],
        "paths": ["/postgresql/a"],
        "summary": {"total_bytes_processed": 5},
    }
    foreign = {"id": "def", "time": "2026-11-28T12:00:00Z", "tags": ["host=x"], "paths": ["/etc"]}
    (found,) = parse_snapshots(json.dumps([foreign, ours]))
    assert replace(found, at=NOW) == ONE
    assert when(found.at) == "2026-11-28T12:00:00Z"
    # Whoever has the password writes into the repository with programs of their own.
    for other in (
        {"message": "no list"},
        [1],
        [{**ours, "time": "0001-01-01T00:00:00+14:00"}],
        [{**ours, "tags": [1]}],
    ):
        with pytest.raises(ValueError):
            parse_snapshots(json.dumps(other))
    with pytest.raises(ValueError):
        parse_snapshots(json.dumps([{name: value for name, value in ours.items() if name != "id"}]))
    with pytest.raises(ValueError):
        parse_time("2026-11-28T12:00:00")


def test_the_newest_that_is_not_younger_is_taken() -> None:
    day = timedelta(days=1)
    older, old = replace(ONE, id="1", at=NOW - 2 * day), replace(ONE, id="2", at=NOW - day)
    assert newest([old, older], NOW) == {"a": old}
    assert newest([old, older], NOW, NOW - 1.5 * day) == {"a": older}
    assert newest([old, older], NOW, NOW - 3 * day) == {}


def test_a_clock_that_is_ahead_hides_nothing() -> None:
    ahead = replace(ONE, id="9", at=NOW + timedelta(days=400))
    assert ahead.is_ahead(NOW) and not ONE.is_ahead(NOW)
    assert newest([ONE, ahead], NOW) == {"a": ONE}
    assert newest([ONE, ahead], NOW, ahead.at) == {"a": ahead}
