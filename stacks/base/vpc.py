"""What landing zones in a vendor's VPC have in common: the network that a cluster is put into, and what it needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi

from stacks.base.landing import LandingZone
from wecityctl.errors import ConfigurationError

Identifiers = Mapping[str, pulumi.Input[str]]


@dataclass(frozen=True, slots=True)
class Network:
    """What a cluster is put into: subnets and their ranges by logical name, security groups by zone. `rules` and
    `ways_out` are what must stand before there are nodes. `ports` are the subnets as what takes an address in one names
    them, where that is another identifier."""

    id: pulumi.Input[str]
    subnets: Identifiers
    ranges: Identifiers
    groups: Identifiers
    rules: tuple[pulumi.Resource, ...]
    ways_out: tuple[pulumi.Resource, ...]
    ports: Identifiers = field(default_factory=dict)


def check_needs(zone: LandingZone, vendor: str, missing: Sequence[str]) -> None:
    """Raise `ConfigurationError` for `missing` settings, and for pools of which the vendor cannot make nodes."""
    name = zone.cloud.name
    if missing:
        raise ConfigurationError(f"cloud {name}: {vendor} needs {', '.join(missing)} in the Cloud's spec")
    made = zone.cloud.vendor.limits.architectures if zone.cloud.vendor is not None else ()
    for pool in zone.cloud.pools if zone.makes_cluster else ():
        if not pool.instance_types:
            raise ConfigurationError(f"cloud {name}: pool {pool.name} names no instanceTypes to make its nodes of")
        if pool.architecture not in made:
            raise ConfigurationError(f"cloud {name}: {vendor} has no {pool.architecture} nodes (pool {pool.name})")
