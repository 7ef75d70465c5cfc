"""Processes identified so that a recycled PID or a reboot cannot be mistaken for them.

An identity is PID, start time in clock ticks since boot, and boot id. Only what is provably the same is signalled.
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
    """One process of one boot of this machine."""

    pid: int
    start: int
    boot: str

    def alive(self) -> bool:
        """Whether that very process runs; a zombie does not."""
        return self.pid > 0 and self.boot == boot_id() and start_time(self.pid) == self.start

    def send(self, number: int) -> bool:
        """Signal the process if it is still the same one; whether it was."""
        if not self.alive():
            return False
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            return False
        return True

    def end(self, grace: float) -> bool:
        """Ask it to end, kill it after `grace` seconds; whether it is gone."""
        self.send(signal.SIGTERM)
        if not self.wait(grace):
            self.send(signal.SIGKILL)
        return self.wait(5.0)

    def wait(self, seconds: float) -> bool:
        """Wait until it is gone; whether it is."""
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
        """The identity of a process that runs now."""
        return cls(pid, start_time(pid) or 0, boot_id())


def boot_id() -> str:
    """The kernel's random id of this boot; empty where there is none."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


def start_time(pid: int) -> int | None:
    """Clock ticks from boot to the process's start; None when there is no such process (or only its zombie)."""
    if not sys.platform.startswith("linux"):
        return _exists(pid)
    fields = _stat(pid)
    return None if not fields or fields[0] in "ZX" else int(fields[19])


def is_stopped(pid: int) -> bool:
    """Whether a signal has stopped the process, so that it does nothing until it is continued."""
    fields = _stat(pid)
    return bool(fields) and fields[0] == "T"


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on, the process's state; empty without such a process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return []
    # The command's name may hold spaces and brackets: fields count from the last one.
    return text.rpartition(")")[2].split()


def _exists(pid: int) -> int | None:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        return 0
    return 0
