"""Types and checks that landing zones in a vendor's VPC share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi

from stacks.base.landing import LandingZone
from wecityctl.errors import ConfigurationError

Identifiers = Mapping[str, pulumi.Input[str]]


@dataclass(frozen=True, slots=True)
class Network:
    """The network of a cluster: subnets and their ranges by logical name, security groups by zone.

    `rules` and `ways_out` (egress) must exist before nodes are created. `ports` maps a subnet's logical name to the
    identifier that resources with an address in it need, if this is not the subnet's own.
    """

    id: pulumi.Input[str]
    subnets: Identifiers
    ranges: Identifiers
    groups: Identifiers
    rules: tuple[pulumi.Resource, ...]
    ways_out: tuple[pulumi.Resource, ...]
    ports: Identifiers = field(default_factory=dict)


def check_needs(zone: LandingZone, vendor: str, missing: Sequence[str]) -> None:
    """Raise `ConfigurationError` for `missing` settings, and for pools of which the vendor cannot create nodes."""
    name = zone.cloud.name
    if missing:
        raise ConfigurationError(f"cloud {name}: {vendor} needs {', '.join(missing)} in the Cloud's spec")
    made = zone.cloud.vendor.limits.architectures if zone.cloud.vendor is not None else ()
    for pool in zone.cloud.pools if zone.makes_cluster else ():
        if not pool.instance_types:
            raise ConfigurationError(f"cloud {name}: pool {pool.name} names no instanceTypes to make its nodes of")
        if pool.architecture not in made:
            raise ConfigurationError(f"cloud {name}: {vendor} has no {pool.architecture} nodes (pool {pool.name})")
