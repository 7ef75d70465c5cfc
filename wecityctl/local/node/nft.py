"""Renders the base packet filter of a node's network namespace: egress, access to the node, source addresses.

NetworkPolicy is a separate table (`wecityctl.local.netpol`). A packet must pass both tables; neither can allow what the
other denies.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from wecityctl.local.node.network import UPLINK, Block

TABLE = "wecity-base"
# Prefix of interfaces towards other real nodes of this machine (see `interconnect`).
INTERCONNECT = "wcx-"


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Another real node, connected by `interface`.

    `serves` are the node ports of this node that its pods may reach; `asks` are its node ports that pods here may
    reach.
    """

    interface: str
    block: Block
    serves: tuple[int, ...]
    asks: tuple[int, ...]


def base_ruleset(block: Block, api_port: int, neighbours: Sequence[Neighbour] = ()) -> str:
    """An nft script that atomically creates or replaces the base table.

    Pods may reach each other, the API server, and the allowed node ports of neighbours. Packets keep their source
    address; host and neighbours have routes back. The node's own programs can be reached by themselves, by the host
    over the link, and by pods if the policy table allows it.
    """
    arriving = "".join(f"    {line}\n" for each in neighbours for line in _arriving(block, each))
    leaving = "".join(f"    {line}\n" for each in neighbours for line in _leaving(block, each))
    return f"""table inet {TABLE}
delete table inet {TABLE}
table inet {TABLE} {{
  chain forward {{
    type filter hook forward priority -10; policy drop;
    meta nfproto ipv6 drop
    ct state established,related accept
{arriving}    iifname "{INTERCONNECT}*" drop comment "neighbours reach what is served to them alone"
    iifname != "{UPLINK}" ip saddr != {block.pod_cidr} drop comment "a pod speaks for itself alone"
    oifname "{UPLINK}" ip daddr {block.bridge_ip} tcp dport {api_port} accept
    oifname "{UPLINK}" reject with icmpx admin-prohibited
{leaving}    oifname "{INTERCONNECT}*" reject with icmpx admin-prohibited
    ip daddr {block.pod_cidr} accept
  }}
  chain input {{
    type filter hook input priority -10; policy drop;
    iifname "lo" accept
    ip daddr 127.0.0.0/8 drop comment "kernel settings for host ports would let pods reach the node's loopback"
    iifname "{UPLINK}" ip saddr {block.bridge_ip} accept
    iifname "{UPLINK}" drop comment "of the host its end of the link alone"
    ct direction reply ct state established,related accept
    iifname "{INTERCONNECT}*" drop comment "a node is no neighbour's business"
    ip saddr {block.pod_cidr} accept comment "judged by the pods' network policies"
  }}
}}
"""


def _arriving(block: Block, neighbour: Neighbour) -> Iterator[str]:
    """Yield rules from a neighbour's pods to pods behind a served node port, after kube-proxy translated the
    address.
    """
    if neighbour.serves:
        yield (
            f'iifname "{neighbour.interface}" ip saddr {neighbour.block.pod_cidr} ip daddr {block.pod_cidr} '
            f"meta l4proto tcp ct original ip daddr {block.node_ip} ct original proto-dst {_ports(neighbour.serves)} "
            "accept"
        )


def _leaving(block: Block, neighbour: Neighbour) -> Iterator[str]:
    """Yield rules from pods to node ports of the neighbour. NetworkPolicy restricts which pods."""
    if neighbour.asks:
        yield (
            f'oifname "{neighbour.interface}" ip saddr {block.pod_cidr} ip daddr {neighbour.block.node_ip} '
            f"tcp dport {_ports(neighbour.asks)} accept"
        )


def _ports(ports: Sequence[int]) -> str:
    return f"{{ {', '.join(map(str, ports))} }}"
