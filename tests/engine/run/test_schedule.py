"""The order of a run, and what a failure stops."""

from __future__ import annotations

from wecityctl.engine.run.schedule import Schedule

NEEDS = {"base": (), "platform": ("base",), "a": ("base", "platform"), "b": ("base",), "entry": ("platform", "a", "b")}


def test_what_is_ready_runs_side_by_side() -> None:
    schedule = Schedule(NEEDS)
    assert schedule.ready() == ["base"]
    schedule.start("base")
    assert schedule.ready() == []
    schedule.finish("base", succeeded=True)
    assert schedule.ready() == ["platform", "b"]


def test_a_failure_blocks_those_who_need_it_and_nobody_else() -> None:
    schedule = Schedule(NEEDS)
    schedule.finish("base", succeeded=True)
    schedule.finish("platform", succeeded=False)
    assert schedule.ready() == ["b"]
    assert schedule.blocked() == {"a": "needs platform, which did not succeed"}
    schedule.finish("b", succeeded=True)
    assert set(schedule.blocked()) == {"entry"}
    assert schedule.is_over


def test_those_whom_a_failed_stack_still_serves_go_on() -> None:
    schedule = Schedule(NEEDS)
    schedule.finish("base", succeeded=True)
    schedule.finish("platform", succeeded=False, serves=("a",))
    assert schedule.ready() == ["a", "b"]
    for name in ("a", "b"):
        schedule.finish(name, succeeded=True)
    assert schedule.blocked() == {"entry": "needs platform, which did not succeed"}


def test_a_soft_need_may_fail() -> None:
    schedule = Schedule(NEEDS, soft={"entry": ("a", "b")})
    for name in ("base", "platform", "b"):
        schedule.finish(name, succeeded=True)
    schedule.finish("a", succeeded=False)
    assert schedule.ready() == ["entry"]


def test_keep_going_needs_outputs_from_before() -> None:
    schedule = Schedule(NEEDS, last_good=("platform",), keep_going=True)
    schedule.finish("base", succeeded=True)
    schedule.finish("platform", succeeded=False)
    assert schedule.ready() == ["a", "b"]
    schedule = Schedule(NEEDS, last_good=(), keep_going=True)
    schedule.finish("base", succeeded=False)
    assert schedule.ready() == []
    assert set(schedule.blocked()) == {"platform", "a", "b", "entry"}


def test_fail_fast_starts_nothing_more() -> None:
    schedule = Schedule(NEEDS, fail_fast=True)
    schedule.finish("base", succeeded=True)
    schedule.start("platform")
    schedule.finish("b", succeeded=False)
    assert schedule.ready() == []
    assert set(schedule.blocked().values()) == {"not started: b did not succeed"}


def test_what_is_usable_though_it_did_not_succeed_blocks_nobody() -> None:
    schedule = Schedule(NEEDS)
    schedule.finish("base", succeeded=False, usable=True)
    assert schedule.ready() == ["platform", "b"]
    assert schedule.blocked() == {}


def test_a_dependency_outside_the_plan_is_no_obstacle() -> None:
    assert Schedule({"a": ("elsewhere",)}).ready() == ["a"]
