"""Ctrl-C and SIGTERM of a run, as something its loop can wait for; the process itself goes on."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from types import FrameType, TracebackType
from typing import Any, Self


class Interrupts:
    """Within the block, signals are counted instead of raised. Outside the main thread it only ever counts zero."""

    def __init__(self) -> None:
        self.count = 0
        self._read, self._write = socket.socketpair()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._take)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._read.close()
        self._write.close()

    def fileno(self) -> int:
        """Readable after a signal."""
        return self._read.fileno()

    def clear(self) -> None:
        """Take note of what has come, so that waiting begins anew."""
        self._read.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            self._read.recv(64)

    def _take(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        with contextlib.suppress(OSError):
            self._write.send(b"!")
