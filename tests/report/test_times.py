"""Times in tables have their zone."""

from __future__ import annotations

import pytest

from wecityctl.report.tables import in_utc


@pytest.mark.parametrize(
    ("time", "shown"),
    [
        ("2026-03-01T08:00:00.123456+08:00", "2026-03-01T00:00:00Z"),
        ("2026-03-01T08:00:00Z", "2026-03-01T08:00:00Z"),
        ("2026-03-01T08:00:00", "2026-03-01T08:00:00Z"),
        ("", ""),
    ],
)
def test_a_time_is_shown_in_utc_with_its_zone(time: str, shown: str) -> None:
    assert in_utc(time) == shown
