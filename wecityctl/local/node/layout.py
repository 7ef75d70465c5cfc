"""Where the node's files are, seen from the host and from inside its namespaces, and what its holder is told.

Pure values; nothing is created here. Inside, everything lies under one short path, because sockets have 107 characters.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import ClassVar

from wecityctl.local.node.network import Block, Link

NODE_NAME = "real-0"
INSIDE = PurePosixPath("/run/wecity")
# Sockets and the PID of the namespaces' first process: the one directory that host and node both see at work.
INSIDE_RUN = PurePosixPath("/run/wecity-cloud")
# Directories that containerd, CNI and the kubelet write to and that no setting of theirs moves.
FIXED_DIRECTORIES = {Path("/var/lib"): ("cni", "kubelet"), Path("/var/log"): ("containers", "pods")}
# What the kubelet wants these to be. It would set them for the whole machine; inside it reads our copies instead.
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
    """The node's directories. `data` outlives stop and start; `run` holds what a stop removes."""

    POLICY_SOCKET: ClassVar[str] = "netpol.sock"

    data: Path
    run: Path

    @property
    def etc(self) -> Path:
        """Configuration and keys, compared and written at every start."""
        return self.data / "etc"

    @property
    def volumes(self) -> Path:
        """Persistent volumes, one directory each."""
        return self.data / "volumes"

    @property
    def hold_spec(self) -> Path:
        """What the holder is told."""
        return self.data / "hold.json"

    @property
    def hold_state(self) -> Path:
        """What the holder says once the namespaces are ready."""
        return self.run / "node.json"

    @property
    def interconnects(self) -> Path:
        """Which other nodes of this machine it is joined to, and for what."""
        return self.data / "crossings.json"

    @property
    def pid_file(self) -> Path:
        """The PID of the namespaces' first process, alone: for the shell that enters them."""
        return self.run / "node.pid"

    @property
    def roles_made(self) -> Path:
        """There once the cluster has the roles of the node's programs: those that need them at once wait for it."""
        return self.data / "roles-made"

    @property
    def containerd_socket(self) -> Path:
        """As the host sees it."""
        return self.run / "containerd.sock"

    @property
    def policy_socket(self) -> Path:
        """The policy agent's, as the host sees it."""
        return self.run / self.POLICY_SOCKET

    @staticmethod
    def inside(*parts: str) -> str:
        """A path below `data` as the node's processes see it."""
        return str(INSIDE.joinpath(*parts))


@dataclass(frozen=True, slots=True)
class HoldSpec:
    """Everything the holder needs to know, as one JSON document."""

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
        """The host's interfaces."""
        return Link(self.bridge, self.veth)

    @property
    def addresses(self) -> Block:
        """The cloud's addresses."""
        return Block.parse(self.block)

    @property
    def cloud_id(self) -> str:
        """The eight hex digits of the cloud."""
        return self.bridge.rpartition("-")[2]

    def dump(self) -> bytes:
        """JSON."""
        return json.dumps(asdict(self), indent=1).encode()

    @classmethod
    def load(cls, path: Path) -> HoldSpec:
        """The inverse of `dump`."""
        return cls(**json.loads(path.read_bytes()))


@dataclass(frozen=True, slots=True)
class Held:
    """The first process of the node's namespaces, as the host numbers it, and its start (numbers are used again)."""

    pid: int
    started: int

    def dump(self) -> bytes:
        """JSON."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def load(cls, path: Path) -> Held | None:
        """None where no holder has reported, or where its process is gone or its number is somebody else's now."""
        try:
            held = cls(**json.loads(path.read_bytes()))
        except (FileNotFoundError, ValueError, TypeError):
            return None
        return held if start_time(held.pid) == held.started else None


def start_time(pid: int) -> int:
    """When the process was started, in clock ticks since boot; 0 when there is none (or only its corpse)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] in "ZX" else int(fields[19])
