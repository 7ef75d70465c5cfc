"""The paths of the node's files, on the host and inside its namespaces, and the holder's spec and state.

Pure values; nothing is created. Inside, everything is below one short path, because socket paths are limited to 107
characters.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import ClassVar

from wecityctl.local.node.network import Block, Link

NODE_NAME = "real-0"
# The file below `etc` that the node's own programs see as /etc/resolv.conf.
NODE_RESOLV_CONF = "node-resolv.conf"
INSIDE = PurePosixPath("/run/wecity")
# Sockets and the PID of the namespaces' first process; the only directory that host and node share at run time.
INSIDE_RUN = PurePosixPath("/run/wecity-cloud")
# Directories that containerd, CNI and the kubelet write to and whose paths cannot be configured.
FIXED_DIRECTORIES = {Path("/var/lib"): ("cni", "kubelet"), Path("/var/log"): ("containers", "pods")}
# Kernel settings that the kubelet requires. It would change them for the whole machine; inside it sees these copies.
KERNEL_SETTINGS = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}


@dataclass(frozen=True, slots=True)
class Layout:
    """The node's directories. `data` survives a stop; `run` holds what a stop removes."""

    POLICY_SOCKET: ClassVar[str] = "netpol.sock"

    data: Path
    run: Path

    @property
    def etc(self) -> Path:
        """Configuration and keys, written at every start if they changed."""
        return self.data / "etc"

    @property
    def registries(self) -> Path:
        """How containerd reaches registries: a directory for each, read at each pull."""
        return self.etc / "registries"

    @property
    def volumes(self) -> Path:
        """Persistent volumes, one directory each."""
        return self.data / "volumes"

    @property
    def hold_spec(self) -> Path:
        """The input of the holder (`HoldSpec`)."""
        return self.data / "hold.json"

    @property
    def hold_state(self) -> Path:
        """The output of the holder when the namespaces are ready (`Held`)."""
        return self.run / "node.json"

    @property
    def interconnects(self) -> Path:
        """The saved neighbours of the node on this machine (see `interconnect`)."""
        return self.data / "crossings.json"

    @property
    def pid_file(self) -> Path:
        """A file with only the PID of the namespaces' first process, for the shell that enters them."""
        return self.run / "node.pid"

    @property
    def roles_made(self) -> Path:
        """Exists once the roles of the node's programs were created in the cluster; programs that need them wait for
        it.
        """
        return self.data / "roles-made"

    @property
    def containerd_socket(self) -> Path:
        """The path of containerd's socket on the host."""
        return self.run / "containerd.sock"

    @property
    def policy_socket(self) -> Path:
        """The path of the policy agent's socket on the host."""
        return self.run / self.POLICY_SOCKET

    @staticmethod
    def inside(*parts: str) -> str:
        """A path below `data` as the node's processes see it."""
        return str(INSIDE.joinpath(*parts))


@dataclass(frozen=True, slots=True)
class HoldSpec:
    """The input of the holder, stored as JSON."""

    data: str
    run: str
    cgroup: str
    bridge: str
    veth: str
    block: str
    api_port: int
    rules: str
    grace: float

    @property
    def layout(self) -> Layout:
        """The node's directories."""
        return Layout(Path(self.data), Path(self.run))

    @property
    def link(self) -> Link:
        """The names of the host's interfaces."""
        return Link(self.bridge, self.veth)

    @property
    def addresses(self) -> Block:
        """The cloud's addresses."""
        return Block.parse(self.block)

    @property
    def cloud_id(self) -> str:
        """The cloud's ID, eight hex digits."""
        return self.bridge.rpartition("-")[2]

    def dump(self) -> bytes:
        """The spec as JSON."""
        return json.dumps(asdict(self), indent=1).encode()

    @classmethod
    def load(cls, path: Path) -> HoldSpec:
        """Read what `dump` wrote."""
        return cls(**json.loads(path.read_bytes()))


@dataclass(frozen=True, slots=True)
class Held:
    """The first process of the node's namespaces: its PID on the host, and its start time, because PIDs are reused."""

    pid: int
    started: int

    def dump(self) -> bytes:
        """The state as JSON."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def load(cls, path: Path) -> Held | None:
        """Read the state; `None` if there is none, or if its process no longer exists."""
        try:
            held = cls(**json.loads(path.read_bytes()))
        except (FileNotFoundError, ValueError, TypeError):
            return None
        return held if start_time(held.pid) == held.started else None


def start_time(pid: int) -> int:
    """The start time of a process in clock ticks since boot; 0 if it does not exist or is a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] in "ZX" else int(fields[19])
