"""Checks that recorded lives of apps are possible: known apps, actions in order, reviews by another person."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from wecityctl.errors import Problem
from wecityctl.guesses import nearest
from wecityctl.model.lifecycle import STAGES_BEFORE, Fault, Lifecycle, Record, Stage, faults_of, stage_after
from wecityctl.spec.checks.check import Check
from wecityctl.spec.nodes import PathItem
from wecityctl.spec.parsed_city import ParsedCity, Sourced

# Two machines' clocks may differ by so much.
_SKEW = timedelta(minutes=5)


def apps_of_lifecycles(parsed_city: ParsedCity) -> Iterator[Problem]:
    """The app exists, or was retired."""
    if not parsed_city.knows_all("App"):
        return
    known = {f"{app.value.tenant}/{app.value.name}" for app in parsed_city.apps}
    for item in parsed_city.lifecycles:
        name = f"{item.value.tenant}/{item.value.name}"
        if name not in known and item.value.records[-1].stage != "retired":
            message = f"there is no app {name!r}, and these records do not retire it"
            yield item.problem(("metadata", "name"), message, "an App", nearest(name, tuple(sorted(known))))


def order_of_records(parsed_city: ParsedCity) -> Iterator[Problem]:
    """Times do not go back, each action fits the stage before it, and nobody reviews what they submitted."""
    for item in parsed_city.lifecycles:
        yield from _times(item)
        yield from _actions(item)


def _times(item: Sourced[Lifecycle]) -> Iterator[Problem]:
    last, latest = None, datetime.now(UTC) + _SKEW
    for index, record in enumerate(item.value.records):
        at = datetime.fromisoformat(record.at)
        if at > latest:
            message = f"{record.at} is in the future"
            yield item.problem(
                ("spec", "records", index, "at"), message, "when it was done; or set this machine's clock"
            )
        if last is not None and at < last:
            message = f"{record.at} is before the record above it"
            yield item.problem(("spec", "records", index, "at"), message, "records in the order of their times")
        last = max(at, last) if last is not None else at


def _actions(item: Sourced[Lifecycle]) -> Iterator[Problem]:
    records = item.value.records
    for index, record in enumerate(records):
        path: tuple[PathItem, ...] = ("spec", "records", index)
        earlier = Lifecycle(item.value.name, item.value.tenant, records[:index])
        # The first record takes an app as it is; a suspended one was published.
        first: Stage = "published" if record.action == "suspend" else record.stage
        stage = records[index - 1].stage if index else first
        faults = tuple(faults_of(earlier, stage, record))
        for fault in faults:
            field, message, expected = _told(fault, earlier, stage, record)
            yield item.problem((*path, field), message, expected)
        after = stage_after(record.action, stage)
        if record.stage != after and not {"not-first", "wrong-stage"}.intersection(faults):
            message = f"{record.action} leaves an app that was {stage!r} {after!r}, not {record.stage!r}"
            yield item.problem((*path, "stage"), message, after)
        if record.action == "review" and any(check.result == "failed" for check in record.checks):
            message = "a review with a failed check"
            yield item.problem((*path, "action"), message, "a rejection, or what it found mended")


def _told(fault: Fault, earlier: Lifecycle, stage: Stage, record: Record) -> tuple[str, str, str]:
    """The field that is at fault, the message, and what is expected."""
    match fault:
        case "not-first":
            return "action", "the first record is no submission", "a submit before it"
        case "wrong-stage":
            allowed = " or ".join(STAGES_BEFORE[record.action])
            return "action", f"{record.action} does not follow the stage {stage!r}", f"the stage {allowed} before it"
        case "not-submitted":
            return "action", f"{record.action} without a submission before it", "a submit before it"
        case "own-review":
            return "by", f"{record.by} reviews what they submitted themselves", "a review by another person"
        case "other-version":
            submitted = earlier.pending
            assert submitted is not None
            return "digest", "another version was reviewed than was submitted", f"the digest {submitted.digest}"


CHECKS: tuple[Check, ...] = (apps_of_lifecycles, order_of_records)
