"""What the gateway's counters say of a canary: over resets, gaps and pods that come and go."""

from __future__ import annotations

import pytest

from wecityctl.model.city import AbortAbove
from wecityctl.operations.rollouts.error_rate import Counted, Judgement, Samples, Series, Step, count, judge, series_of

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
    *counters: Series,
    ups: tuple[Series, ...] = (),
    began: tuple[Series, ...] = (),
    beats: tuple[Series, ...] = (),
    length: float = 0,
    now: float = NOW,
) -> Counted | str:
    found = Samples(ups or (up(),), began or (since(),), beats, counters)
    return count(found, begin=BEGIN, now=now, length=length)


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


def test_what_was_counted_while_a_few_scrapes_failed_is_found_afterwards() -> None:
    ups = (up(times=(980, 995, 1050, 1058)),)
    assert counted(counter("2xx", (995, 40), (1050, 90)), ups=ups) == Counted(50, 0)


def test_samples_from_before_a_step_do_not_cover_it() -> None:
    """The store was away as the step began, and is back: its last sample is not old, but of the time before."""
    before = up(times=(950, 965, 980, 995))
    bad = counter("5xx", (980, 500), (995, 500))
    # 5 seconds after its begin: it has not been looked at yet.
    wanted = "gateway pod a has samples of 0 s of this step without a gap, and its pause is 5 s"
    assert counted(bad, ups=(before,), length=5, now=1005) == wanted
    # Nor by one that is within it.
    assert counted(ups=(up(times=(980, 995, 1004)),), length=5, now=1006) == wanted.replace("of 0 s", "of 4 s")
    assert counted(bad, ups=(up(times=(980, 995, 1006)),), length=5, now=1007) == Counted(0, 0)
    # In a pause what is known is looked at all the same.
    ups = (up(times=(980, 995, 1004)),)
    assert counted(counter("5xx", (995, 500), (1004, 530)), ups=ups, now=1006) == Counted(30, 30)


def test_after_a_gap_a_step_is_covered_once_samples_are_as_long_as_its_pause() -> None:
    later = tuple(float(when) for when in range(1100, 1200, EVERY))
    for begins in (980, 995, 1020):
        times = tuple(when for when in TIMES if when <= begins)

        def judged(until: float, length: float, times: tuple[float, ...] = times) -> Counted | str:
            ups = (up(times=(*times, *(when for when in later if when <= until))),)
            bad = [item for item in ((970, 3), (1100, 500), (1145, 504)) if item[0] <= until]
            return counted(counter("5xx", *bad), ups=ups, length=length, now=until)

        assert judged(1100, 20) == "gateway pod a has samples of 0 s of this step without a gap, and its pause is 20 s"
        assert isinstance(judged(1115, 20), str)
        # What came in the gap may be of another version, or not have been counted.
        assert judged(1130, 20) == Counted(0, 0)
        assert judged(1145, 20) == Counted(4, 4)


@pytest.mark.parametrize(
    ("pause", "elapsed", "looked_at"),
    [
        # In the pause, and right after it.
        (120, 60, (60, 0)),
        (120, 120, (120, 120)),
        # What came after the pause is counted too, and need not be covered.
        (120, 500, (500, 120)),
        # Of a long step the last hour.
        (7200, 7300, (3600, 3500)),
        (60, 90_000, (3600, 0)),
        # Clocks differ.
        (60, -5, (0, 0)),
    ],
)
def test_samples_have_to_cover_the_pause(pause: float, elapsed: float, looked_at: tuple[float, float]) -> None:
    assert Step(5000.0, pause).looked_at(5000.0 + elapsed) == looked_at


def test_each_pod_of_the_gateway_has_to_cover_the_step() -> None:
    long = tuple(float(when) for when in range(920, 1101, EVERY))
    early = tuple(when for when in long if when <= 1020)

    def judged(now: float, silent: tuple[float, ...]) -> Counted | str:
        ups = (up("a", tuple(when for when in long if when <= now)), up("b", silent))
        return counted(ups=ups, began=(since(), since(pod="b")), length=30, now=now)

    # It may be scraped within the next seconds, and has ended once the other was scraped three times without it.
    assert judged(1040, early) == "gateway pod b has samples of 10 s of this step without a gap, and its pause is 30 s"
    assert isinstance(judged(1050, early), str)
    assert judged(1055, early) == Counted(0, 0)
    assert judged(1040, (*early, 1033)) == Counted(0, 0)


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
