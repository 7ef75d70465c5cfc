"""Chooses free TCP ports, which a cloud keeps.

They are below the kernel's range of ephemeral ports, so that no outgoing connection occupies a cloud's port.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import socket
from collections.abc import Collection, Mapping

from wecityctl.errors import DeploymentError

FIRST, LAST = 20000, 29999


def is_free(address: str, port: int) -> bool:
    """Whether a server could listen on the address and port now."""
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        # As servers do: connections in TIME_WAIT do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            # The interface does not exist yet, so its ports are free.
            return error.errno == errno.EADDRNOTAVAIL
        return True


def choose(seed: str, addresses: Mapping[str, str], saved: Mapping[str, int], taken: Collection[int]) -> dict[str, int]:
    """A port for each name in `addresses` (name → address), the saved one if it is free.

    The search for new ports starts at a position that depends on `seed`, so that clouds rarely choose the same. Ports
    in `taken` are excluded.
    """
    ports: dict[str, int] = {}
    used = set(taken)
    for name, address in addresses.items():
        port = saved.get(name, 0)
        if not port or port in used or not is_free(address, port):
            port = _search(f"{seed}/{name}", address, used | set(saved.values()))
        ports[name] = port
        used.add(port)
    return ports


def _search(seed: str, address: str, used: Collection[int]) -> int:
    count = LAST - FIRST + 1
    offset = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:4], "big")
    for step in range(count):
        port = FIRST + (offset + step) % count
        if port not in used and is_free(address, port):
            return port
    raise DeploymentError(f"there is no free port from {FIRST} to {LAST} on {address}")
