"""`up`: makes the city match its files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wecityctl.operations.options import UpOptions, run_options
from wecityctl.operations.rollouts.driving import run_rollouts
from wecityctl.operations.stack_operation import begin

if TYPE_CHECKING:
    from wecityctl.model.events import Emit, RunResult
    from wecityctl.session import Session


def up(session: Session, options: UpOptions, emit: Emit) -> RunResult:
    """Create or update the city's stacks, or those that match `options.only` and their dependencies, without prompting.

    Rollouts of apps go on until they have ended, with their pauses.

    Errors of single stacks or clouds are in the result. Raises `WecityError` for errors that stop the run before it
    begins: `PolicyError` for violations, `ConfigurationError` for unconfirmed moves, `AuthenticationError` for missing
    rights, `LockedError` while data is restored, `TimedOutError`.
    """
    chosen = session.only(options.only)
    checks, shown = options.check_policies, options.advice_shown
    with begin(chosen, run_options("up", options), emit, check_policies=checks, advice_shown=shown) as work:
        work.find_moves()
        work.require_volumes_kept()
        work.open_clusters(start=options.start_clouds)
        work.exclude_namespace_conflicts()
        work.find_given_stacks(options.only)
        work.require_a_cloud()
        if options.start_clouds:
            work.link_clouds()
        work.require_rights()
        work.require_no_restore()
        return run_rollouts(work)
