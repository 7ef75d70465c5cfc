"""What the processes of a run listen on, by the kernel's tables."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

_LISTEN = "0A"


def listening(processes: Iterable[int]) -> dict[int, int]:
    """The TCP ports that the processes listen on, each with the process that has it (the last of several)."""
    inodes = {inode: process for process in processes for inode in _sockets(process)}
    found = {}
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(FileNotFoundError):
            for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                words = line.split()
                if words[3] == _LISTEN and words[9] in inodes:
                    found[int(words[1].rpartition(":")[2], 16)] = inodes[words[9]]
    return found


def of_run(processes: Mapping[int, str]) -> dict[int, int]:
    """The ports of an `up`, each with the process that has it, once all that it needs for a stack listens; else empty.

    `processes` are the run's, with their command lines: engines, and beside them at least the service that these
    journal to, the provider, and a language host.
    """
    found = listening(processes)
    engines = {process for process in found.values() if "/pulumi " in processes[process]}
    return found if engines and len(set(found.values()) - engines) >= len(("service", "provider", "host")) else {}


def _sockets(process: int) -> set[str]:
    found = set()
    with contextlib.suppress(OSError):
        for descriptor in Path(f"/proc/{process}/fd").iterdir():
            with contextlib.suppress(OSError):
                if match := re.fullmatch(r"socket:\[(\d+)\]", str(descriptor.readlink())):
                    found.add(match[1])
    return found
