"""Bindings for seccomp user notification, with which one process answers the `accept` calls of others. Linux only.

Numbers and structures are those of `linux/seccomp.h` and `linux/filter.h`.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import platform
import struct
from dataclasses import dataclass
from typing import Final

_SET_MODE_FILTER: Final = 1
_GET_ACTION_AVAIL: Final = 2
_SPEC_ALLOW: Final = 4
_NEW_LISTENER: Final = 8
_RET_USER_NOTIF: Final = 0x7FC00000
_RET_ALLOW: Final = 0x7FFF0000
_PR_SET_NO_NEW_PRIVS: Final = 38
_PIDFD_GETFD: Final = 438
_RECEIVE: Final = 0xC0502100
_SEND: Final = 0xC0182101
_ID_VALID: Final = 0x40082102
_ADD_DESCRIPTOR: Final = 0x40182103
_ADD_AND_SEND: Final = 2
_CONTINUE: Final = 1

_NOTIFICATION: Final = struct.Struct("=QIIiIQ6Q")
_RESPONSE: Final = struct.Struct("=QqiI")
_ADDITION: Final = struct.Struct("=QIIII")
_INSTRUCTION: Final = struct.Struct("=HBBI")
_PROGRAM: Final = struct.Struct("=H6xQ")
_LOAD: Final = 0x20
_JUMP_IF_EQUAL: Final = 0x15
_RETURN: Final = 0x06


@dataclass(frozen=True, slots=True)
class _Machine:
    architecture: int
    seccomp: int
    accept: int
    accept4: int


_MACHINES: Final = {
    "x86_64": _Machine(0xC000003E, 317, 43, 288),
    "aarch64": _Machine(0xC00000B7, 277, 202, 242),
    "riscv64": _Machine(0xC00000F3, 277, 202, 242),
    "loongarch64": _Machine(0xC0000102, 277, 202, 242),
}


@dataclass(frozen=True, slots=True)
class Call:
    """A pending `accept` or `accept4` call. `thread` is the thread ID of the caller."""

    identifier: int
    thread: int
    descriptor: int
    address: int
    length: int
    flags: int


def lacking() -> str:
    """Why this machine does not support it; empty if it does."""
    machine = _MACHINES.get(platform.machine())
    if platform.system() != "Linux" or machine is None:
        return f"it is not known for {platform.system()} on {platform.machine()}"
    action = ctypes.c_uint32(_RET_USER_NOTIF)
    try:
        _call(machine.seccomp, _GET_ACTION_AVAIL, 0, ctypes.byref(action))
    except OSError as error:
        return f"the kernel has no seccomp notifications: {error.strerror}"
    return ""


def install() -> int:
    """Install the filter: each `accept` of this process and its children is answered over the returned descriptor.

    The filter cannot be removed. Raises `OSError`, with `EBUSY` if another process answers such calls already.
    """
    machine = _MACHINES[platform.machine()]
    code = b"".join(
        _INSTRUCTION.pack(*each)
        for each in (
            (_LOAD, 0, 0, 4),
            (_JUMP_IF_EQUAL, 0, 4, machine.architecture),
            (_LOAD, 0, 0, 0),
            (_JUMP_IF_EQUAL, 1, 0, machine.accept),
            (_JUMP_IF_EQUAL, 0, 1, machine.accept4),
            (_RETURN, 0, 0, _RET_USER_NOTIF),
            (_RETURN, 0, 0, _RET_ALLOW),
        )
    )
    instructions = ctypes.create_string_buffer(code, len(code))
    program = _PROGRAM.pack(len(code) // _INSTRUCTION.size, ctypes.addressof(instructions))
    arguments = (machine.seccomp, _SET_MODE_FILTER, _NEW_LISTENER | _SPEC_ALLOW, program)
    try:
        return _call(*arguments)
    except PermissionError:
        # Without CAP_SYS_ADMIN, a filter is allowed only if the process gives up gaining privileges through setuid
        # programs.
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        return _call(*arguments)


def receive(listener: int) -> Call:
    """The next call. Raises `OSError` (`ENOENT`) if its process no longer exists."""
    buffer = bytearray(_NOTIFICATION.size)
    fcntl.ioctl(listener, _RECEIVE, buffer)
    identifier, thread, _, number, _, _, *arguments = _NOTIFICATION.unpack(buffer)
    descriptor, address, length, flags = arguments[:4]
    is_plain = number == _MACHINES[platform.machine()].accept
    return Call(identifier, thread, descriptor & 0xFFFFFFFF, address, length, 0 if is_plain else flags & 0xFFFFFFFF)


def is_waiting(listener: int, call: Call) -> bool:
    """Whether the call is still pending. Only then does `call.thread` identify the caller."""
    try:
        fcntl.ioctl(listener, _ID_VALID, struct.pack("=Q", call.identifier))
    except OSError:
        return False
    return True


def let(listener: int, call: Call) -> None:
    """Let the kernel execute the call unchanged."""
    fcntl.ioctl(listener, _SEND, _RESPONSE.pack(call.identifier, 0, 0, _CONTINUE))


def fail(listener: int, call: Call, number: int) -> None:
    """Make the call fail with the error `number`."""
    fcntl.ioctl(listener, _SEND, _RESPONSE.pack(call.identifier, 0, -number, 0))


def hand_over(listener: int, call: Call, descriptor: int) -> None:
    """Make the call return a copy of `descriptor`. Raises `OSError` (`ENOENT`) if it is no longer pending."""
    flags = os.O_CLOEXEC if call.flags & os.O_CLOEXEC else 0
    try:
        fcntl.ioctl(listener, _ADD_DESCRIPTOR, _ADDITION.pack(call.identifier, _ADD_AND_SEND, descriptor, 0, flags))
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        # Before Linux 5.14 this takes two calls.
        addition = bytearray(_ADDITION.pack(call.identifier, 0, descriptor, 0, flags))
        number = fcntl.ioctl(listener, _ADD_DESCRIPTOR, addition)
        fcntl.ioctl(listener, _SEND, _RESPONSE.pack(call.identifier, number, 0, 0))


def copy_descriptor(process: int, number: int) -> int:
    """Copy the descriptor `number` of the process with the pidfd `process`. Raises `OSError`."""
    return _call(_PIDFD_GETFD, process, number, 0)


def _call(number: int, *arguments: object) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    given = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    result: int = libc.syscall(ctypes.c_long(number), *given)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
