"""Whether a process of this machine that was noted down is still the same one."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Owner:
    """A process, named so that no later one can be taken for it. `namespace` is the PID namespace it was seen in."""

    pid: int
    started: int
    boot: str
    machine: str
    namespace: int
    host: str
    user: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, pid: int) -> Owner:
        """The process `pid` of this machine."""
        return cls(pid, _started(pid), _boot(), _machine(), _namespace(), os.uname().nodename, _user())

    def is_dead(self) -> bool:
        """Whether it is certain that the process is gone: only this machine's own processes can be judged."""
        if not self.machine or self.machine != _machine():
            return False
        return self.boot != _boot() or (self.namespace == _namespace() and _started(self.pid) != self.started)

    def is_alive(self) -> bool:
        """Whether it is certain that the process runs: it does so here."""
        here = (self.machine, self.boot, self.namespace) == (_machine(), _boot(), _namespace())
        return here and _started(self.pid) == self.started

    def __str__(self) -> str:
        return f"process {self.pid} of {self.user} on {self.host}"


def _started(pid: int) -> int:
    """Start time in clock ticks since boot, 0 for a process that is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] in "ZX" else int(fields[19])


def _boot() -> str:
    return _read("/proc/sys/kernel/random/boot_id")


def _machine() -> str:
    return _read("/etc/machine-id") or _boot()


def _namespace() -> int:
    try:
        return Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        return 0


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _user() -> str:
    return os.environ.get("USER") or str(os.getuid())
