"""Applies the policy rules to a run: a violation stops `up`, and is shown by `preview` and in its exit code.

Advisory findings are emitted once, as warnings. The policy report is computed in the background while clusters are
reached and the engine loads.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date
from typing import TYPE_CHECKING

from wecityctl.errors import ExitCode, PolicyError
from wecityctl.model.events import Diagnostic, Emit, Operation, RunResult
from wecityctl.model.words import counted
from wecityctl.policy.unseen import RECORDED
from wecityctl.session import Session

if TYPE_CHECKING:
    from wecityctl.engine.workers.engine import Engine
    from wecityctl.operations.policy_evaluation import Pending
    from wecityctl.policy.check import PolicyReport, Violation

JUDGED: tuple[Operation, ...] = ("preview", "up")


@dataclass(slots=True)
class PolicyGate:
    """Evaluates the policy rules for one run; does nothing for a run that creates nothing.

    `told`: the preview before this run has already shown the advisory findings. `keep_going`: dependants of a failed
    stack run too, so every stack must have been evaluated.
    """

    session: Session
    operation: Operation
    told: bool = False
    keep_going: bool = False
    _pending: Pending | None = field(default=None, repr=False)
    _policy_report: PolicyReport | None = field(default=None, repr=False)

    def begin(self, engine: Engine) -> None:
        """Start computing the policy report in the background, in a process of `engine`."""
        if self.operation in JUDGED:
            from wecityctl.operations.policy_evaluation import begin

            self._pending = begin(self.session, date.today(), engine)

    def close(self) -> None:
        """Release the background process."""
        if self._pending is not None:
            self._pending.close()

    def hold(self, emit: Emit) -> None:
        """Wait for the policy report and emit it, once. Raises `PolicyError` if `up` must stop."""
        if self._pending is None or self._policy_report is not None:
            return
        self._policy_report = policy_report = self._pending.policy_report()
        if not policy_report.findings and not policy_report.notes:
            return
        from wecityctl.policy.finding_text import finding_line, note_lines

        positions = self.session.positions
        stopping = [finding_line(item, positions) for item in self._stopping(policy_report)]
        if self.operation == "up" and stopping:
            raise PolicyError(
                f"{_crossed(len(stopping))}; nothing was done",
                details="\n".join(stopping),
                resolution=f"wecityctl policy check {self.session.arguments} says what to do about each",
            )
        advice = [finding_line(item, positions) for item in policy_report.advisory]
        for line in () if self.told else (*advice, *note_lines(policy_report)):
            emit(Diagnostic("", "warning", line))
        for line in stopping:
            emit(Diagnostic("", "error", line))

    def _stopping(self, policy_report: PolicyReport) -> tuple[Violation, ...]:
        """Return the violations that stop `up`. A stack whose program rejects the files fails by itself, without the
        others.
        """
        spared = () if self.keep_going else policy_report.refusing
        return tuple(
            item for item in policy_report.mandatory if item.rule != RECORDED.name or item.finding.stack not in spared
        )

    def in_result(self, result: RunResult) -> RunResult:
        """Return a preview's result with the exit code for violations if `up` would be refused, unless something else
        failed.
        """
        count = len(self._stopping(self._policy_report)) if self._policy_report is not None else 0
        if not count:
            return result
        note = f"`up` will refuse: {_crossed(count)}"
        return replace(result, exit_code=result.exit_code or ExitCode.POLICY, notes=(*result.notes, note))


def _crossed(count: int) -> str:
    return f"mandatory policy rules are crossed in {counted(count, 'place')}"
