"""Which step comes next: every way that a rollout takes, one decision after the other."""

from __future__ import annotations

from dataclasses import replace

from tests.stacks.cities import WEB, app
from wecityctl.model.city import App, Component, Route, Strategy
from wecityctl.model.events import ResourceChange, RunResult, StackResult
from wecityctl.model.releases import AppReleases, Part, fixed
from wecityctl.operations.rollouts.moves import Move, Now, next_move
from wecityctl.operations.rollouts.outcomes import (
    StackNames,
    after,
    canary_failure,
    canary_objects,
    merged,
    only_canaries_failed,
    succeeded,
)

IMAGES = {"sample-app": "registry.example/sample-app:1"}
STEPS = Strategy("canary", steps=(10, 50), pause="1m")
STACKS = StackNames("xc.tenant.health.main", "xc.entry")


def version(number: int, **changes: object) -> App:
    part: Component = replace(WEB, env={"VERSION": str(number)}, strategy=STEPS)
    return app("code", components=(replace(part, **changes),))  # type: ignore[arg-type]


def at(seconds: float) -> Now:
    return Now(seconds, f"at {seconds:g}", "anna")


def move(found: App, record: AppReleases | None, seconds: float = 0) -> Move:
    decided = next_move(found, record, IMAGES, at(seconds))
    assert decided is not None
    return decided


def made(decided: Move, seconds: float = 0, *, failure: str = "", good: bool = True) -> AppReleases:
    """The record after a move; a failed one is not good."""
    found = after(
        decided, decided.claimed, at(seconds), good=good and not failure, failure=failure, image_digest="sha256:d"
    )
    assert found is not None
    return found


def released(number: int = 1) -> AppReleases:
    return made(move(version(number), None))


def share(decided: Move) -> tuple[str, str, int]:
    """The versions that serve and are the canary, and its weight; empty for what the files say, and for none."""
    held = decided.share
    if held is None:
        return "", "", 0
    stable, canary = (part.env["VERSION"] if part is not None else "" for part in (held.stable, held.canary))
    return stable, canary, held.weight


def test_a_route_to_a_port_that_the_old_version_lacks_is_released_at_once() -> None:
    found = replace(version(2, ports={"api": 9090}), route=Route("code", port="api"))
    decided = move(found, released())
    assert (decided.kind, decided.share) == ("first", None)
    assert [item.number for item in made(decided).releases] == [1, 2]


def drive(
    found: App, record: AppReleases, times: list[float]
) -> tuple[list[tuple[str, tuple[str, str, int]]], AppReleases]:
    """The moves at these times, each made well, and the record at the end."""
    told: list[tuple[str, tuple[str, str, int]]] = []
    for seconds in times:
        decided = move(found, record, seconds)
        told.append((decided.kind, share(decided)))
        if decided.acts:
            record = made(decided, seconds)
    return told, record


def test_the_first_version_is_released_at_once_and_stays() -> None:
    first = move(version(1), None)
    assert (first.kind, first.share, first.claimed) == ("first", None, None)
    record = made(first)
    assert [(item.number, item.by, item.parts[0].image_digest) for item in record.releases] == [(1, "anna", "sha256:d")]
    again = move(version(1, replicas=7), record)
    assert (again.kind, again.share, again.text) == ("hold", None, "")
    assert next_move(replace(version(1), route=None), None, IMAGES, at(0)) is None


def test_a_new_version_takes_its_steps_and_the_place_of_the_old_one() -> None:
    told, record = drive(version(2), released(), [0, 10, 59, 60, 61, 120, 121, 122, 123])
    assert told == [
        ("step", ("1", "2", 10)),
        ("wait", ("1", "2", 10)),
        ("wait", ("1", "2", 10)),
        ("step", ("1", "2", 50)),
        ("wait", ("1", "2", 50)),
        ("finish", ("", "2", 0)),
        ("remove", ("", "", 0)),
        ("hold", ("", "", 0)),
        ("hold", ("", "", 0)),
    ]
    assert [item.number for item in record.releases] == [1, 2]
    assert (record.rollout, record.held) == (None, None)


def test_a_step_that_was_interrupted_is_made_again() -> None:
    first = move(version(2), released())
    assert first.claimed is not None
    again = move(version(2), first.claimed, 300)
    assert (again.kind, share(again)) == ("step", ("1", "2", 10))
    assert after(first, first.claimed, at(0), good=False, failure="", image_digest="") is None


def test_a_canary_that_never_got_a_request_is_removed_and_not_tried_again() -> None:
    record = made(move(version(2), released()), failure="no image")
    told, record = drive(version(2), record, [1, 2])
    assert told == [("remove", ("1", "", 0)), ("hold", ("1", "", 0))]
    assert record.held is not None
    assert (record.held.because, record.held.why) == ("aborted", "no image")
    assert "stays aborted" in move(version(2), record).text
    # Other files are tried, the old ones serve without more.
    assert share(move(version(3), record)) == ("1", "3", 10)
    assert share(move(version(1), record)) == ("", "", 0)
    assert share(move(version(2), replace(record, held=None))) == ("1", "2", 10)


def test_a_canary_with_requests_loses_them_before_its_pods_go() -> None:
    _, record = drive(version(2), released(), [0, 60])
    again = move(version(2), replace(record, rollout=replace(record.rollout, phase="starting")))  # type: ignore[type-var]
    told, record = drive(version(2), made(again, failure="not ready"), [61, 62, 63])
    assert told == [("withdraw", ("1", "2", 0)), ("remove", ("1", "", 0)), ("hold", ("1", "", 0))]


def test_files_that_change_meanwhile_begin_anew_or_end_it() -> None:
    _, record = drive(version(2), released(), [0, 60])
    assert share(move(version(3), record, 61)) == ("1", "3", 10)
    told, record = drive(version(1), record, [61, 62, 63])
    assert told == [("withdraw", ("", "2", 0)), ("remove", ("", "", 0)), ("hold", ("", "", 0))]
    assert record.held is None
    # While the new version takes the old one's place, that comes to its end first.
    _, record = drive(version(2), released(), [0, 60, 120])
    told, record = drive(version(3), record, [121, 122])
    assert told == [("remove", ("2", "", 0)), ("step", ("2", "3", 10))]


def test_nothing_goes_on_while_the_app_is_suspended_or_another_strategy_is_chosen() -> None:
    _, record = drive(version(2), released(), [0])
    held = move(replace(version(2), stage="suspended"), record, 300)
    assert (held.kind, share(held)) == ("hold", ("1", "2", 10))
    told, record = drive(version(2, strategy=None), record, [1, 2])
    assert told == [("finish", ("", "2", 0)), ("remove", ("", "", 0))]
    # The next run notes that the canary's record says no longer what serves, before it changes anything.
    rolling = move(version(3, strategy=None), record, 3)
    assert (rolling.kind, rolling.shares, rolling.claimed) == ("hold", (), replace(record, component=""))
    assert next_move(version(3, strategy=None), rolling.claimed, IMAGES, at(4)) is None
    # With a canary again, what was released by canary before is not taken for what serves.
    again = move(version(4), rolling.claimed, 5)
    assert (again.kind, again.share) == ("first", None)


def test_a_canary_that_leaves_the_files_is_recorded_as_what_they_say() -> None:
    _, record = drive(version(2), released(), [0, 60])
    _, record = drive(version(3, strategy=None), record, [61, 62])
    assert record.current is not None
    assert [part.component.env["VERSION"] for part in record.current.parts] == ["3"]
    aborted = made(move(version(2), released()), failure="no image")
    _, record = drive(version(3, strategy=None), aborted, [61])
    assert record.current is not None
    assert (record.current.parts[0].component.env["VERSION"], record.held) == ("3", None)


def test_a_release_at_once_in_the_middle_of_a_canary_is_told() -> None:
    _, record = drive(version(2), released(), [0])
    renamed = replace(version(2), components=(replace(version(2).components[0], name="front"),))
    decided = move(renamed, record)
    assert decided.kind == "first"
    assert "at once, without steps: its route leads to component 'front' now" in decided.text
    lacking = version(2, env={"VERSION": "2", "URL": "${db.uri}"})
    stable = replace(
        released(),
        releases=(replace(released().releases[0], parts=(Part(fixed(lacking.components[0], IMAGES), "i"),)),),
    )
    decided = move(version(3), stable)
    assert (decided.kind, "binding 'db'" in decided.text) == ("first", True)


def result(*stacks: StackResult, code: int = 0) -> RunResult:
    return RunResult("up", "xc", stacks, 1.0, code)


def change(name: str) -> ResourceChange:
    return ResourceChange("urn", "kubernetes:apps/v1:Deployment", name, "create")


def test_a_failure_is_the_canarys_only_if_its_own_objects_failed() -> None:
    objects, step = canary_objects(version(2), "web"), move(version(2), released())
    assert objects == {"health-internet/code-web-canary"}
    text = "2 errors occurred:\n\t* Deployment health-internet/code-web-canary has failed: too late"
    canary = StackResult(STACKS.tenant, "failed", errors=(text,), failed=(change("health-internet/code-web-canary"),))
    other = StackResult(STACKS.tenant, "failed", failed=(change("health-internet/code-web"),))
    entry = StackResult(STACKS.entry, "succeeded")
    assert canary_failure(result(canary, entry), STACKS, objects) == "too late"
    assert only_canaries_failed(result(canary, entry), objects)
    assert canary_failure(result(other, entry), STACKS, objects) == ""
    assert not only_canaries_failed(result(other, entry), objects)
    assert not succeeded(result(canary, entry), STACKS, step)
    good = StackResult(STACKS.tenant, "unchanged")
    assert succeeded(result(good, entry), STACKS, step)
    assert not succeeded(result(good, replace(entry, outcome="failed")), STACKS, step)


def test_runs_after_each_other_have_one_result() -> None:
    bad = StackResult(STACKS.tenant, "failed", (change("a"),), seconds=1)
    first = replace(result(bad, StackResult(STACKS.entry, "succeeded", (change("b"),))), notes=("one",))
    second = replace(
        result(StackResult(STACKS.tenant, "succeeded"), StackResult(STACKS.entry, "skipped")), notes=("two",)
    )
    both = merged(first, second)
    assert [(item.stack, item.outcome, len(item.changes)) for item in both.results] == [
        (STACKS.tenant, "succeeded", 1),
        (STACKS.entry, "succeeded", 1),
    ]
    assert (both.notes, both.seconds) == (("one", "two"), 2.0)
