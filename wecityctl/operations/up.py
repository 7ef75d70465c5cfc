"""`up`: makes the city match its files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wecityctl.engine.context.options import RunOptions
from wecityctl.operations.options import UpOptions
from wecityctl.operations.stack_operation import begin

if TYPE_CHECKING:
    from wecityctl.model.events import Emit, RunResult
    from wecityctl.session import Session


def up(session: Session, options: UpOptions, emit: Emit) -> RunResult:
    """Create or update the city's stacks, or those that match `options.only` and their dependencies, without prompting.

    Errors of single stacks or clouds are in the result. Raises `WecityError` for errors that stop the run before it
    begins: `PolicyError` for violations, `ConfigurationError` for unconfirmed moves, `AuthenticationError` for missing
    rights, `TimedOutError`.
    """
    chosen = session.only(options.only)
    with begin(
        chosen, _run_options(options), emit, check_policies=options.check_policies, advice_shown=options.advice_shown
    ) as work:
        work.find_moves()
        work.require_volumes_kept()
        work.open_clusters(start=options.start_clouds)
        work.exclude_namespace_conflicts()
        work.find_given_stacks(options.only)
        work.require_a_cloud()
        if options.start_clouds:
            work.link_clouds()
        work.require_rights()
        return work.run_stacks()


def _run_options(options: UpOptions) -> RunOptions:
    return RunOptions(
        "up",
        parallelism=options.parallelism,
        keep_going=options.keep_going,
        fail_fast=options.fail_fast,
        skip=options.skip,
        new_clusters=options.new_clusters,
        confirm_all=options.confirmed,
        delete_data=options.delete_data,
        take_over=options.take_over,
        shown=options.removable,
        program=options.program,
        timeouts=options.timeouts,
    )
