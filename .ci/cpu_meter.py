"""CPU seconds of a test process and of everything that it starts, also of what it leaves running.

`resource.getrusage` counts a child once somebody has waited for it: a control plane that serves many files counts for
the last of them, and the supervisor of an embedded cloud, whose parent ends, never. A control group
counts both at once.
"""

from __future__ import annotations

import contextlib
import os
import resource
from pathlib import Path

MOUNTS = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"))
# Those of the pods of embedded clouds, which are in no group of ours: wecityctl/local/node/configure.py.
_PODS = "wecity-*"


class Meter:
    """Puts this process into a group of its own; what it starts from now on is born there.

    `complete` is false where no group can be made: then processes count once they have ended and were waited for.
    """

    def __init__(self) -> None:
        self._above = _own_group()
        self._group = self._above / f"tests-{os.getpid()}" if self._above else None
        self._pods: dict[Path, float] = {}
        try:
            if self._above is not None and self._group is not None:
                _remove_old(self._above)
                self._group.mkdir()
                _move(self._group)
        except OSError:
            self.close()
        self._pods = self._usage_of_pods()
        self._last = self._usage()

    @property
    def complete(self) -> bool:
        return self._group is not None

    def lap(self) -> float:
        """Seconds since the last lap, without pods."""
        now = self._usage()
        passed, self._last = now - self._last, now
        return passed

    def lap_of_pods(self) -> float:
        """Seconds of this machine's pods since their last lap, without those of clouds that have ended meanwhile."""
        now = self._usage_of_pods()
        passed = sum(seconds - self._pods.get(group, 0.0) for group, seconds in now.items())
        self._pods = now
        return passed

    def close(self) -> None:
        """Leave the group, and remove it if nothing runs in it any more."""
        if self._group is not None and self._above is not None:
            with contextlib.suppress(OSError):
                _move(self._above)
                self._group.rmdir()
        self._group = None

    def _usage(self) -> float:
        if self._group is not None:
            return _seconds(self._group)
        used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return sum(each.ru_utime + each.ru_stime for each in used)

    def _usage_of_pods(self) -> dict[Path, float]:
        found = {}
        for group in (group for mount in MOUNTS for group in mount.glob(_PODS)):
            with contextlib.suppress(OSError):
                found[group] = _seconds(group)
        return found


def _own_group() -> Path | None:
    """The group of this process in the unified hierarchy, whose groups count CPU time without any controller."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return None
    below = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), None)
    if below is None:
        return None
    return next((mount / below for mount in reversed(MOUNTS) if (mount / below / "cgroup.procs").exists()), None)


def _remove_old(above: Path) -> None:
    """Remove the groups of test processes that have ended: they had to leave a group with their last children in it."""
    for group in above.glob("tests-*"):
        if not Path("/proc", group.name.partition("-")[2]).exists():
            with contextlib.suppress(OSError):
                group.rmdir()


def _move(group: Path) -> None:
    (group / "cgroup.procs").write_text(str(os.getpid()))


def _seconds(group: Path) -> float:
    fields = dict(line.split() for line in (group / "cpu.stat").read_text().splitlines())
    return int(fields["usage_usec"]) / 1e6
