"""Detects properties of this machine: capabilities of this process, kernel features, tools.

Changes nothing (the overlay test uses its own mount namespace). `capabilities` evaluates the results.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import tempfile
from pathlib import Path

CAP_NET_ADMIN = 12
CAP_SYS_ADMIN = 21
CAP_SYS_RESOURCE = 24
# Measured: API server 7, controller manager 6, kubelet 6, and one for each other program.
WATCHES_OF_A_CLOUD = 24


def has_capability(number: int, status: str | None = None) -> bool:
    """Whether this process has the capability in its effective set."""
    text = status if status is not None else Path("/proc/self/status").read_text()
    line = next((line for line in text.splitlines() if line.startswith("CapEff:")), "CapEff: 0")
    return bool(int(line.split()[1], 16) >> number & 1)


def overlay_works(directory: Path) -> bool:
    """Whether overlayfs works on the file system of `directory`; it does not on another overlay, for example."""
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory, prefix=".overlay-") as name:
        base = Path(name)
        for part in ("lower", "upper", "work", "merged"):
            (base / part).mkdir()
        (base / "lower" / "file").touch()
        script = (
            f"mount -t overlay overlay -o lowerdir={base}/lower,upperdir={base}/upper,workdir={base}/work {base}/merged"
            f" && mv {base}/merged/file {base}/merged/moved"
        )
        command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]
        return succeeds(*command)


def free_watches(wanted: int) -> int:
    """How many of `wanted` inotify instances this user can still open. Linux allows 128 per user by default."""
    libc = ctypes.CDLL(None)
    opened: list[int] = []
    try:
        while len(opened) < wanted and (descriptor := libc.inotify_init1(os.O_CLOEXEC)) >= 0:
            opened.append(descriptor)
        return len(opened)
    finally:
        for descriptor in opened:
            os.close(descriptor)


def host_ports_work() -> bool:
    """Whether iptables supports the rules of the portmap plug-in; otherwise the plug-in would make every pod fail."""
    rule = (
        "iptables -w -t nat -A PREROUTING -p tcp -m multiport --dports 1 -m comment --comment x -j DNAT --to 192.0.2.1"
    )
    return succeeds("unshare", "--net", "sh", "-c", f"{rule} && iptables -w -t nat -A POSTROUTING -j MASQUERADE")


def succeeds(*command: str, stdin: str = "") -> bool:
    """Whether the command exists and exits with 0. Its output is discarded."""
    try:
        done = subprocess.run(command, input=stdin, text=True, capture_output=True, timeout=20, check=False)
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0
