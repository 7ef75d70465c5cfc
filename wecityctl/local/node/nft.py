"""The base packet filter of a node's network namespace: what may leave the node, what may reach the node itself, and
who may pretend to be whom.

NetworkPolicy is another table (`wecityctl.local.netpol`): a packet must pass both; neither opens what the other closes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from wecityctl.local.node.network import UPLINK, Block

TABLE = "wecity-base"
# Interfaces towards other real nodes of this machine (see `crossing`).
INTERCONNECT = "wcx-"


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Another real node behind an interface of this one: the node ports that its pods may reach here (`serves`), and
    those of its that pods here may reach (`asks`)."""

    interface: str
    block: Block
    serves: tuple[int, ...]
    asks: tuple[int, ...]


def base_ruleset(block: Block, api_port: int, neighbours: Sequence[Neighbour] = ()) -> str:
    """An nft script that makes (or replaces, atomically) the base table.

    Pods reach each other and, of the world beyond the node, the API server and what neighbours serve them. Packets
    keep their source address; the host and the neighbours know the way back. The node's own programs are reached by
    themselves, by the host's end of the link, and by pods as far as the other table lets them.
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
    """A neighbour's pods to the pods behind a served node port, after kube-proxy has translated it."""
    if neighbour.serves:
        yield (
            f'iifname "{neighbour.interface}" ip saddr {neighbour.block.pod_cidr} ip daddr {block.pod_cidr} '
            f"meta l4proto tcp ct original ip daddr {block.node_ip} ct original proto-dst {_ports(neighbour.serves)} "
            "accept"
        )


def _leaving(block: Block, neighbour: Neighbour) -> Iterator[str]:
    """Pods to a node port of the neighbour; their NetworkPolicies say which pods."""
    if neighbour.asks:
        yield (
            f'oifname "{neighbour.interface}" ip saddr {block.pod_cidr} ip daddr {neighbour.block.node_ip} '
            f"tcp dport {_ports(neighbour.asks)} accept"
        )


def _ports(ports: Sequence[int]) -> str:
    return f"{{ {', '.join(map(str, ports))} }}"
