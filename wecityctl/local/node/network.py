"""The node's addresses and the host's side of its link: an address block per cloud, a bridge, a veth pair, routes.

Addresses are from 198.18.0.0/15 (RFC 2544), which is not routed in networks, so that no network of a city is hidden.
`namespace_setup` configures the inside of the network namespace; `nft` and `netpol` filter packets.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

from wecityctl.errors import DeploymentError
from wecityctl.model.own_networks import EMBEDDED

POOL = EMBEDDED
BLOCK_PREFIX = 21
UPLINK = "eth0"


@dataclass(frozen=True, slots=True)
class Block:
    """A cloud's /21: a /24 for the link, a /23 for pods and a /22 for Services."""

    network: IPv4Network

    @classmethod
    def parse(cls, text: str) -> Block:
        """Parse what `str` returns. Raises ValueError for anything that is not such a block."""
        network = IPv4Network(text)
        if network.prefixlen != BLOCK_PREFIX or not network.subnet_of(POOL):
            raise ValueError(f"{text} is not a /{BLOCK_PREFIX} of {POOL}")
        return cls(network)

    def __str__(self) -> str:
        return str(self.network)

    @property
    def link_cidr(self) -> str:
        """The /24 between host and node."""
        return str(next(self.network.subnets(new_prefix=24)))

    @property
    def bridge_ip(self) -> str:
        """The host's address on the link, at which the API server listens."""
        return str(self.network[1])

    @property
    def node_ip(self) -> str:
        """The node's address, for node ports and the kubelet."""
        return str(self.network[2])

    @property
    def pod_cidr(self) -> str:
        """The pods' range; a /23, so that 110 pods can be replaced without waiting for an address."""
        return str(list(self.network.subnets(new_prefix=23))[1])

    @property
    def service_cidr(self) -> str:
        """The range of cluster IPs."""
        return str(list(self.network.subnets(new_prefix=22))[1])

    @property
    def service_ip(self) -> str:
        """The cluster IP of the `kubernetes` Service."""
        return str(IPv4Network(self.service_cidr)[1])

    @property
    def dns_ip(self) -> str:
        """The cluster IP of the DNS Service."""
        return str(IPv4Network(self.service_cidr)[10])


@dataclass(frozen=True, slots=True)
class Link:
    """The names of the host's interfaces for one cloud; at most 15 characters, the kernel's limit."""

    bridge: str
    veth: str

    @classmethod
    def of(cls, cloud_id: str) -> Link:
        """The names for the cloud with this ID, eight hex digits."""
        return cls(f"wcb-{cloud_id}", f"wcv-{cloud_id}")


def _in_use(addresses: object, routes: object, ours: str) -> Iterable[tuple[str, IPv4Network]]:
    """Interfaces and networks in the output of `ip -j -4 addr` and `ip -j -4 route show table all`, without `ours`."""
    assert isinstance(addresses, list) and isinstance(routes, list)
    for interface in addresses:
        for item in interface.get("addr_info", ()):
            if interface["ifname"] != ours:
                yield interface["ifname"], IPv4Network(f"{item['local']}/{item['prefixlen']}", strict=False)
    for route in routes:
        destination = route.get("dst", "default")
        if destination != "default" and route.get("dev", "") != ours:
            yield route.get("dev", ""), IPv4Network(destination, strict=False)


def _host_networks(ours: str = "") -> tuple[tuple[str, IPv4Network], ...]:
    addresses = json.loads(run("ip", "-j", "-4", "address", "show") or "[]")
    routes = json.loads(run("ip", "-j", "-4", "route", "show", "table", "all") or "[]")
    return tuple(item for item in _in_use(addresses, routes, ours) if item[1].prefixlen > 0)


def choose(cloud_id: str, in_use: Iterable[IPv4Network], taken: Collection[Block]) -> Block:
    """A block that overlaps neither the host's networks nor the recorded blocks of other clouds.

    The search starts at a position that depends on the cloud, so that clouds of users who do not see each other rarely
    choose the same block.
    """
    networks = (*in_use, *(block.network for block in taken))
    candidates = list(POOL.subnets(new_prefix=BLOCK_PREFIX))
    first = int(cloud_id, 16) % len(candidates)
    for candidate in candidates[first:] + candidates[:first]:
        if not any(candidate.overlaps(network) for network in networks):
            return Block(candidate)
    raise DeploymentError(
        f"no free address block in {POOL} for the node's network",
        resolution="stop or reset an embedded cloud that is no longer needed: wecityctl local status",
    )


def allocate(cloud_id: str, taken: Collection[Block]) -> Block:
    """A block that is currently free on this machine; the caller records it."""
    return choose(cloud_id, (network for _, network in _host_networks()), taken)


def check_free(link: Link, block: Block) -> None:
    """Raise `DeploymentError` if something else on this host uses the block by now: another user's cloud, or a VPN."""
    others = {device for device, network in _host_networks(link.bridge) if network.overlaps(block.network)}
    if others:
        raise DeploymentError(
            f"the addresses of this cloud, {block}, are in use on this machine by {', '.join(sorted(others))}",
            details="a cloud keeps its addresses for life, since its objects carry them",
            resolution="stop what uses them (interfaces wcb-… are other embedded clouds), or reset this cloud",
        )


def exists(interface: str) -> bool:
    """Whether the host has the interface."""
    return Path("/sys/class/net", interface).exists()


def ensure_bridge(link: Link, block: Block) -> None:
    """Create the bridge, which is kept when the node dies, so that the API server keeps its address."""
    if not exists(link.bridge):
        run("ip", "link", "add", link.bridge, "type", "bridge")
    Path(f"/proc/sys/net/ipv6/conf/{link.bridge}/disable_ipv6").write_text("1")
    run("ip", "address", "replace", f"{block.bridge_ip}/24", "dev", link.bridge)
    run("ip", "link", "set", link.bridge, "up")


def connect(link: Link, block: Block, pid: int) -> None:
    """Connect the network namespace of process `pid` to the bridge, and route pods and Services through the node."""
    remove_interface(link.veth)
    run("ip", "link", "add", link.veth, "type", "veth", "peer", "name", UPLINK, "netns", str(pid))
    Path(f"/proc/sys/net/ipv6/conf/{link.veth}/disable_ipv6").write_text("1")
    run("ip", "link", "set", link.veth, "master", link.bridge, "up")
    for cidr in (block.pod_cidr, block.service_cidr):
        run("ip", "route", "replace", cidr, "via", block.node_ip, "dev", link.bridge)


def remove_interface(name: str) -> None:
    """Remove an interface if it exists. Removing a veth also removes its peer."""
    if exists(name):
        run("ip", "link", "delete", name)


def disconnect(link: Link) -> None:
    """Remove both interfaces; their routes disappear with the bridge."""
    remove_interface(link.veth)
    remove_interface(link.bridge)


def run(*command: str, stdin: str = "") -> str:
    """Run a system tool; returns its output. Raises an error with the tool's message as details."""
    try:
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=30, check=True)
    except FileNotFoundError as error:
        raise DeploymentError(
            f"{command[0]} is not installed", resolution="wecityctl doctor says which package has it"
        ) from error
    except subprocess.SubprocessError as error:
        details = getattr(error, "stderr", "") or str(error)
        raise DeploymentError(f"{' '.join(command)} failed", details=details.strip()) from error
    return done.stdout
