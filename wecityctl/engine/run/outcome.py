"""From workers' reports to results and the run's exit code: pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from wecityctl.engine.process.ipc import Report
from wecityctl.errors import ExitCode, WecityError
from wecityctl.model.events import Outcome, StackResult


def result_of(stack: str, report: Report) -> StackResult:
    """How a stack's run ended."""
    outcome: Outcome
    reason = ""
    if report.exit_code == 0:
        outcome = "succeeded" if report.changes else "unchanged"
    elif report.cancelled:
        outcome, reason = "cancelled", "cancelled by the user"
    else:
        outcome = "failed"
        reason = first_line(report.errors)
    return StackResult(
        stack,
        outcome,
        report.changes,
        report.unchanged,
        report.seconds,
        reason,
        report.errors,
        report.warnings,
        failed=report.failed,
    )


def first_line(errors: Sequence[str]) -> str:
    """The first line of the first error."""
    return errors[0].strip().splitlines()[0] if errors and errors[0].strip() else ""


def exit_code_of(
    results: Sequence[StackResult],
    reports: Mapping[str, Report],
    refused: Mapping[str, int] = {},
    *,
    expect_no_changes: bool = False,
    timed_out: bool = False,
) -> int:
    """The run's exit code: what the user did counts before what failed, what failed before what was expected.

    `refused` has the codes of stacks that failed before their engine began; `timed_out` says that the run's time was
    over before it had ended.
    """
    outcomes = {result.outcome for result in results}
    if "cancelled" in outcomes:
        return ExitCode.CANCELLED
    if not outcomes.isdisjoint(("failed", "refused", "blocked")):
        codes = {reports[result.stack].exit_code for result in results if result.stack in reports} | {*refused.values()}
        if timed_out or any(reports[result.stack].timed_out for result in results if result.stack in reports):
            return ExitCode.TIMEOUT
        return ExitCode.AUTHENTICATION if ExitCode.AUTHENTICATION in codes else ExitCode.DEPLOYMENT
    if expect_no_changes and any(result.changes for result in results):
        return ExitCode.EXPECTED_NO_CHANGES
    return ExitCode.OK


def describe(error: WecityError) -> str:
    """An error as one text."""
    return "\n".join(part for part in (error.message, error.details, error.resolution) if part)
