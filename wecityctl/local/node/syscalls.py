"""Bindings for Linux system calls that Python 3.11 lacks: unshare, setns, mount, umount2 and prctl.

They are thin wrappers that raise OSError.
"""

from __future__ import annotations

import ctypes
import os

CLONE_NEWNS = 0x00020000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 1 << 18
MS_SHARED = 1 << 20
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MNT_DETACH = 2

_PR_SET_PDEATHSIG = 1


def _call(name: str, *arguments: object) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    """Move this process to new namespaces given by `flags`; for a new PID namespace, only its next child."""
    _call("unshare", ctypes.c_int(flags))


def enter_pid_namespace(descriptor: int) -> None:
    """setns(2) to a PID namespace, which applies to children created from now on."""
    _call("setns", ctypes.c_int(descriptor), ctypes.c_int(CLONE_NEWPID))


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    """mount(2)."""
    _call(
        "mount",
        source.encode(),
        target.encode(),
        kind.encode() or None,
        ctypes.c_ulong(flags),
        data.encode() or None,
    )


def unmount(target: str, flags: int = MNT_DETACH) -> None:
    """umount2(2), lazily by default."""
    _call("umount2", target.encode(), ctypes.c_int(flags))


def signal_on_parent_death(signal_number: int) -> None:
    """Make the kernel send `signal_number` to this process when the thread that created it ends."""
    _call("prctl", ctypes.c_int(_PR_SET_PDEATHSIG), ctypes.c_ulong(signal_number), 0, 0, 0)
