"""Finds the user that owns the other end of a loopback connection, from the kernel's socket tables. Linux only.

Queries one connection by sock_diag; if that interface is missing, reads `/proc/net/tcp`.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_SOCK_DIAG: Final = 4
_BY_FAMILY: Final = 20
_REQUEST: Final = 1
_ERROR: Final = 2
ESTABLISHED: Final = 1
_LISTEN: Final = 10
_HEADER: Final = struct.Struct("=IHHII")
_ID: Final = struct.Struct("!HH16s16s")
_ID_REST: Final = struct.Struct("=III")
_QUESTION: Final = struct.Struct("=BBBBI")
_ANSWER: Final = struct.Struct("=BBBB48sIIIII")
_SECONDS: Final = 5.0
_MAPPED: Final = bytes(10) + b"\xff\xff"


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """An IP address and a port. IPv4-mapped IPv6 addresses are converted to IPv4."""

    packed: bytes
    port: int

    @classmethod
    def of(cls, host: str, port: int) -> Address:
        """Parse the text form that `socket` uses. Raises `ValueError` if `host` is not an IP address."""
        try:
            packed = socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host.partition("%")[0])
        except OSError as error:
            raise ValueError(f"not an IP address: {host}") from error
        return cls(packed.removeprefix(_MAPPED) if len(packed) == 16 else packed, port)

    @property
    def family(self) -> int:
        return socket.AF_INET if len(self.packed) == 4 else socket.AF_INET6


@dataclass(frozen=True, slots=True)
class Entry:
    """A socket in the kernel's table: TCP state, user ID, and inode (0 if no process has it open)."""

    state: int
    uid: int
    inode: int


def owner_of_peer(local: Address, remote: Address) -> int | None:
    """The uid at the other end of our connection; `None` unless that end is open, on this machine, and established."""
    found = _look_up(remote, local)
    return found.uid if found is not None and found.state == ESTABLISHED and found.inode else None


def listener(address: Address) -> Entry | None:
    """The socket that accepts connections to this address, or `None`."""
    # No connection comes from port 0, so the kernel returns the listening socket for it.
    found = _look_up(address, Address(bytes(len(address.packed)), 0))
    return found if found is not None and found.state == _LISTEN and found.inode else None


def holds(pid: int, inode: int) -> bool:
    """Whether the process has the socket with this inode open."""
    with contextlib.suppress(OSError):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                if str(descriptor.readlink()) == f"socket:[{inode}]":
                    return True
    return False


def can_tell() -> bool:
    """Whether this machine's kernel provides its socket tables."""
    return hasattr(socket, "AF_NETLINK") and Path("/proc/net/tcp").exists()


def _look_up(source: Address, destination: Address) -> Entry | None:
    try:
        return _ask(source, destination)
    except OSError:
        return _read(source, destination)


def _ask(source: Address, destination: Address) -> Entry | None:
    """Query one connection by sock_diag. If there is none, the kernel returns the listening socket."""
    identity = _ID.pack(source.port, destination.port, source.packed, destination.packed)
    identity += _ID_REST.pack(0, 0xFFFFFFFF, 0xFFFFFFFF)
    question = _QUESTION.pack(source.family, socket.IPPROTO_TCP, 0, 0, 0xFFFFFFFF) + identity
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _SOCK_DIAG) as kernel:
        kernel.settimeout(_SECONDS)
        kernel.send(_HEADER.pack(_HEADER.size + len(question), _BY_FAMILY, _REQUEST, 1, 0) + question)
        answer = kernel.recv(4096)
    kind = _HEADER.unpack_from(answer)[1]
    if kind == _ERROR:
        (number,) = struct.unpack_from("=i", answer, _HEADER.size)
        if number == -2:
            return None
        raise OSError(-number, os.strerror(-number))
    _, state, _, _, found, _, _, _, uid, inode = _ANSWER.unpack_from(answer, _HEADER.size)
    port, peer_port, _, _ = _ID.unpack_from(found)
    if port != source.port or (state != _LISTEN and peer_port != destination.port):
        return None
    return Entry(state, uid, inode)


def _read(source: Address, destination: Address) -> Entry | None:
    listens = None
    for local, remote, entry in _table():
        if local == source and remote == destination:
            return entry
        if (
            local.port == source.port
            and entry.state == _LISTEN
            and local.packed in (source.packed, bytes(4), bytes(16))
        ):
            listens = entry
    return listens


def _table() -> Iterator[tuple[Address, Address, Entry]]:
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(FileNotFoundError), Path(f"/proc/net/{name}").open() as table:
            next(table, None)
            for line in table:
                words = line.split()
                entry = Entry(int(words[3], 16), int(words[7]), int(words[9]))
                yield _address(words[1]), _address(words[2]), entry


def _address(text: str) -> Address:
    # Each group of 32 bits is written as a number in the byte order of this machine.
    digits, _, port = text.partition(":")
    groups = [int(digits[at : at + 8], 16) for at in range(0, len(digits), 8)]
    packed = struct.pack(f"={len(groups)}I", *groups)
    return Address(packed.removeprefix(_MAPPED) if len(packed) == 16 else packed, int(port, 16))
