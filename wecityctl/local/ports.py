"""Free TCP ports that a cloud keeps for life.

They lie below the range from which the kernel takes ports for outgoing connections, so that no connection of this
machine can sit on a cloud's port when it starts again.
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
    """Whether a server could listen there now."""
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        # As servers do: connections in TIME_WAIT do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            # An interface that is made later has nobody on its ports yet.
            return error.errno == errno.EADDRNOTAVAIL
        return True


def choose(seed: str, addresses: Mapping[str, str], saved: Mapping[str, int], taken: Collection[int]) -> dict[str, int]:
    """A port for each name of `addresses` (name → address it is for): the saved one while it is free.

    New ones are looked for from a place that `seed` determines, so that clouds seldom meet; none is in `taken`.
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
