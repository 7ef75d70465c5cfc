"""Allocates the address ranges of a landing zone's subnets. Pure functions of the city's files.

A network is divided into 64 equal shares: four quarters of sixteen shares. A vendor with zonal subnets uses one quarter
for each availability zone. A zone's share is chosen by a digest of its name, so that adding or removing zones does not
move it. If two zones want the same share, their order in the file decides.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, collapse_addresses

from wecityctl.model.city import Cloud, Network

# Private ranges of RFC 1918 and, last, the shared address space of RFC 6598 (carrier-grade NAT).
PRIVATE = tuple(map(IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")))
QUARTERS = 4
SHARES = 16
_BITS = 6
# The smallest subnet that all vendors accept is a /28.
SMALLEST_SUBNET = 28
# The number of addresses of a /16. A wider access list is treated as none.
_MOST_CALLERS = 2**16


class NoSpaceError(ValueError):
    """A network has no space for the requested subnets. `zone` is the zone that got none."""

    def __init__(self, message: str, zone: str) -> None:
        super().__init__(message)
        self.zone = zone


@dataclass(frozen=True, slots=True)
class SubnetRange:
    """The range (CIDR) of a zone in an availability zone; `availability_zone` is empty if subnets are regional."""

    zone: str
    availability_zone: str
    cidr: str


def is_no_access_list(ranges: Iterable[str]) -> bool:
    """Whether `ranges`, which may reach a public address, have more than 2^16 addresses together."""
    callers = collapse_addresses(IPv4Network(cidr, strict=False) for cidr in ranges)
    return sum(found.num_addresses for found in callers) > _MOST_CALLERS


def has_zonal_subnets(cloud: Cloud) -> bool:
    """Whether the vendor's subnets belong to one availability zone each."""
    return cloud.vendor is not None and cloud.vendor.zonal_subnets


def subnet_ranges(cloud: Cloud) -> tuple[SubnetRange, ...]:
    """The ranges of all subnets of the cloud: zones in file order, and for each zone its availability zones in order.

    Raises `NoSpaceError` if they do not fit, and `ValueError` for an invalid range.
    """
    places = cloud.settings.places[:QUARTERS] if has_zonal_subnets(cloud) else ()
    by_place = [zone_ranges(cloud.network, cloud.zones, quarter) for quarter in range(max(1, len(places)))]
    return tuple(
        SubnetRange(zone, place, ranges[zone])
        for zone in cloud.zones
        for place, ranges in zip(places or ("",), by_place, strict=True)
    )


def zone_ranges(network: Network, zones: Sequence[str], quarter: int = 0) -> dict[str, str]:
    """The range (CIDR) of each zone in one quarter of the network.

    Ranges given in the file apply to the first quarter, and are kept free in all of them.
    """
    whole = IPv4Network(network.cidr)
    pinned = {zone: IPv4Network(cidr) for zone, cidr in network.subnets.items()}
    taken = list(pinned.values())
    ranges: dict[str, str] = {}
    for zone in zones:
        if zone in pinned and quarter == 0:
            ranges[zone] = str(pinned[zone])
            continue
        share = _share(whole, zone, quarter, taken)
        taken.append(share)
        ranges[zone] = str(share)
    return ranges


def pod_ranges(network: Network, count: int) -> tuple[str, ...]:
    """The first `count` quarters of the pod range, one for each availability zone, for vendors with pod subnets."""
    whole = IPv4Network(network.pods)
    length = whole.prefixlen + 2
    step = 2 ** (32 - length)
    return tuple(str(IPv4Network((int(whole.network_address) + index * step, length))) for index in range(count))


def _share(whole: IPv4Network, zone: str, quarter: int, taken: Sequence[IPv4Network]) -> IPv4Network:
    length = whole.prefixlen + _BITS
    if length > SMALLEST_SUBNET:
        raise NoSpaceError(f"{whole} is too small to give each zone a share of it", zone)
    first = preferred_share(zone)
    for step in range(SHARES):
        index = quarter * SHARES + (first + step) % SHARES
        share = IPv4Network((int(whole.network_address) + index * 2 ** (32 - length), length))
        if not any(share.overlaps(other) for other in taken):
            return share
    raise NoSpaceError(f"{whole} has no share left for zone {zone}", zone)


def preferred_share(zone: str) -> int:
    """The index (0 to 15) of the share that a zone takes if it is free."""
    return hashlib.sha256(zone.encode()).digest()[-1] % SHARES
