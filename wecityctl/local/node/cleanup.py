"""Removes what is left of a node after a crash: processes, cgroups, interfaces. After an orderly stop nothing is left.

Mounts, firewall rules and the inner end of the link belong to namespaces and disappear with their last process.
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
    """Remove everything that is left of the node. Idempotent; keeps the node's data."""
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
    """Kill the holder and the first process of the namespaces; the kernel then kills the rest of the PID namespace."""
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
    """Yield the holder processes of this cloud, identified by the path in their command line."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            arguments = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"wecityctl.local.node.namespaces" in arguments and spec.encode() in arguments:
            yield int(entry.name)
