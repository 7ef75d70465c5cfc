"""Identifies a process so that a later check can tell whether it still runs, even if its PID was reused."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Owner:
    """A uniquely identified process. `started` is its start time in clock ticks since boot, `boot` the boot id of the
    machine, `namespace` the PID namespace in which it was recorded.
    """

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
        """Return the identity of the process `pid` on this machine."""
        return cls(pid, _started(pid), _boot(), _machine(), _namespace(), os.uname().nodename, _user())

    def is_dead(self) -> bool:
        """Whether the process has certainly ended. Processes of other machines cannot be checked
        and count as not dead.
        """
        if not self.machine or self.machine != _machine():
            return False
        return self.boot != _boot() or (self.namespace == _namespace() and _started(self.pid) != self.started)

    def is_alive(self) -> bool:
        """Whether the process certainly runs on this machine."""
        here = (self.machine, self.boot, self.namespace) == (_machine(), _boot(), _namespace())
        return here and _started(self.pid) == self.started

    def __str__(self) -> str:
        return f"process {self.pid} of {self.user} on {self.host}"


class Owned:
    """What a process holds, such as a lock. `owner` is `None` if that process is not known."""

    __slots__ = ()
    owner: Owner | None

    @property
    def is_dead(self) -> bool:
        """Whether the owner has certainly ended."""
        return self.owner is not None and self.owner.is_dead()


def _started(pid: int) -> int:
    """Return the start time in clock ticks since boot; 0 for a process that has ended or is a zombie."""
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
