"""`preview`: shows what `up` would change, compared with the clusters or, offline, computed from the files alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wecityctl.engine.context.options import RunOptions
from wecityctl.model.events import Event, RunFinished
from wecityctl.operations.options import PreviewOptions
from wecityctl.operations.stack_operation import begin

if TYPE_CHECKING:
    from wecityctl.model.events import Emit, RunResult
    from wecityctl.session import Session


def preview(session: Session, options: PreviewOptions, emit: Emit) -> RunResult:
    """Return what `up` would change in the city's stacks, or in those that match `options.only` and their dependencies.

    Nothing is started, locked or changed. A violation that would stop `up` is emitted and sets the exit code. Raises
    `WecityError` for errors that stop the run before it begins.
    """
    chosen = session.only(options.only)
    with begin(chosen, _run_options(options), emit, check_policies=options.check_policies) as work:
        work.find_moves()
        work.require_volumes_kept()
        work.open_clusters()
        work.exclude_namespace_conflicts()
        work.find_given_stacks(options.only)
        work.require_a_cloud()
        return work.run_stacks()


def preview_offline(session: Session, options: PreviewOptions, emit: Emit) -> RunResult:
    """Return what a first `up` would create, without access to clouds, credentials or states."""
    from wecityctl.engine.workers.engine import Engine
    from wecityctl.operations.offline import preview_from_files
    from wecityctl.operations.policy_gate import PolicyGate
    from wecityctl.operations.stack_operation import bounded

    chosen = session.only(options.only)
    with bounded(options.timeouts.run, emit) as bounded_emit, Engine(options.program) as engine:
        policies = PolicyGate(session, "preview")
        try:
            policies.begin(engine)
            policies.hold(bounded_emit)

            def tell(event: Event) -> None:
                if isinstance(event, RunFinished):
                    event = RunFinished(policies.in_result(event.result))
                bounded_emit(event)

            return policies.in_result(preview_from_files(chosen, tell))
        finally:
            policies.close()


def _run_options(options: PreviewOptions) -> RunOptions:
    return RunOptions(
        "preview",
        parallelism=options.parallelism,
        new_clusters=options.new_clusters,
        take_over=options.take_over,
        program=options.program,
        timeouts=options.timeouts,
    )
