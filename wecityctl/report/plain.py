"""Writes plain lines for logs and pipes, one for each fact that matters in a CI log."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import TextIO

from wecityctl.model.events import (
    Diagnostic,
    Event,
    Progress,
    ResourceFinished,
    ResourceWaiting,
    StackFinished,
    StackStarted,
)
from wecityctl.report.lines import LineWriter
from wecityctl.report.words import MARKS, count_changes, duration, kind_of, outcome_word, progress_line

# A shorter time means that nothing was done for the stack.
_SHOWN_SECONDS = 0.05
_BAD = ("failed", "refused", "blocked", "cancelled")
# The severities that are shown, by verbosity.
_TOLD = (("error",), ("warning", "error"), ("debug", "info", "warning", "error"))


class PlainReporter:
    """Writes to `stream` (stderr in the CLI). With `verbosity` 0 only failures are shown."""

    def __init__(self, stream: TextIO, *, verbosity: int = 1, clock: Callable[[], float] = time.monotonic) -> None:
        self._write_line = LineWriter(stream)
        self._verbosity = verbosity
        self._clock = clock
        self._start = clock()

    def __enter__(self) -> PlainReporter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Do nothing: every line is already written."""

    def __call__(self, event: Event) -> None:
        line = self._line(event)
        if line:
            self._write_line(f"[{self._clock() - self._start:6.1f}] {line}")

    def _line(self, event: Event) -> str:
        match event:
            case StackStarted() if self._verbosity:
                return f"{event.stack}: started"
            case StackFinished(result=result) if self._verbosity or result.outcome in _BAD:
                why = f": {result.reason}" if result.reason else ""
                changes = "" if (text := count_changes(result)) == "–" else f" {text}"
                failed = f", {len(result.failed)} failed" if result.failed else ""
                refused = f", {len(result.refused)} refused" if result.refused else ""
                took = f" in {duration(result.seconds)}" if result.seconds >= _SHOWN_SECONDS else ""
                return f"{result.stack}: {outcome_word(result)}{changes}{failed}{refused}{took}{why}"
            case ResourceFinished() if self._verbosity and event.op != "same":
                return f"{event.stack}: {MARKS[event.op]} {kind_of(event.type)} {event.name}" + (
                    " failed" if event.failed else ""
                )
            case ResourceWaiting() if self._verbosity:
                return f"{event.stack}: {event.name}: waiting: {event.reason}"
            case Diagnostic() if event.severity in _TOLD[min(self._verbosity, 2)]:
                place = f"{event.stack}: " if event.stack else ""
                return f"{place}{event.severity}: {event.message.strip()}"
            case Progress() if self._verbosity:
                tail = f" ({duration(event.seconds)})" if event.done and event.seconds else ""
                return progress_line(event) + tail
            case _:
                return ""
