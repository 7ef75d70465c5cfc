"""Starting programs from a test, and looking for the processes that one left behind."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path

from wecityctl.local.proctable import Identity

# In front of a command line: a test run that is killed leaves no such program behind. Not a `preexec_fn`, for which
# Python copies this whole process first: a copy with gRPC in it now and then dies before it starts anything.
ENDING_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL", "--")


def children(pid: int) -> list[Identity]:
    """The processes that `pid` has started and that run, from the kernel's own lists; the oldest first."""
    found: list[Identity] = []
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        # It has ended meanwhile.
        return []
    for task in tasks:
        try:
            found += [Identity.of(int(text)) for text in (task / "children").read_text().split()]
        except OSError:
            continue
    return sorted((each for each in found if each.alive()), key=lambda each: each.start)


def below(pid: int) -> list[Identity]:
    """The processes that `pid` has started, those that these have started, and so on."""
    found = children(pid)
    return found + [each for child in found for each in below(child.pid)]


def matching(wanted: Callable[[Path], bool]) -> list[Identity]:
    """The running processes of this machine for whose directory below /proc `wanted` is true."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        # Before the look: what has ended meanwhile, and another with its number, is not alive.
        identity = Identity.of(int(entry.name))
        try:
            if wanted(entry) and identity.alive():
                found.append(identity)
        except OSError:
            continue
    return found


def command(process: Identity) -> str:
    """The command line of a process; empty once it has ended."""
    try:
        return Path(f"/proc/{process.pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def left_of(processes: Iterable[Identity], seconds: float = 30.0) -> list[str]:
    """Wait until the processes have ended, `seconds` at most; the command lines of those that have not."""
    deadline = time.monotonic() + seconds
    return [
        command(each) or str(each.pid) for each in processes if not each.wait(max(0.0, deadline - time.monotonic()))
    ]
