"""What was read of the things that a landing zone may find instead of make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class DiscoveredFacts:
    """What was read: the network's range, ranges and availability zones of subnets by zone, the cluster's version."""

    cidr: str = ""
    ranges: Mapping[str, str] = field(default_factory=dict)
    availability_zones: tuple[str, ...] = ()
    version: str = ""
