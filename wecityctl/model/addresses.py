"""Which address range each zone of a landing zone has: pure functions over the city's files.

A network is cut into 64 equal shares: four quarters, one for each availability zone in which a vendor's subnets may be
tied down, of sixteen shares each. A zone's share is chosen by a digest of its name, so that zones added or removed
later leave it where it is; only two zones that want the same share are told apart by their order in the file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, collapse_addresses

from wecityctl.model.city import Cloud, Network

# RFC 1918, and last, for what lies behind somebody's address translation, RFC 6598.
PRIVATE = tuple(map(IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")))
QUARTERS = 4
SHARES = 16
_BITS = 6
# The smallest subnet that all vendors take is a /28.
SMALLEST_SUBNET = 28
# As many addresses as one private /16 has: whoever needs more than that has the internet in mind.
_MOST_CALLERS = 2**16


class NoSpaceError(ValueError):
    """A network cannot be shared out as asked; `zone` is the one that found nothing."""

    def __init__(self, message: str, zone: str) -> None:
        super().__init__(message)
        self.zone = zone


@dataclass(frozen=True, slots=True)
class SubnetRange:
    """The range of a zone in an availability zone, which is empty where the vendor's subnets span them all."""

    zone: str
    availability_zone: str
    cidr: str


def is_no_access_list(ranges: Iterable[str]) -> bool:
    """Whether the ranges that may reach a public address are wider together than an access list of people is."""
    callers = collapse_addresses(IPv4Network(cidr, strict=False) for cidr in ranges)
    return sum(found.num_addresses for found in callers) > _MOST_CALLERS


def has_zonal_subnets(cloud: Cloud) -> bool:
    """Whether the vendor ties a subnet to one availability zone."""
    return cloud.vendor is not None and cloud.vendor.zonal_subnets


def subnet_ranges(cloud: Cloud) -> tuple[SubnetRange, ...]:
    """The range of every subnet of the cloud, zones in file order, and of each its availability zones in order.

    Raises `NoSpaceError` when they do not fit and `ValueError` for a range that is none.
    """
    places = cloud.settings.places[:QUARTERS] if has_zonal_subnets(cloud) else ()
    by_place = [zone_ranges(cloud.network, cloud.zones, quarter) for quarter in range(max(1, len(places)))]
    return tuple(
        SubnetRange(zone, place, ranges[zone])
        for zone in cloud.zones
        for place, ranges in zip(places or ("",), by_place, strict=True)
    )


def zone_ranges(network: Network, zones: Sequence[str], quarter: int = 0) -> dict[str, str]:
    """The range of each zone in one quarter of the network. Ranges that the file pins hold for the first quarter, and
    are kept clear in all of them."""
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
    """A quarter of the pods' range for each availability zone, where pods have subnets of their own."""
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
    """Which of the sixteen shares a zone takes when it is free."""
    return hashlib.sha256(zone.encode()).digest()[-1] % SHARES
