"""Identifies a process so that a later check can tell whether it still runs, even if its PID was reused."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from wecityctl.model import command_line
from wecityctl.model.times import in_utc
from wecityctl.users import user_name


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


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lock, as it is written into that lock: the process, since when (RFC 3339), and its command.

    `command` is such as `up` or `state move`; empty if another program runs the operation.
    """

    owner: Owner
    since: str = ""
    command: str = ""

    @classmethod
    def of_this_process(cls) -> Holder:
        """Return this process as a holder from now on."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(Owner.of(os.getpid()), now, command_line.current().command)

    def __str__(self) -> str:
        what = f"`wecityctl {self.command}`, " if self.command else ""
        return f"{what}{self.owner}" + (f", since {in_utc(self.since)}" if self.since else "")


def owner_in(note: Mapping[str, Any]) -> Owner:
    """Return the owner that a lock's note names; what else the note has is ignored. Raises `TypeError`."""
    names = {each.name for each in fields(Owner)}
    return Owner(**{key: value for key, value in note.items() if key in names})


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
    """Return the name of this process's user, as its environment has it if it does."""
    return os.environ.get("USER") or user_name()
