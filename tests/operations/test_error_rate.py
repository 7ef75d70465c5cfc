"""What the gateway's counters say of a canary: over resets, gaps and pods that come and go."""

from __future__ import annotations

import pytest

from wecityctl.model.city import AbortAbove
from wecityctl.operations.rollouts.error_rate import Counted, Judgement, Samples, Series, count, judge, series_of

BEGIN, NOW = 1000.0, 1060.0
EVERY = 15
TIMES = tuple(float(when) for when in range(920, 1061, EVERY))


def up(pod: str = "a", times: tuple[float, ...] = TIMES, value: float = 1.0) -> Series:
    return Series(pod, tuple((when, value) for when in times))


def since(begun: float = 500.0, pod: str = "a") -> Series:
    return Series(pod, ((NOW, begun),))


def counter(code: str, *values: tuple[float, float], pod: str = "a") -> Series:
    return Series(pod, values, code)


def counted(
    *counters: Series, ups: tuple[Series, ...] = (), began: tuple[Series, ...] = (), beats: tuple[Series, ...] = ()
) -> Counted | str:
    return count(Samples(ups or (up(),), began or (since(),), beats, counters), begin=BEGIN, now=NOW)


def test_what_was_counted_before_the_step_is_left_out() -> None:
    good = counter("2xx", (980, 100), (995, 100), (1010, 110), (1055, 140))
    bad = counter("5xx", (980, 7), (995, 7), (1010, 7), (1055, 17))
    assert counted(good, bad) == Counted(50, 10)


def test_a_series_that_begins_in_the_step_begins_at_zero() -> None:
    assert counted(counter("2xx", (1010, 30), (1055, 30)), counter("5xx", (1055, 4))) == Counted(34, 4)


def test_a_counter_that_begins_again_loses_nothing_of_what_was_scraped() -> None:
    assert counted(counter("2xx", (995, 50), (1010, 60), (1025, 5), (1040, 8))) == Counted(18, 0)


def test_pods_of_the_gateway_are_added_up() -> None:
    ups = (up("a"), up("b"))
    found = counted(
        counter("5xx", (995, 1), (1055, 3)),
        counter("2xx", (1025, 10), pod="b"),
        ups=ups,
        began=(since(), since(pod="b")),
    )
    assert found == Counted(12, 2)


def test_what_was_counted_while_nobody_scraped_is_found_afterwards() -> None:
    ups = (up(times=(950, 965, 1058)),)
    assert counted(counter("2xx", (965, 40), (1058, 90)), ups=ups) == Counted(50, 0)


def test_without_a_sample_from_before_the_step_nothing_older_is_taken_for_its_own() -> None:
    ups = (up(times=(1030, 1045, 1058)),)
    old = counter("5xx", (1030, 700), (1045, 700), (1058, 701))
    # Its first request of that class came later.
    new = counter("4xx", (1045, 3), (1058, 3))
    assert counted(old, new, ups=ups) == Counted(4, 1)


def test_a_pod_that_is_new_or_has_ended_is_no_gap() -> None:
    new = tuple(when for when in TIMES if when > 1030)
    ended = tuple(when for when in TIMES if when < 1000)
    ups = (up("a"), up("b", new), up("c", ended))
    found = counted(counter("2xx", (1055, 9), pod="b"), ups=ups, began=(since(), since(1029, "b"), since(pod="c")))
    assert found == Counted(9, 0)


@pytest.mark.parametrize(
    ("ups", "began", "why"),
    [
        ((up(times=TIMES[:3]),), (), "no sample of the gateway's counters from the last 60 s"),
        ((up(value=0),), (), "gateway pod a does not serve its counters"),
        ((up("a"), up("b", value=0)), (), "gateway pod b does not serve its counters"),
        # One of its pods serves something else.
        ((up(),), (since(pod="other"),), "gateway pod a counts no requests"),
    ],
)
def test_what_is_not_known_is_not_taken_for_good(ups: tuple[Series, ...], began: tuple[Series, ...], why: str) -> None:
    found = counted(counter("2xx", (995, 0), (1055, 500)), ups=ups, began=began)
    assert isinstance(found, str) and why in found
    assert judge(found, AbortAbove()).kind == "unknown"


def test_a_pod_that_has_stopped_counting_is_not_taken_for_one_without_requests() -> None:
    assert counted(beats=(Series("a", ((NOW - 5, NOW - 6),)),)) == Counted(0, 0)
    assert counted(beats=(Series("a", ((NOW - 5, NOW - 70),)),)) == "gateway pod a has stopped counting"


@pytest.mark.parametrize(
    ("requests", "failed", "judgement"),
    [
        (0, 0, Judgement("few", "no request in this step, too few to judge by (fewer than 20)")),
        (1, 1, Judgement("few", "1 request in this step, too few to judge by (fewer than 20)")),
        (19, 19, Judgement("few", "19 requests in this step, too few to judge by (fewer than 20)")),
        (20, 1, Judgement("within", "1 of 20 requests in this step failed (5 %)")),
        (20, 2, Judgement("above", "2 of 20 requests in this step failed (10 %), more than 5 %")),
        (1000, 51, Judgement("above", "51 of 1000 requests in this step failed (5.1 %), more than 5 %")),
        (1000, 0, Judgement("within", "0 of 1000 requests in this step failed (0 %)")),
    ],
)
def test_a_share_is_judged_by_the_limits(requests: int, failed: int, judgement: Judgement) -> None:
    assert judge(Counted(requests, failed), AbortAbove()) == judgement


def test_series_are_read_from_a_matrix() -> None:
    told = [
        {"metric": {"pod": "a", "code": "5xx"}, "values": [[1000.5, "3"], [1015.5, "4"], [1030, "NaN"], [1031, None]]}
    ]
    assert list(series_of(told)) == [Series("a", ((1000.5, 3.0), (1015.5, 4.0)), "5xx")]
    assert list(series_of([{"metric": {"pod": "a"}, "values": [[1, None]]}])) == []
    for wrong in (
        {"metric": {}, "values": [[1, "1"]]},
        {"metric": {"pod": "a"}, "values": 3},
        {"metric": {"pod": "a"}},
    ):
        with pytest.raises((ValueError, KeyError, TypeError)):
            list(series_of([wrong]))
