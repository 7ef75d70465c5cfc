"""Reporters show what the events say: nothing lost, nothing secret added, one line for one thing."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from wecityctl.model.events import (
    Diagnostic,
    Event,
    KeptObject,
    Progress,
    PropertyChange,
    ResourceChange,
    ResourceFinished,
    ResourceStarted,
    ResourceWaiting,
    RunFinished,
    RunResult,
    RunStarted,
    StackFinished,
    StackResult,
    StackStarted,
)
from wecityctl.model.findings import Finding
from wecityctl.report.live import LiveReporter
from wecityctl.report.ndjson import NdjsonReporter
from wecityctl.report.plain import PlainReporter
from wecityctl.report.record import run_json, stack_json
from wecityctl.report.summary import headline, print_result
from wecityctl.report.tables import new_table, print_table
from wecityctl.report.words import change_lines, duration

URN = "urn:pulumi:xc.base.main::wecity::kubernetes:apps/v1:Deployment::ns/web"
CHANGE = ResourceChange(
    URN,
    "kubernetes:apps/v1:Deployment",
    "ns/web",
    "update",
    (PropertyChange("spec.replicas", "update", 1, 3), PropertyChange("spec.paused", "add", None, True)),
)
GOOD = StackResult("xc.base.main", "succeeded", (CHANGE,), 7, 1.25)
BAD = StackResult("xc.entry", "failed", reason="the API server cannot be reached", errors=("dial: refused",))
RESULT = RunResult("up", "xc", (GOOD, BAD), 61.0, 4, removals=("xc.tenant.old.main",), entry_urls=("http://a/",))
EVENTS: tuple[Event, ...] = (
    RunStarted("up", "xc", ("xc.base.main", "xc.entry")),
    Progress("etcd", "building"),
    Progress("etcd", "ready", done=True, seconds=12),
    StackStarted("xc.base.main"),
    ResourceStarted("xc.base.main", URN, CHANGE.type, "ns/web", "update"),
    ResourceWaiting("xc.base.main", URN, "ns/web", "1 of 3 pods ready"),
    ResourceFinished("xc.base.main", URN, CHANGE.type, "ns/web", "update"),
    Diagnostic("xc.base.main", "warning", "old API version"),
    StackFinished(GOOD),
    StackFinished(BAD),
    RunFinished(RESULT),
)


class Clock:
    """Seconds that pass only when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def text_of(result: RunResult, *, details: bool) -> str:
    console = Console(file=io.StringIO(), width=140)
    print_result(console, result, details=details)
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def test_plain_writes_a_line_for_each_thing_worth_reading() -> None:
    stream = io.StringIO()
    clock = Clock()
    with PlainReporter(stream, clock=clock) as reporter:
        for event in EVENTS:
            reporter(event)
    lines = stream.getvalue().splitlines()
    assert "[   0.0] xc.base.main: ns/web: waiting: 1 of 3 pods ready" in lines
    assert "[   0.0] xc.base.main: ~ Deployment ns/web" in lines
    assert "[   0.0] xc.base.main: warning: old API version" in lines
    assert any(line.endswith("xc.entry: failed: the API server cannot be reached") for line in lines)


def test_plain_tells_only_what_failed_when_asked() -> None:
    stream = io.StringIO()
    reporter = PlainReporter(stream, verbosity=0)
    for event in EVENTS:
        reporter(event)
    (line,) = stream.getvalue().splitlines()
    assert "xc.entry: failed" in line


def test_ndjson_opens_with_its_version_and_carries_every_event() -> None:
    stream = io.StringIO()
    with NdjsonReporter(stream) as reporter:
        for event in EVENTS:
            reporter(event)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert lines[0] == {"format_version": "1.3", "event": "stream_started"}
    assert len(lines) == 1 + len(EVENTS)
    assert lines[-1]["event"] == "run_finished"
    assert lines[-1]["result"]["stacks"][0]["changes"][0]["properties"][0]["path"] == "spec.replicas"
    assert lines[6] == {
        "event": "resource_waiting",
        "at": lines[6]["at"],
        "stack": "xc.base.main",
        "urn": URN,
        "name": "ns/web",
        "reason": "1 of 3 pods ready",
    }


def test_the_live_tree_shows_what_is_waited_for_and_for_how_long() -> None:
    clock = Clock()
    console = Console(file=io.StringIO(), width=120, force_terminal=False)
    reporter = LiveReporter(console, clock)
    for event in EVENTS[:6]:
        reporter(event)
    clock.now += 75
    with console.capture() as capture:
        console.print(reporter.render())
    shown = capture.get()
    assert "xc.base.main  1 min 15 s" in shown
    assert "~ Deployment ns/web  1 min 15 s  1 of 3 pods ready" in shown
    assert "○ xc.entry" in shown
    reporter(StackFinished(GOOD))
    with console.capture() as capture:
        console.print(reporter.render())
    assert "● xc.base.main  succeeded ~1  1.2 s" in capture.get()


def test_the_summary_has_errors_and_what_to_do_on_one_screen() -> None:
    text = text_of(RESULT, details=True)
    assert "~ spec.replicas: 1 → 3" in text
    assert "+ spec.paused: true" in text
    assert "failed: xc.entry: the API server cannot be reached" in text
    assert "dial: refused" in text
    assert "`wecityctl up --confirm=xc` removes them" in text
    assert "up failed in 1 of 2 stacks: xc.entry" in text
    assert len(text.splitlines()) < 40


def test_a_hundred_errors_still_fit_on_a_screen() -> None:
    bad = StackResult("xc.entry", "failed", reason="many", errors=tuple(f"error {number}" for number in range(100)))
    text = text_of(RunResult("up", "xc", (bad,), 1.0, 4), details=False)
    assert "… 88 more" in text
    assert len(text.splitlines()) < 25


def test_nothing_to_change_is_said() -> None:
    same = StackResult("xc.base.main", "unchanged", unchanged=7)
    assert headline(RunResult("preview", "xc", (same,), 1.0, 0)) == "nothing to change: xc is as its files say"
    part = RunResult("preview", "xc", (same,), 1.0, 0, part=True)
    assert headline(part) == "nothing to change: this part of xc is as its files say"


def test_a_city_that_was_never_made_is_not_called_as_its_files_say() -> None:
    absent = StackResult("xc.base.main", "skipped", reason="does not exist")
    assert headline(RunResult("destroy", "xc", (absent,), 1.0, 0)) == "nothing to take down of xc (1.0 s)"
    blocked = StackResult("xc.entry", "blocked", reason="not started: the run's time was over")
    assert headline(RunResult("up", "xc", (absent, blocked), 1.0, 9)) == "up did not come to 1 of 2 stacks: xc.entry"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (9.94, "9.9 s"), (12.3, "12 s"), (59.6, "60 s"), (125, "2 min 05 s")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_replacement_says_which_property_forces_it() -> None:
    change = ResourceChange(URN, "t:x:Job", "j", "replace", (PropertyChange("spec.a", "update", 1, 2, replaces=True),))
    assert change_lines(change) == ["± Job j", "    ~ spec.a: 1 → 2  (forces replacement)"]


def test_names_are_never_broken_and_prose_wraps_at_words() -> None:
    console = Console(file=io.StringIO(), width=40, color_system=None)
    wide = "the cheapest of those clouds that will do " * 9
    piped = new_table(("STACK", "WHY"), prose=("WHY",))
    piped.add_row("a", wide)
    print_table(console, piped)
    assert isinstance(console.file, io.StringIO)
    assert len(console.file.getvalue().splitlines()) == 2, "a program finds one row on one line"
    console = Console(file=io.StringIO(), width=80, color_system=None, force_terminal=True)
    name, words = "xingcheng.tenant.health-commission.main", "the cheapest of those clouds that will do"
    table = new_table(("STACK", "WHY"), prose=("WHY",))
    table.add_row(name, words)
    print_table(console, table)
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert f"{name}  the cheapest" in shown
    assert [word for line in shown.splitlines()[1:] for word in line.replace(name, "").split()] == words.split()
    assert "…" not in shown
    assert len(shown.splitlines()) > 2
    assert console.width == 80


def test_changes_are_counted_by_what_happens_to_the_object() -> None:
    changes = tuple(
        ResourceChange(f"{URN}{number}", CHANGE.type, "x", op)
        for number, op in enumerate(("create", "create", "update", "replace", "delete"))
    )
    stack = StackResult("xc.base.main", "succeeded", changes)
    planned = RunResult("preview", "xc", (stack,), 1.0, 0)
    assert headline(planned) == "xc: 2 to add, 1 to change, 1 to replace, 1 to remove (1 stack)"
    assert headline(RunResult("up", "xc", (stack,), 1.0, 0)) == (
        "xc: 2 added, 1 changed, 1 replaced, 1 removed (1 stack) in 1.0 s"
    )
    assert "± replace: the object is deleted and made again" in text_of(planned, details=True)
    assert "±" not in text_of(RunResult("preview", "xc", (GOOD,), 1.0, 0), details=True)


def test_what_failed_or_is_refused_is_not_counted_as_changed() -> None:
    failed = StackResult("xc.base.main", "failed", (CHANGE,), 1, failed=(replace(CHANGE, urn="u2", op="create"),))
    conflict = Finding("xc.entry", "u3", "v1", "ConfigMap", "a", "b", "conflict", ("kubectl",))
    refused = StackResult("xc.entry", "unchanged", (), 4, findings=(conflict,))
    rows = [
        line.split() for line in text_of(RunResult("up", "xc", (failed, refused), 1.0, 4), details=False).splitlines()
    ]
    assert rows[0] == ["STACK", "OUTCOME", "CHANGES", "FAILED", "REFUSED", "UNCHANGED", "TIME"]
    assert rows[1] == ["xc.base.main", "failed", "~1", "1", "–", "1", "–"]
    assert rows[2] == ["xc.entry", "refused", "–", "–", "1", "4", "–"]
    assert (stack_json(failed)["failed"][0]["urn"], stack_json(refused)["refused"]) == ("u2", ["u3"])


def test_refused_objects_of_several_stacks_are_summed_up() -> None:
    def conflict(stack: str, urn: str) -> Finding:
        return Finding(stack, urn, "v1", "ConfigMap", "a", urn, "conflict", ("kubectl",))

    # Two findings about one object are one object.
    base = StackResult(
        "xc.base.main", "refused", findings=(conflict("xc.base.main", "u1"), conflict("xc.base.main", "u1"))
    )
    entry = StackResult("xc.entry", "refused", findings=tuple(conflict("xc.entry", f"u{n}") for n in (2, 3)))
    blocked = StackResult("xc.other", "blocked", reason="needs xc.base.main, which did not succeed")
    run = RunResult("up", "xc", (base, entry), 1.0, 4)
    told = "up refused 3 objects that others have changed in 2 of 2 stacks: xc.base.main, xc.entry"
    assert headline(run) == told
    assert run_json(run)["counts"] == {"failed": 0, "refused": 3}
    run = RunResult("up", "xc", (base, blocked), 1.0, 4)
    assert headline(run).endswith("1 of 2 stacks: xc.base.main; it did not come to xc.other")
    failed = StackResult("xc.other", "failed", failed=(CHANGE,))
    assert headline(RunResult("up", "xc", (entry, failed), 1.0, 4)) == (
        "up failed in 1 of 2 stacks: xc.other; it refused 2 objects that others have changed"
    )


def test_what_is_kept_is_told_with_the_way_to_delete_it() -> None:
    kept = tuple(KeptObject(f"u{n}", "kubernetes:core/v1:Namespace", f"n{n}", "holds a volume") for n in range(20))
    result = RunResult("destroy", "xc", (StackResult("xc.entry", "skipped", kept=kept),), 1.0, 0, planned=True)
    text = text_of(result, details=False)
    assert "kept: Namespace n0: holds a volume" in text and "kept: 8 more" in text
    assert "`wecityctl destroy --confirm=xc --delete-data` deletes them" in text
    assert "nothing to take down of xc but what is kept: 20 objects" in text
    assert "kept: Namespace n19" in text_of(result, details=True)


def test_an_error_is_told_once() -> None:
    bad = StackResult(
        "xc.entry", "failed", reason="web: refused", errors=("web: refused\nask your admin", "web: other")
    )
    text = text_of(RunResult("up", "xc", (bad,), 1.0, 4), details=False)
    assert [text.count(part) for part in ("web: refused", "ask your admin", "web: other")] == [1, 1, 1]
