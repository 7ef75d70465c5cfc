"""Usage from samples: what gaps, restarts and clocks that jump do to it, and what is added up to rows and costs."""

from __future__ import annotations

from decimal import Decimal

import pytest

from wecityctl.model.capacity import GIB
from wecityctl.model.city import Prices
from wecityctl.model.metering import (
    USAGE_SECONDS,
    Counted,
    Coverage,
    Gap,
    Kind,
    Owner,
    Period,
    Row,
    Used,
    Window,
    batches,
    coverage,
    integrate,
    rows,
    total_of,
)

# 2026-11-28T00:00:00Z
MIDNIGHT = 1_795_824_000
HOUR = 3600
WHOLE = HOUR // USAGE_SECONDS
WEB, DATABASE = Owner("health", "code"), Owner(platform="data", capability="db")


def hours(count: int) -> tuple[Window, ...]:
    return Period(MIDNIGHT, MIDNIGHT + count * HOUR).windows()


def test_a_period_is_the_hours_of_the_clock() -> None:
    found = Period(MIDNIGHT + 1800, MIDNIGHT + 2 * HOUR + 90).windows()
    assert [(item.begin - MIDNIGHT, item.end - MIDNIGHT) for item in found] == [
        (1800, 3600),
        (3600, 7200),
        (7200, 7290),
    ]
    assert Period(MIDNIGHT, MIDNIGHT).windows() == ()


def test_a_part_of_a_minute_is_no_window_of_its_own() -> None:
    """No sample is due in it, so that it would be told as a gap."""
    found = Period(MIDNIGHT - 59, MIDNIGHT + HOUR + 59).windows()
    assert found == (Window(MIDNIGHT - 59, MIDNIGHT + HOUR + 59),)
    found = Period(MIDNIGHT - 59, MIDNIGHT + 2 * HOUR + 60).windows()
    assert [(item.begin - MIDNIGHT, item.end - MIDNIGHT, item.due) for item in found] == [
        (-59, 3600, 60),
        (3600, 7200, 60),
        (7200, 7260, 1),
    ]
    assert Period(MIDNIGHT, MIDNIGHT + 20).windows() == (Window(MIDNIGHT, MIDNIGHT + 20),)


def test_a_query_asks_for_windows_of_one_length() -> None:
    windows = Period(MIDNIGHT - 60, MIDNIGHT + 30 * HOUR + 5).windows()
    found = list(batches(windows, 24))
    assert [len(batch) for batch in found] == [1, 24, 5, 1]
    assert tuple(window for batch in found for window in batch) == windows


def test_what_is_there_all_the_time_counts_for_the_whole_period() -> None:
    counts = {window.end: WHOLE for window in hours(24)}
    assert integrate(dict.fromkeys(counts, WHOLE * 0.25), counts, hours(24)) == pytest.approx(6.0)


def test_what_begins_or_ends_within_an_hour_counts_for_its_samples() -> None:
    first, second = hours(2)
    # For the last quarter with one CPU; then for half of it with two more pods, and gone.
    totals = {first.end: 15.0, second.end: 15.0 + 15 * 3.0}
    counts = {first.end: WHOLE, second.end: WHOLE}
    assert integrate(totals, counts, hours(2)) == pytest.approx(0.25 + 0.25 + 0.75)


def test_nothing_is_filled_in_where_samples_are_missing() -> None:
    first, _, third = hours(3)
    counts = {first.end: WHOLE, third.end: 20}
    assert integrate({first.end: WHOLE * 2.0, third.end: 40.0}, counts, hours(3)) == pytest.approx(2 + 2 / 3)
    assert coverage(counts, hours(3)) == Coverage(
        HOUR + 1200, (Gap(MIDNIGHT + HOUR, MIDNIGHT + 3 * HOUR, HOUR + 2400),)
    )


def test_a_restart_loses_one_sample() -> None:
    (hour,) = hours(1)
    counts = {hour.end: WHOLE - 1}
    assert integrate({hour.end: (WHOLE - 1) * 1.0}, counts, [hour]) == pytest.approx(59 / 60)
    assert coverage(counts, [hour]) == Coverage(HOUR - 60, (Gap(hour.begin, hour.end, 60),))


@pytest.mark.parametrize("count", [WHOLE + 1, WHOLE + 30, 2 * WHOLE])
def test_a_clock_that_is_set_back_makes_no_hour_longer(count: int) -> None:
    """The samples of the time that is there twice fall into the same hours, as do those of a second agent."""
    (hour,) = hours(1)
    assert integrate({hour.end: count * 4.0}, {hour.end: count}, [hour]) == pytest.approx(4.0)
    # A pod that was there in half of them was there for half of the time.
    assert integrate({hour.end: count / 2 * 4.0}, {hour.end: count}, [hour]) == pytest.approx(2.0)
    assert coverage({hour.end: count}, [hour]) == Coverage(HOUR, ())


def test_a_clock_that_is_set_forward_leaves_a_gap() -> None:
    first, second, third = hours(3)
    # At a quarter past the clock jumps by an hour and a half.
    counts = {first.end: 15, third.end: WHOLE - 45 + 30}
    found = coverage(counts, [first, second, third])
    assert found.counted == 60 * 60
    assert found.gaps == (Gap(first.begin, third.end, 2 * HOUR),)


def test_a_window_that_is_no_whole_number_of_intervals_has_no_gap() -> None:
    window = Window(MIDNIGHT, MIDNIGHT + 754)
    for count in (12, 13):
        assert coverage({window.end: count}, [window]) == Coverage(754, ())
    assert coverage({window.end: 11}, [window]) == Coverage(691, (Gap(window.begin, window.end, 63),))
    assert integrate({window.end: 13.0}, {window.end: 13}, [window]) == pytest.approx(754 / HOUR)


@pytest.mark.parametrize("seconds", [20, 59, 60, 61, 119, 120, 754, HOUR, HOUR + 59])
def test_what_is_there_all_the_time_counts_for_what_is_told_as_counted(seconds: int) -> None:
    window = Window(MIDNIGHT, MIDNIGHT + seconds)
    for count in range(2 * window.due + 2):
        told = coverage({window.end: count}, [window])
        assert told.counted + sum(gap.missing for gap in told.gaps) == seconds
        # But for a part of a second.
        amount = integrate({window.end: count * 1.0}, {window.end: count}, [window])
        assert told.counted <= amount * HOUR + 1e-6 < told.counted + 1 + 1e-5


def test_without_a_sample_no_time_is_counted_however_short() -> None:
    window = Window(MIDNIGHT, MIDNIGHT + 20)
    assert coverage({}, [window]) == Coverage(0, (Gap(window.begin, window.end, 20),))


def test_samples_that_are_none_count_for_nothing() -> None:
    (hour,) = hours(1)
    assert integrate({hour.end: 9.0}, {hour.end: 0}, [hour]) == 0
    assert integrate({hour.end: 9.0}, {}, [hour]) == 0
    assert integrate({hour.end + 1: 9.0}, {hour.end: WHOLE, hour.end + 1: WHOLE}, [hour]) == 0


def used(owner: Owner, kind: Kind, resource: str, amount: float, cloud: str = "main") -> Used:
    return Used(cloud, owner, kind, resource, amount)


USED = (
    used(WEB, "requests", "cpu", 2.0),
    used(WEB, "requests", "cpu", 1.0, "other"),
    used(WEB, "requests", "memory", 3.0 * GIB),
    used(WEB, "requests", "nvidia.com/gpu", 5.0),
    used(WEB, "limits", "cpu", 8.0),
    used(WEB, "limits", "memory", 6.0 * GIB),
    used(WEB, "pods", "pods", 4.0),
    used(Owner("health", "portal"), "requests", "cpu", 7.0),
    used(DATABASE, "volumes", "storage", 730.0 * GIB),
)
COUNTED = (
    Counted("main", DATABASE, "queries", WEB, 30.0),
    Counted("main", DATABASE, "queries", Owner("health", "portal"), 12.0),
)
PRICES = {"main": Prices("CNY", "0.10", "0.02", "0.50")}


def test_rows_by_tenant_have_everything() -> None:
    platforms, health = rows(USED, COUNTED, PRICES, "tenant")
    assert (platforms.owner, health.owner) == (Owner(), Owner("health"))
    assert (health.cpu, health.cpu_limit, health.memory, health.memory_limit, health.pods) == (10.0, 8.0, 3.0, 6.0, 4.0)
    assert health.others == {"nvidia.com/gpu": 5.0}
    assert health.counts == {"db queries": 42.0}
    # Not the CPU on the cloud without prices, nor limits and accelerators.
    assert {key: float(value) for key, value in health.cost.items()} == pytest.approx({"CNY": 9 * 0.10 + 3 * 0.02})
    assert platforms.storage == 730
    assert {key: float(value) for key, value in platforms.cost.items()} == pytest.approx({"CNY": 0.50})


def test_rows_by_app_leave_capabilities_out_and_the_other_way_round() -> None:
    code, portal = rows(USED, COUNTED, PRICES, "app")
    assert (code.owner, code.cpu, code.counts) == (WEB, 3.0, {"db queries": 30.0})
    assert (portal.owner, portal.cpu, portal.counts) == (Owner("health", "portal"), 7.0, {"db queries": 12.0})
    (database,) = rows(USED, COUNTED, PRICES, "capability")
    assert (database.owner, database.storage, database.counts) == (DATABASE, 730.0, {"db queries": 42.0})


def test_currencies_are_not_mixed() -> None:
    prices = {**PRICES, "other": Prices("EUR", "1", "0", "0")}
    (_, health) = rows(USED, (), prices, "tenant")
    assert {key: float(value) for key, value in health.cost.items()} == pytest.approx({"CNY": 0.96, "EUR": 1.0})


def test_the_sum_of_rows_is_that_of_all() -> None:
    total = total_of(rows(USED, COUNTED, PRICES, "tenant"))
    assert (total.cpu, total.storage, total.counts) == (10.0, 730.0, {"db queries": 42.0})
    assert float(total.cost["CNY"]) == pytest.approx(0.96 + 0.50)
    assert total_of(()) == Row(Owner())
    assert isinstance(total.cost["CNY"], Decimal)
