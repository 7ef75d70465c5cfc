"""Turns workers' reports into stack results and the run's exit code. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from wecityctl.engine.process.ipc import Report
from wecityctl.errors import ExitCode, WecityError
from wecityctl.model.events import Outcome, StackResult


def result_of(stack: str, report: Report) -> StackResult:
    """Return the result of a stack's run."""
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
        kept=report.kept,
        failed=report.failed,
    )


def first_line(errors: Sequence[str]) -> str:
    """Return the first line of the first error; empty for none."""
    return errors[0].strip().splitlines()[0] if errors and errors[0].strip() else ""


def exit_code_of(
    results: Sequence[StackResult],
    reports: Mapping[str, Report],
    refused: Mapping[str, int] = {},
    *,
    expect_no_changes: bool = False,
    timed_out: bool = False,
) -> int:
    """Return the run's exit code. A cancellation takes precedence over failures, and failures over expected changes.

    `refused` has the exit codes of stacks that failed before their engine started; `timed_out` says that the run's time
    limit expired.
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
    """Return an error as one text: message, details and resolution."""
    return "\n".join(part for part in (error.message, error.details, error.resolution) if part)
