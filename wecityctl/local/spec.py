"""The specification, events and status of an embedded cloud, as values.

Storing, starting and watching a cloud is left to the other modules of the package.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from wecityctl.errors import ConfigurationError

NodeKind = Literal["real", "simulated"]
EventKind = Literal["step", "service", "death", "warning", "ready", "stopped"]
Health = Literal["healthy", "starting", "degraded", "stopped", "crashed"]
ServiceState = Literal["waiting", "starting", "ready", "backoff", "failed", "stopping", "stopped"]

# The name becomes a directory, and part of a socket's path and of a context's name.
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class PoolSpec:
    """Nodes of one kind. `cpu`, `memory`, `storage` (Kubernetes quantities) and `accelerators` are per node.

    Node `i` (from 0) is called `<name>-<i>` and is in zone `zones[i % len(zones)]`.
    """

    name: str
    architecture: str = "amd64"
    nodes: int = 3
    cpu: str = "16"
    memory: str = "64Gi"
    storage: str = "1Ti"
    zones: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    accelerators: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ImageRef:
    """An image for the real node: the reference in manifests, and the archive (OCI or docker-save tar) to import."""

    reference: str
    archive: Path
    digest: str = ""


@dataclass(frozen=True, slots=True)
class CloudSpec:
    """The specification of an embedded cloud. `images` are for the real node and are not kept in the cloud's state.

    `owner` tells whose it is; empty if it is nobody's in particular.
    """

    name: str
    nodes: NodeKind
    zones: tuple[str, ...] = ()
    pools: tuple[PoolSpec, ...] = ()
    images: tuple[ImageRef, ...] = ()
    owner: str = ""

    @property
    def simulated(self) -> bool:
        return self.nodes == "simulated"


@dataclass(frozen=True, slots=True)
class LocalEvent:
    """A progress event while a cloud starts, runs or stops. `seconds` count from the start of the operation.

    An event of kind `death` has the last log lines of the service.
    """

    kind: EventKind
    message: str
    service: str = ""
    seconds: float = 0.0
    lines: tuple[str, ...] = ()


Report = Callable[[LocalEvent], None]


def silent(_: LocalEvent) -> None:
    """Discard progress events."""


@dataclass(frozen=True, slots=True)
class RunningCloud:
    """A cloud whose control plane is ready. `kubeconfig` is the admin's as text, and is a secret.

    `addresses` has addresses by name (`api`, and on a real node `node` and `gateway`). `gateway_address` is where this
    host reaches node ports; empty on simulated nodes. `cluster_uid` is the UID of the namespace kube-system. `pod_cidr`
    is the range of its pods, which keep their addresses when they connect to another cloud. `networks` are the ranges
    of its pods, Services and node; none of simulated nodes, which have no network. `changed`: the start changed
    something.
    """

    name: str
    kubeconfig: str = field(repr=False)
    kubeconfig_path: Path
    context: str
    server: str
    cluster_uid: str
    kubernetes_version: str
    addresses: Mapping[str, str]
    gateway_address: str
    pod_cidr: str
    networks: tuple[str, ...]
    simulated: bool
    changed: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class Death:
    """An unexpected end of a supervised process. `at` is in seconds since the epoch."""

    at: float
    how: str
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """The status of one service. `seconds` is the time that it took to become ready, `since` its last start (epoch)."""

    name: str
    state: ServiceState
    pid: int = 0
    since: float = 0.0
    seconds: float = 0.0
    restarts: int = 0
    required: bool = True
    log: str = ""
    reason: str = ""
    deaths: tuple[Death, ...] = ()


@dataclass(frozen=True, slots=True)
class CloudStatus:
    """The status of a cloud. `age` and `uptime` are in seconds; `uptime` is 0 if it does not run.

    `health` `crashed`: it does not run although nobody stopped it (the supervisor died or the machine rebooted).
    """

    name: str
    health: Health
    nodes: NodeKind
    directory: Path
    server: str
    age: float
    uptime: float
    supervisor_pid: int
    versions: Mapping[str, str]
    ports: Mapping[str, int]
    addresses: Mapping[str, str]
    pools: tuple[PoolSpec, ...]
    services: tuple[ServiceStatus, ...]
    message: str = ""


def check_name(name: str) -> str:
    """`name` if it is valid as the name of a cloud; otherwise raises `ConfigurationError`."""
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"a cloud cannot be called {name!r}",
            resolution="use at most 63 lower-case letters, digits, '-' and '.', with a letter or digit at both ends",
        )
    return name
