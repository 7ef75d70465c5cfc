"""Deletes the records of apps that are gone or released otherwise now: what they say serves no longer."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import TYPE_CHECKING

from wecityctl.errors import WecityError
from wecityctl.model.rollouts import AppKey, canary_part
from wecityctl.operations.rollouts.planning import stacks_of

if TYPE_CHECKING:
    from wecityctl.model.events import RunResult
    from wecityctl.operations.stack_operation import StackOperation


def without_old(work: StackOperation, result: RunResult, selected: Collection[str], *, everything: bool) -> RunResult:
    """Delete the records that no longer tell what serves, after an `up` of the `selected` stacks that succeeded.

    These are of apps that the files have no more, if `everything` was selected, and of apps whose files have no canary.
    """
    if result.exit_code or work.options.given:
        return result
    from wecityctl.engine.state import releases

    running = {(app.tenant, app.name): app for app in work.session.said.apps if app.runs}

    def is_old(key: AppKey) -> bool:
        app = running.get(key)
        if app is None:
            return everything
        if canary_part(app) is not None or stacks_of(work.session, app).tenant not in selected:
            return False
        record = releases.read(work.backend, *key)
        return record is not None and record.rollout is None

    return _forget(work, result, is_old)


def without_records(work: StackOperation, result: RunResult) -> RunResult:
    """Delete the records of the apps of destroyed stacks, and emit the end of the `destroy`."""
    done = {item.stack for item in result.results if item.outcome in ("succeeded", "skipped")}
    gone = {stack.subject for stack in work.session.plan.stacks if stack.layer == "tenant" and stack.name in done}
    return work.finished(_forget(work, result, lambda key: key[0] in gone))


def _forget(work: StackOperation, result: RunResult, is_gone: Callable[[AppKey], bool]) -> RunResult:
    from wecityctl.engine.state import releases

    try:
        for key in filter(is_gone, releases.keys(work.backend)):
            releases.forget(work.backend, *key)
    except (WecityError, OSError) as error:
        return replace(result, notes=(*result.notes, f"records of releases were not deleted: {error}"))
    return result
