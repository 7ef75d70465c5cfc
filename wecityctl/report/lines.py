"""Writes a run's progress line by line. The run continues if the reader of the stream has gone away."""

from __future__ import annotations

from typing import TextIO

from wecityctl.model.words import printable


class LineWriter:
    """Writes lines to `stream`, each flushed at once, until the other end is closed."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._has_reader = True

    def __call__(self, line: str) -> None:
        if not self._has_reader:
            return
        try:
            self._stream.write(f"{printable(line)}\n")
            self._stream.flush()
        except BrokenPipeError:
            self._has_reader = False
