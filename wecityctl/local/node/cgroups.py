"""Manages the root cgroup of a cloud's pods: detects the version, creates, empties and removes the group.

The kubelet manages everything below it.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MOUNT = Path("/sys/fs/cgroup")
V1_NEEDED = ("cpu", "cpuset", "memory", "pids")
V2_NEEDED = ("cpu", "cpuset", "memory", "pids")


@dataclass(frozen=True, slots=True)
class Hierarchies:
    """The mounted cgroup hierarchies. `version` is 0 if there are none that can be used."""

    version: int
    mounts: tuple[Path, ...]
    missing: tuple[str, ...] = ()

    def groups(self, name: str) -> tuple[Path, ...]:
        """The directory of group `name` in every hierarchy."""
        return tuple(mount / name.strip("/") for mount in self.mounts)


def detect(mountinfo: str | None = None, root: Path = MOUNT) -> Hierarchies:
    """Parse /proc/self/mountinfo: one unified hierarchy (v2), or one per controller (v1 and hybrid)."""
    text = mountinfo if mountinfo is not None else Path("/proc/self/mountinfo").read_text()
    unified = ""
    controllers: dict[str, Path] = {}
    for line in text.splitlines():
        left, _, right = line.partition(" - ")
        where, right_fields = left.split()[4], right.split()
        kind, options = right_fields[0], right_fields[-1]
        if kind == "cgroup2":
            unified = where
        elif kind == "cgroup":
            named = [option for option in options.split(",") if option.startswith("name=")]
            for option in named or options.split(","):
                controllers[option] = Path(where)
    if unified == str(root):
        available = (root / "cgroup.controllers").read_text().split()
        return Hierarchies(2, (root,), tuple(name for name in V2_NEEDED if name not in available))
    if controllers:
        missing = tuple(name for name in V1_NEEDED if name not in controllers)
        # `rw` and the like are mount options and not controllers. Only hierarchies have a file `tasks`.
        mounts = dict.fromkeys(path for path in controllers.values() if (path / "tasks").exists())
        if unified:
            mounts[Path(unified)] = None  # hybrid: without controllers of ours, but runc puts its groups there too
        return Hierarchies(1, tuple(mounts), missing)
    return Hierarchies(0, ())


def create(hierarchies: Hierarchies, name: str) -> None:
    """Create the group in every hierarchy, with all controllers delegated (v2) or cpuset values inherited (v1).

    The group is limited to half of the machine's processes and threads, so that pods cannot exhaust them.
    """
    for mount, group in zip(hierarchies.mounts, hierarchies.groups(name), strict=True):
        if hierarchies.version == 2:
            _hand_down(mount)
        above = mount
        for part in group.relative_to(mount).parts:
            current = above / part
            current.mkdir(exist_ok=True)
            if hierarchies.version == 2:
                _hand_down(current)
            for item in ("cpuset.cpus", "cpuset.mems"):
                own = current / item
                if hierarchies.version == 1 and own.exists() and not own.read_text().strip():
                    own.write_text((above / item).read_text())
            above = current
        if (limit := group / "pids.max").exists():
            limit.write_text(str(_most_processes()))


def _most_processes() -> int:
    kernel = Path("/proc/sys/kernel")
    return min(int((kernel / name).read_text()) for name in ("pid_max", "threads-max")) // 2


def _hand_down(group: Path) -> None:
    available = (group / "cgroup.controllers").read_text().split()
    enabled = (group / "cgroup.subtree_control").read_text().split()
    for controller in available:
        if controller not in enabled:
            # One at a time, because the kernel may refuse one controller (cpu with real-time tasks).
            try:
                (group / "cgroup.subtree_control").write_text(f"+{controller}")
            except OSError:
                if controller in V2_NEEDED:
                    raise


def _below(group: Path) -> Iterator[Path]:
    """Yield the group and its descendants, deepest first."""
    for directory, _, _ in os.walk(group, topdown=False):
        yield Path(directory)


def processes(hierarchies: Hierarchies, name: str) -> set[int]:
    """The PIDs in the group and below it, as this PID namespace numbers them (0: not visible here)."""
    found: set[int] = set()
    for group in hierarchies.groups(name):
        for directory in _below(group):
            try:
                found.update(int(line) for line in (directory / "cgroup.procs").read_text().split())
            except OSError:
                continue  # removed meanwhile
    found.discard(0)
    return found


def _is_container_init(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    numbers = next((line for line in status.splitlines() if line.startswith("NSpid:")), "").split()
    return numbers[-1:] == ["1"]


def send(pids: set[int], number: signal.Signals) -> None:
    """Signal each process; ignores those that no longer exist."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def end_processes(hierarchies: Hierarchies, name: str, *, grace: float) -> None:
    """Send SIGTERM to the first process of every container, and kill what is left after `grace` seconds."""
    deadline = time.monotonic() + grace
    if grace > 0:
        send({pid for pid in processes(hierarchies, name) if _is_container_init(pid)}, signal.SIGTERM)
    while processes(hierarchies, name) and time.monotonic() < deadline:
        time.sleep(0.05)
    final = time.monotonic() + 5
    while (left := processes(hierarchies, name)) and time.monotonic() < final:
        send(left, signal.SIGKILL)
        time.sleep(0.05)


def remove(hierarchies: Hierarchies, name: str, *, patience: float = 3.0) -> tuple[Path, ...]:
    """Remove the group from every hierarchy; returns the directories that could not be removed.

    A group that was just emptied stays busy for a moment, so removal is retried for `patience` seconds.
    """
    deadline = time.monotonic() + patience
    while True:
        stuck = [path for group in hierarchies.groups(name) for path in _below(group) if not _removed(path)]
        if not stuck or time.monotonic() > deadline:
            return tuple(stuck)
        time.sleep(0.05)


def _removed(directory: Path) -> bool:
    try:
        directory.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
