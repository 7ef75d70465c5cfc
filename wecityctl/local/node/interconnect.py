"""The way between two real nodes of this machine: one veth pair from namespace to namespace, and what may pass it.

The host forwards nothing and none of its interfaces is part of it: the pair is made with both ends in the nodes'
namespaces, where each node's own filter (`nft`) lets the node ports through that are named here. What a node may
reach and offer is kept in its directory, so that a node that is started again joins its neighbours by itself.
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
    """A neighbour of a node: `cloud_id` and `block` are its, `node` is its directory, `run` its runtime directory.

    `serves` are node ports of this node that the neighbour's pods may reach, `asks` those of the neighbour that this
    node's pods may.
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
        """As the filter knows it."""
        return Neighbour(self.interface, Block.parse(self.block), self.serves, self.asks)


def load(layout: Layout) -> tuple[Interconnect, ...]:
    """What is kept for a node; nothing where nothing was ever written."""
    try:
        kept = json.loads(layout.interconnects.read_bytes())
    except FileNotFoundError:
        return ()
    return tuple(
        Interconnect(**{**item, "serves": tuple(item["serves"]), "asks": tuple(item["asks"])}) for item in kept
    )


def save(layout: Layout, interconnects: Iterable[Interconnect]) -> bool:
    """Keep what a node may reach and offer; whether anything is new."""
    text = json.dumps([asdict(item) for item in interconnects], indent=1).encode()
    if layout.interconnects.exists() and layout.interconnects.read_bytes() == text:
        return False
    write_private(layout.interconnects, text)
    return True


def join(spec: HoldSpec) -> tuple[str, ...]:
    """Bring a running node's neighbourhood to what is kept for it: its filter first, then the pairs.

    Idempotent; returns the interfaces that were made. A neighbour that does not run joins when it is started.
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
    """The node's base filter with its neighbours."""
    return base_ruleset(spec.addresses, spec.api_port, [item.neighbour for item in load(spec.layout)])


def _connect(pid: int, spec: HoldSpec, interconnect: Interconnect) -> bool:
    """Make the pair, if the neighbour runs, with both ends already inside: the host never sees a packet of it."""
    other = Held.load(interconnect.layout.hold_state)
    if other is None:
        return False
    theirs = f"{INTERCONNECT}{spec.cloud_id}"
    if theirs in _interfaces(other.pid):
        # Of a namespace of ours that is gone, or about to be: its far end goes with it, this one is in the way.
        _inside(other.pid, "ip", "link", "delete", theirs)
    pair = ("ip", "link", "add", interconnect.interface, "netns", str(pid), "type", "veth")
    run(*pair, "peer", "name", theirs, "netns", str(other.pid))
    own, neighbour = spec.addresses, Block.parse(interconnect.block)
    _open(pid, interconnect.interface, own.node_ip, neighbour)
    _open(other.pid, theirs, neighbour.node_ip, own)
    return True


def _open(pid: int, interface: str, source: str, neighbour: Block) -> None:
    """One end: up, and the way to the neighbour's node and pods. It has no address of its own; a node answers for its
    address on all its links."""
    _inside(pid, "ip", "link", "set", interface, "up")
    there = ("dev", interface, "onlink", "src", source)
    _inside(pid, "ip", "route", "replace", f"{neighbour.node_ip}/32", "dev", interface, "src", source)
    _inside(pid, "ip", "route", "replace", neighbour.pod_cidr, "via", neighbour.node_ip, *there)


def _interfaces(pid: int) -> Iterator[str]:
    """The ends of pairs in the namespace of `pid`."""
    for item in json.loads(_inside(pid, "ip", "-j", "link", "show") or "[]"):
        if item["ifname"].startswith(INTERCONNECT):
            yield item["ifname"]


def _inside(pid: int, *command: str, stdin: str = "") -> str:
    return run("nsenter", "--target", str(pid), "--net", "--", *command, stdin=stdin)
