"""The base packet filter of a node's network namespace: what may leave the node, and who may pretend to be whom.

NetworkPolicy is another table (`wecityctl.local.netpol`): a packet must pass both; neither opens what the other closes.
"""

from __future__ import annotations

from wecityctl.local.node.network import UPLINK, Block

TABLE = "wecity-base"


def base_ruleset(block: Block, api_port: int) -> str:
    """An nft script that makes (or replaces, atomically) the base table.

    Pods reach each other and, of the world beyond the node, the API server alone. Packets keep their source address;
    the host knows the way back.
    """
    return f"""table inet {TABLE}
delete table inet {TABLE}
table inet {TABLE} {{
  chain forward {{
    type filter hook forward priority -10; policy drop;
    ct state established,related accept
    iifname != "{UPLINK}" ip saddr != {block.pod_cidr} drop comment "a pod speaks for itself alone"
    oifname "{UPLINK}" ip daddr {block.bridge_ip} tcp dport {api_port} accept
    oifname "{UPLINK}" reject with icmpx admin-prohibited
    ip daddr {block.pod_cidr} accept
  }}
}}
"""
