"""Network namespaces for real packets: a node that routes, pods on veths as ptp makes them, a world outside.

A namespace lives as long as an idle process of ours: when the test ends, or is killed, the kernel removes all.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.processes import ENDING_WITH_PARENT

GATEWAY = "10.99.255.254"
OUTSIDE = "192.0.2.0/24"
OUTSIDE_GATEWAY = "192.0.2.1"
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


class Namespace:
    """One network namespace."""

    def __init__(self) -> None:
        self._process = subprocess.Popen([*ENDING_WITH_PARENT, "unshare", "--net", "sleep", "600"])
        self.pid = self._process.pid
        own = Path("/proc/self/ns/net").stat().st_ino
        while Path(f"/proc/{self.pid}/ns/net").stat().st_ino == own:
            assert self._process.poll() is None, "no network namespace can be made"
        self._handle = os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    def run(self, *command: str, stdin: str = "") -> str:
        """Run a program in it; its output."""
        done = subprocess.run(
            ["nsenter", f"--net=/proc/{self.pid}/ns/net", *command],
            input=stdin,
            text=True,
            capture_output=True,
            timeout=30,
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """This thread is in it; sockets made here stay in it."""
        home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        _setns(self._handle)
        try:
            yield
        finally:
            _setns(home)
            os.close(home)

    def socket(self, kind: int, protocol: int = 0) -> socket.socket:
        """An IPv4 socket in it that never blocks."""
        with self.entered():
            made = socket.socket(socket.AF_INET, kind, protocol)
        made.setblocking(False)
        return made

    def close(self) -> None:
        """The kernel removes it, its interfaces and rules."""
        os.close(self._handle)
        self._process.kill()
        self._process.wait()


@dataclass
class World:
    """`pods` are the namespaces by address; `node` is where the rules belong."""

    node: Namespace
    pods: dict[str, Namespace] = field(default_factory=dict)

    def add(self, address: str) -> Namespace:
        """A pod, or with an address outside of the pods' network a host of the outside world."""
        made = self.pods[address] = Namespace()
        veth = f"veth{len(self.pods)}"
        gateway = OUTSIDE_GATEWAY if address.startswith("192.0.2.") else GATEWAY
        self.node.run("ip", "link", "add", veth, "type", "veth", "peer", "name", "eth0", "netns", str(made.pid))
        commands = (
            f"link set {veth} up\naddress add {gateway}/32 dev {veth}\nroute add {address}/32 dev {veth} scope link\n"
        )
        self.node.run("ip", "-batch", "-", stdin=commands)
        commands = (
            f"link set lo up\nlink set eth0 up\naddress add {address}/32 dev eth0\n"
            f"route add {gateway}/32 dev eth0 scope link\nroute add default via {gateway}\n"
        )
        made.run("ip", "-batch", "-", stdin=commands)
        return made

    def load(self, script: str) -> None:
        """Put an nft script into force on the node."""
        self.node.run("nft", "-f", "-", stdin=script)

    def close(self) -> None:
        """Remove everything."""
        for each in (*self.pods.values(), self.node):
            each.close()


@contextlib.contextmanager
def world(*addresses: str) -> Iterator[World]:
    """A node with these pods and outside hosts; skips, saying so, where namespaces cannot be made."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    made = World(Namespace())
    try:
        made.node.run("sh", "-c", "ip link set lo up && echo 1 > /proc/sys/net/ipv4/ip_forward")
        for address in addresses:
            made.add(address)
        yield made
    finally:
        made.close()


def _setns(handle: int) -> None:
    if _libc.setns(handle, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")
