"""Identifies processes by PID, start time and boot ID, so that reused PIDs and reboots are detected.

A process is signalled only if all three match.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Identity:
    """A process: PID, start time in clock ticks since boot, and boot ID."""

    pid: int
    start: int
    boot: str

    def alive(self) -> bool:
        """Whether exactly this process runs; a zombie does not."""
        return self.pid > 0 and self.boot == boot_id() and start_time(self.pid) == self.start

    def send(self, number: int) -> bool:
        """Signal the process if it is still the same one; returns whether it was."""
        if not self.alive():
            return False
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            return False
        return True

    def end(self, grace: float) -> bool:
        """Send SIGTERM, and SIGKILL after `grace` seconds; returns whether the process is gone."""
        self.send(signal.SIGTERM)
        if not self.wait(grace):
            self.send(signal.SIGKILL)
        return self.wait(5.0)

    def wait(self, seconds: float) -> bool:
        """Wait until the process is gone, for at most `seconds`; returns whether it is."""
        deadline = time.monotonic() + seconds
        while self.alive():
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.02)
        return True

    def to_json(self) -> dict[str, Any]:
        return {"pid": self.pid, "start": self.start, "boot": self.boot}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Identity:
        return cls(int(value["pid"]), int(value["start"]), str(value["boot"]))

    @classmethod
    def of(cls, pid: int) -> Identity:
        """The identity of a running process."""
        return cls(pid, start_time(pid) or 0, boot_id())


def boot_id() -> str:
    """The kernel's random ID of this boot; empty if there is none."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


def start_time(pid: int) -> int | None:
    """The process's start time in clock ticks since boot; `None` if it does not exist or is a zombie."""
    if not sys.platform.startswith("linux"):
        return _exists(pid)
    fields = _stat(pid)
    return None if not fields or fields[0] in "ZX" else int(fields[19])


def is_stopped(pid: int) -> bool:
    """Whether the process was stopped by a signal."""
    fields = _stat(pid)
    return bool(fields) and fields[0] == "T"


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third (the state) on; empty if there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return []
    # The command name may contain spaces and brackets, so parse after the last bracket.
    return text.rpartition(")")[2].split()


def _exists(pid: int) -> int | None:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        return 0
    return 0
