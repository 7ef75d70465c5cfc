"""The interfaces between the control plane, node drivers and add-ons.

The real node (`wecityctl.local.node`) implements `NodeDriver`. Components for both kinds of node implement `Addon`.
`drivers.py` finds both; neither depends on how a cloud is started or supervised.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from wecityctl.local.api import Api
from wecityctl.local.pki import Pki
from wecityctl.local.service import Service
from wecityctl.local.spec import CloudSpec, Report


@dataclass(frozen=True, slots=True)
class Network:
    """A cloud's addresses. `saved` is the node driver's own text, which is kept in the state and passed to each start.

    `api_address` is where the API server listens and what it advertises: on a real node, an address of the cloud's
    bridge, otherwise loopback. `gateway_address` is where this host reaches node ports (empty: not at all). `networks`
    are the ranges in which pods, Services and nodes are found; empty if they have no network.
    """

    api_address: str
    service_cidr: str
    pod_cidr: str
    node_ip: str = ""
    dns_ip: str = ""
    gateway_address: str = ""
    saved: str = ""
    networks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Context:
    """Everything that a driver or add-on may use of its cloud.

    directory   the cloud's state directory, 0700 (…/clouds/<name>); a driver's files are below `directory / "node"`.
    run         a short runtime directory, 0700, for sockets; empty after a stop.
    logs        the directory of service logs (`<service>.log`).
    cloud_id    eight hex digits, stable for the life of the cloud, for names of interfaces, tables and cgroups.
    pki         issues certificates: `ctx.pki.client(...)`, `ctx.pki.server(...)`.
    api         API requests as the cloud's admin; only usable in `after_ready`.
    """

    spec: CloudSpec
    cloud_id: str
    directory: Path
    run: Path
    logs: Path
    server: str
    network: Network
    pki: Pki
    api: Api = field(repr=False)
    report: Report = field(repr=False)

    @property
    def admin_kubeconfig(self) -> Path:
        """The path of the admin's kubeconfig, 0600."""
        return self.directory / "kubeconfig"

    def kubeconfig_for(self, user: str, groups: tuple[str, ...] = ()) -> Path:
        """Write a kubeconfig with a client certificate (CN `user`, O `groups`); returns its path, 0600."""
        from wecityctl.local.kubeconfig import write_client

        return write_client(self.directory / "conf", self.pki, self.server, user, groups)


class NodeDriver(Protocol):
    """Creates and removes a cloud's real node."""

    def check(self) -> None:
        """Raise a `WecityError` that says what is missing if this machine cannot run a real node."""

    def network(self, cloud_id: str, saved: str, taken: Collection[str]) -> Network:
        """The cloud's addresses: those of `saved` (a previous result; empty at first), otherwise a free block.

        `taken` are the saved texts of this user's other clouds. Changes nothing on the host.
        """

    def prepare(self, ctx: Context) -> tuple[Service, ...]:
        """Create what must exist before the API server starts (bridge, configuration); returns the node's services.

        Called on each start, also if the cloud is running already. It must then not disturb anything that works, and
        return equal services for equal input.
        """

    def after_ready(self, ctx: Context) -> None:
        """Create API objects (add-ons, labels) and import new images.

        Called when all services are ready. Idempotent.
        """

    def teardown(self, ctx: Context) -> None:
        """Remove all processes, mounts, interfaces and firewall rules of the node after its services ended.

        Idempotent; keeps the data. Also called before a start after a crash or a reboot. `ctx.api` is not usable.
        """

    def reset(self, ctx: Context) -> None:
        """Remove data of the node below `ctx.directory` that cannot just be deleted (mounts, cgroups)."""

    def versions(self, ctx: Context) -> Mapping[str, str]:
        """The node's programs and their versions, for `status`."""


class Addon(Protocol):
    """A component of clouds with either kind of node, such as the volume provisioner."""

    def services(self, ctx: Context) -> tuple[Service, ...]:
        """Services that are supervised with the control plane (after `kube-apiserver`), on real and simulated nodes."""

    def after_ready(self, ctx: Context) -> None:
        """Create API objects such as storage classes. Called when all services are ready, before the node driver's."""
