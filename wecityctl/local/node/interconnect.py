"""Connects two real nodes of this machine by a veth pair between their network namespaces.

The host forwards nothing and has no interface of the pair: both ends are created inside the nodes' namespaces, where
each node's base filter (`nft`) allows the declared node ports. The configuration is kept in the node's directory, so
that a restarted node connects to its neighbours again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from wecityctl.local.node.layout import Held, HoldSpec, Layout
from wecityctl.local.node.network import Block, run
from wecityctl.local.node.nft import INTERCONNECT, Neighbour, base_ruleset
from wecityctl.paths import write_private


@dataclass(frozen=True, slots=True)
class Interconnect:
    """A neighbour of a node: its `cloud_id`, address `block`, directory (`node`) and runtime directory (`run`).

    `serves` are node ports of this node that the neighbour's pods may reach; `asks` are those of the neighbour that
    this node's pods may reach.
    """

    cloud_id: str
    block: str
    node: str
    run: str
    serves: tuple[int, ...] = ()
    asks: tuple[int, ...] = ()

    @property
    def interface(self) -> str:
        """The name of this node's end of the pair."""
        return f"{INTERCONNECT}{self.cloud_id}"

    @property
    def layout(self) -> Layout:
        """The neighbour's directories."""
        return Layout(Path(self.node), Path(self.run))

    @property
    def neighbour(self) -> Neighbour:
        """The neighbour in the form that the base filter needs."""
        return Neighbour(self.interface, Block.parse(self.block), self.serves, self.asks)


def load(layout: Layout) -> tuple[Interconnect, ...]:
    """The saved neighbours of a node; empty if none were ever saved."""
    try:
        kept = json.loads(layout.interconnects.read_bytes())
    except FileNotFoundError:
        return ()
    return tuple(
        Interconnect(**{**item, "serves": tuple(item["serves"]), "asks": tuple(item["asks"])}) for item in kept
    )


def save(layout: Layout, interconnects: Iterable[Interconnect]) -> bool:
    """Save the neighbours of a node; returns whether anything changed."""
    text = json.dumps([asdict(item) for item in interconnects], indent=1).encode()
    if layout.interconnects.exists() and layout.interconnects.read_bytes() == text:
        return False
    write_private(layout.interconnects, text)
    return True


def join(spec: HoldSpec) -> tuple[str, ...]:
    """Apply the saved neighbours to a running node: first its filter, then the veth pairs.

    Idempotent; returns the interfaces that were created. A neighbour that does not run connects when it starts.
    """
    own = Held.load(spec.layout.hold_state)
    if own is None:
        return ()
    wanted = {item.interface: item for item in load(spec.layout)}
    _inside(own.pid, "nft", "-f", "-", stdin=ruleset(spec))
    there = set(_interfaces(own.pid))
    for interface in there - wanted.keys():
        _inside(own.pid, "ip", "link", "delete", interface)
    made = [interface for interface, item in wanted.items() if interface not in there and _connect(own.pid, spec, item)]
    return tuple(made)


def ruleset(spec: HoldSpec) -> str:
    """The node's base filter with rules for its neighbours."""
    return base_ruleset(spec.addresses, spec.api_port, [item.neighbour for item in load(spec.layout)])


def _connect(pid: int, spec: HoldSpec, interconnect: Interconnect) -> bool:
    """Create the pair with both ends inside the namespaces, if the neighbour runs; returns whether it was created."""
    other = Held.load(interconnect.layout.hold_state)
    if other is None:
        return False
    theirs = f"{INTERCONNECT}{spec.cloud_id}"
    if theirs in _interfaces(other.pid):
        # Left over from an earlier namespace of this node; deleting it also removes its other end.
        _inside(other.pid, "ip", "link", "delete", theirs)
    pair = ("ip", "link", "add", interconnect.interface, "netns", str(pid), "type", "veth")
    run(*pair, "peer", "name", theirs, "netns", str(other.pid))
    own, neighbour = spec.addresses, Block.parse(interconnect.block)
    _open(pid, interconnect.interface, own.node_ip, neighbour)
    _open(other.pid, theirs, neighbour.node_ip, own)
    return True


def _open(pid: int, interface: str, source: str, neighbour: Block) -> None:
    """Set up one end: bring it up and add routes to the neighbour's node and pods.

    It needs no address, because a node answers for its address on all its links.
    """
    _inside(pid, "ip", "link", "set", interface, "up")
    there = ("dev", interface, "onlink", "src", source)
    _inside(pid, "ip", "route", "replace", f"{neighbour.node_ip}/32", "dev", interface, "src", source)
    _inside(pid, "ip", "route", "replace", neighbour.pod_cidr, "via", neighbour.node_ip, *there)


def _interfaces(pid: int) -> Iterator[str]:
    """Yield the ends of pairs in the network namespace of process `pid`."""
    for item in json.loads(_inside(pid, "ip", "-j", "link", "show") or "[]"):
        if item["ifname"].startswith(INTERCONNECT):
            yield item["ifname"]


def _inside(pid: int, *command: str, stdin: str = "") -> str:
    return run("nsenter", "--target", str(pid), "--net", "--", *command, stdin=stdin)
