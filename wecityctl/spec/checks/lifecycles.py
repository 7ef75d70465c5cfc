"""Checks that recorded lives of apps are possible: known apps, actions in order, reviews by another person."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from wecityctl.errors import Problem
from wecityctl.model.lifecycle import STAGES_BEFORE, Lifecycle, stage_after
from wecityctl.spec.checks.check import Check
from wecityctl.spec.fields import nearest
from wecityctl.spec.parsed_city import ParsedCity, Sourced


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
    last = None
    for index, record in enumerate(item.value.records):
        at = datetime.fromisoformat(record.at)
        if last is not None and at < last:
            message = f"{record.at} is before the record above it"
            yield item.problem(("spec", "records", index, "at"), message, "records in the order of their times")
        last = max(at, last) if last is not None else at


def _actions(item: Sourced[Lifecycle]) -> Iterator[Problem]:
    records = item.value.records
    for index, record in enumerate(records):
        path = ("spec", "records", index, "action")
        earlier = Lifecycle(item.value.name, item.value.tenant, records[:index])
        # The first record takes an app as it is.
        stage = records[index - 1].stage if index else record.stage
        allowed, after = STAGES_BEFORE.get(record.action), stage_after(record.action, stage)
        if not index and record.action != "submit":
            yield item.problem(path, "the first record is no submission", "a submit before it")
        elif allowed is not None and stage not in allowed:
            message = f"{record.action} does not follow the stage {stage!r}"
            yield item.problem(path, message, f"the stage {' or '.join(allowed)} before it")
        elif record.stage != after:
            message = f"{record.action} leaves an app that was {stage!r} {after!r}, not {record.stage!r}"
            yield item.problem(("spec", "records", index, "stage"), message, after)
        if record.action in ("review", "reject"):
            submitted = earlier.pending
            if submitted is None:
                yield item.problem(path, f"{record.action} without a submission before it", "a submit before it")
            elif record.action == "review" and submitted.by == record.by:
                message = f"{record.by} reviews what they submitted themselves"
                yield item.problem(("spec", "records", index, "by"), message, "a review by another person")
            elif submitted.digest != record.digest:
                message = "another version was reviewed than was submitted"
                yield item.problem(("spec", "records", index, "digest"), message, f"the digest {submitted.digest}")
        if record.action == "review" and any(check.result == "failed" for check in record.checks):
            yield item.problem(path, "a review with a failed check", "a rejection, or what it found mended")


CHECKS: tuple[Check, ...] = (apps_of_lifecycles, order_of_records)
