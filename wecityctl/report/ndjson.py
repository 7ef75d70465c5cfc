"""The event stream for programs: one JSON object per line; the first has the format's version."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, TextIO

from wecityctl.model.events import Event
from wecityctl.report.lines import LineWriter
from wecityctl.report.record import FORMAT_VERSION, event_json


class NdjsonReporter:
    """Writes every event to `stream` at once."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._write_line = LineWriter(stream)
        self._clock = clock
        self._start = clock()

    def __enter__(self) -> NdjsonReporter:
        self._write({"format_version": FORMAT_VERSION, "event": "stream_started"})
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Do nothing: every line is already written."""

    def __call__(self, event: Event) -> None:
        self._write(event_json(event, self._clock() - self._start))

    def _write(self, line: dict[str, Any]) -> None:
        self._write_line(json.dumps(line, ensure_ascii=False, default=str))
