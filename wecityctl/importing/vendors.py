"""What was read of existing resources that a landing zone uses instead of creating them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class DiscoveredFacts:
    """What was read: the network's range, the subnets' ranges and availability zones by zone, and the cluster's
    version.
    """

    cidr: str = ""
    ranges: Mapping[str, str] = field(default_factory=dict)
    availability_zones: tuple[str, ...] = ()
    version: str = ""
