"""The address ranges of a city's own clusters, as far as its files say.

A running cluster tells more (`inputs.Cluster.networks`). Pure functions.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network

from wecityctl.model.city import Cloud

# From RFC 2544: not routed in networks. Each embedded cloud with a real node gets a part of it when it is started.
EMBEDDED = IPv4Network("198.18.0.0/15")


def declared_networks(cloud: Cloud) -> Iterator[tuple[IPv4Network, str]]:
    """Yield the ranges of a cloud's nodes, pods and Services that its file declares, each with what is in it."""
    if cloud.provider == "local":
        if cloud.local.nodes == "real":
            yield EMBEDDED, f"nodes and pods of cloud {cloud.name}"
        return
    if cloud.has_landing_zone:
        for text, what in (
            (cloud.network.cidr, "nodes"),
            (cloud.network.pods, "pods"),
            (cloud.network.services, "Services"),
        ):
            yield IPv4Network(text), f"{what} of cloud {cloud.name}"
    for text in cloud.interconnect.sources:
        yield IPv4Network(text), f"pods of cloud {cloud.name}"
    if cloud.interconnect.address:
        yield IPv4Network(cloud.interconnect.address), f"the address of cloud {cloud.name}"
