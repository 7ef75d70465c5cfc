"""Deletes the records of apps that are gone: what they say serves no longer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from wecityctl.errors import WecityError

if TYPE_CHECKING:
    from wecityctl.model.events import RunResult
    from wecityctl.model.rollouts import AppKey
    from wecityctl.operations.stack_operation import StackOperation


def without_old(work: StackOperation, result: RunResult, *, everything: bool) -> RunResult:
    """Delete the records of apps that the files have no more, after an `up` of `everything` that succeeded."""
    if result.exit_code or work.options.given or not everything:
        return result
    running = {(app.tenant, app.name) for app in work.session.said.apps if app.runs}
    return _forget(work, result, lambda key: key not in running)


def without_records(work: StackOperation, result: RunResult) -> RunResult:
    """Delete the records of the apps of destroyed stacks, and emit the end of the `destroy`."""
    done = {item.stack for item in result.results if item.outcome in ("succeeded", "skipped")}
    gone = {stack.subject for stack in work.session.plan.stacks if stack.layer == "tenant" and stack.name in done}
    return work.finished(_forget(work, result, lambda key: key[0] in gone))


def _forget(work: StackOperation, result: RunResult, is_gone: Callable[[AppKey], bool]) -> RunResult:
    from wecityctl.engine.state import releases

    try:
        releases.forget(work.backend, filter(is_gone, work.records))
    except (WecityError, OSError) as error:
        return replace(result, notes=(*result.notes, f"records of releases were not deleted: {error}"))
    return result
