"""`refresh`: updates the states from the live objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wecityctl.engine.context.options import RunOptions
from wecityctl.operations.options import RefreshOptions
from wecityctl.operations.stack_operation import begin

if TYPE_CHECKING:
    from wecityctl.model.events import Emit, RunResult
    from wecityctl.session import Session


def refresh(session: Session, options: RefreshOptions, emit: Emit) -> RunResult:
    """Read every object of the stacks from its cluster into the state; the clusters are not changed.

    Raises `WecityError` for errors that stop the run before it begins.
    """
    chosen = session.only(options.only)
    run_options = RunOptions(
        "refresh", parallelism=options.parallelism, program=options.program, timeouts=options.timeouts
    )
    with begin(chosen, run_options, emit) as work:
        work.open_clusters()
        work.find_given_stacks(options.only)
        work.require_a_cloud()
        return work.run_stacks()
