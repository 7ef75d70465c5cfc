"""What the control plane and the makers of nodes and add-ons owe each other.

The real node (`wecityctl.local.node`) implements `NodeDriver`; whatever serves both kinds of node implements `Addon`.
Both are found by `drivers.py`; neither knows how a cloud is started or supervised.
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
    """A cloud's addresses. `saved` is the maker's own text, kept in the cloud's state and handed back on each start.

    `api_address` is where the API server binds and what it advertises: on a real node an address of the cloud's own
    bridge, otherwise loopback. `gateway_address` is where node ports answer from this host (empty: nowhere).
    """

    api_address: str
    service_cidr: str
    pod_cidr: str
    node_ip: str = ""
    dns_ip: str = ""
    gateway_address: str = ""
    saved: str = ""


@dataclass(frozen=True, slots=True)
class Context:
    """Everything a driver or add-on may use of the cloud it works for.

    directory   the cloud's state directory, 0700 (…/clouds/<name>); a driver keeps its own below `directory / "node"`.
    run         a short runtime directory, 0700, for sockets; empty after a stop.
    logs        where service logs go (`<service>.log`).
    cloud_id    eight hex digits, stable for the life of the cloud, for interface, table and control-group names.
    pki         issues certificates: `ctx.pki.client(...)`, `ctx.pki.server(...)`.
    api         requests as the cloud's admin; only usable in `after_ready`.
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
        """The admin's kubeconfig, 0600."""
        return self.directory / "kubeconfig"

    def kubeconfig_for(self, user: str, groups: tuple[str, ...] = ()) -> Path:
        """Write a kubeconfig with a fresh client certificate (CN `user`, O `groups`); its path, 0600."""
        from wecityctl.local.kubeconfig import write_client

        return write_client(self.directory / "conf", self.pki, self.server, user, groups)


class NodeDriver(Protocol):
    """The maker of a cloud's real node."""

    def check(self) -> None:
        """Raise a `WecityError` that says what this machine lacks, if it cannot carry a real node."""

    def network(self, cloud_id: str, saved: str, taken: Collection[str]) -> Network:
        """The cloud's addresses: those of `saved` (a former answer; empty at first), otherwise a free block.

        `taken` are the saved texts of this user's other clouds. Changes nothing on the host.
        """

    def prepare(self, ctx: Context) -> tuple[Service, ...]:
        """Make what must be there before the API server starts (bridge, configuration); returns the node's services.

        Called on each start, also when the cloud runs already: then it must change nothing that works, and return equal
        services for an equal input.
        """

    def after_ready(self, ctx: Context) -> None:
        """Called once all services are ready: API objects (add-ons, labels), import of new images. Idempotent."""

    def teardown(self, ctx: Context) -> None:
        """Remove every process, mount, interface and rule of the node; services have ended. Idempotent, data is kept.

        Also called before a start that follows a crash or a reboot. `ctx.api` cannot be used.
        """

    def reset(self, ctx: Context) -> None:
        """Remove the node's data below `ctx.directory` that plain deletion cannot (mounts, control groups)."""

    def versions(self, ctx: Context) -> Mapping[str, str]:
        """The node's programs and their versions, for `status`."""


class Addon(Protocol):
    """Something that belongs to a cloud of either kind, such as the provisioner of volumes."""

    def services(self, ctx: Context) -> tuple[Service, ...]:
        """Services to be supervised with the control plane (after `kube-apiserver`); on real and simulated nodes."""

    def after_ready(self, ctx: Context) -> None:
        """Called once all services are ready, before the node driver's: API objects such as storage classes."""
