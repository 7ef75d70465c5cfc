"""Removes what is left of a node: after a stop nothing, after kill -9 of everything processes, groups, interfaces.

Mounts, firewall rules and the far end of the link live in namespaces and end with their last process.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from wecityctl.local.node import cgroups, network
from wecityctl.local.node.configure import Node
from wecityctl.local.node.layout import Held, start_time


def run(node: Node) -> None:
    """Idempotent; the node's data is kept."""
    _end_processes(node)
    hierarchies = cgroups.detect()
    cgroups.end_processes(hierarchies, node.cgroup, grace=0)
    cgroups.remove(hierarchies, node.cgroup)
    network.disconnect(node.link)
    for path in (
        node.layout.hold_state,
        node.layout.pid_file,
        node.layout.containerd_socket,
        node.layout.policy_socket,
    ):
        path.unlink(missing_ok=True)
    node.layout.containerd_socket.with_suffix(".sock.ttrpc").unlink(missing_ok=True)


def _end_processes(node: Node) -> None:
    """Kill the holder and the namespaces' first process; the kernel ends all the others of its PID namespace."""
    found = {pid: start_time(pid) for pid in _holders(str(node.layout.hold_spec))}
    held = Held.load(node.layout.hold_state)
    if held is not None:
        found[held.pid] = held.started
    for pid in found:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    deadline = time.monotonic() + 10
    while any(start_time(pid) == started != 0 for pid, started in found.items()) and time.monotonic() < deadline:
        time.sleep(0.02)


def _holders(spec: str) -> Iterator[int]:
    """Processes whose command line is the holder's for this cloud: no other cloud has that path."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            arguments = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"wecityctl.local.node.namespaces" in arguments and spec.encode() in arguments:
            yield int(entry.name)
