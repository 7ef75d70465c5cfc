"""The red lines in front of a run: what stands in the way of `up` stops it, `preview` shows it and says so in its code.

Advice is told as warnings, once. The verdict is worked out while clouds are reached and the engine loads.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date
from typing import TYPE_CHECKING

from wecityctl.errors import ExitCode, PolicyError
from wecityctl.model.events import Diagnostic, Operation, RunResult, Sink
from wecityctl.model.words import counted
from wecityctl.policy.unseen import RECORDED
from wecityctl.session import Session

if TYPE_CHECKING:
    from wecityctl.engine.process.engine import Engine
    from wecityctl.operations.policy_evaluation import Pending
    from wecityctl.policy.check import Judged, Verdict

JUDGED: tuple[Operation, ...] = ("preview", "up")


@dataclass(slots=True)
class PolicyGate:
    """What one run has to do with the red lines; nothing for a run that makes nothing.

    `told`: the advice was shown already, by the preview before this run. `keep_going`: what stands on a failed stack
    is run too, so that nothing may be left unjudged.
    """

    session: Session
    operation: Operation
    told: bool = False
    keep_going: bool = False
    _pending: Pending | None = field(default=None, repr=False)
    _verdict: Verdict | None = field(default=None, repr=False)

    def begin(self, engine: Engine) -> None:
        """Have the verdict worked out in the background, by a process of `engine`."""
        if self.operation in JUDGED:
            from wecityctl.operations.policy_evaluation import begin

            self._pending = begin(self.session, date.today(), engine)

    def close(self) -> None:
        """Leave nothing behind, however the run ended."""
        if self._pending is not None:
            self._pending.close()

    def hold(self, sink: Sink) -> None:
        """Wait for the verdict and tell it, once. Raises `PolicyError` where `up` must not go on."""
        if self._pending is None or self._verdict is not None:
            return
        self._verdict = verdict = self._pending.verdict()
        if not verdict.findings and not verdict.notes:
            return
        from wecityctl.policy.lines import finding_line, note_lines

        positions = self.session.positions
        stopping = [finding_line(item, positions) for item in self._stopping(verdict)]
        if self.operation == "up" and stopping:
            raise PolicyError(
                f"{_crossed(len(stopping))}; nothing was done",
                details="\n".join(stopping),
                resolution=f"wecityctl policy check {self.session.path} says what to do about each",
            )
        advice = [finding_line(item, positions) for item in verdict.advisory]
        for line in () if self.told else (*advice, *note_lines(verdict)):
            sink(Diagnostic("", "warning", line))
        for line in stopping:
            sink(Diagnostic("", "error", line))

    def _stopping(self, verdict: Verdict) -> tuple[Judged, ...]:
        """What must stop `up`. A stack whose program refuses the files fails by itself, and the other clouds go on."""
        spared = () if self.keep_going else verdict.refusing
        return tuple(
            item for item in verdict.mandatory if item.rule != RECORDED.name or item.finding.stack not in spared
        )

    def in_result(self, result: RunResult) -> RunResult:
        """The result of a preview that `up` would refuse: the code of the red lines, unless something else failed."""
        count = len(self._stopping(self._verdict)) if self._verdict is not None else 0
        if not count:
            return result
        note = f"`up` will refuse: {_crossed(count)}"
        return replace(result, exit_code=result.exit_code or ExitCode.POLICY, notes=(*result.notes, note))


def _crossed(count: int) -> str:
    return f"mandatory red lines are crossed in {counted(count, 'place')}"
