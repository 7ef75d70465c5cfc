"""Address ranges that a landing zone cannot have: what each vendor keeps for itself, what its nodes use inside, and how
large a network may be. Each line names the vendor's own words for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network

from wecityctl.model.city import ProviderKind

_MAINLAND: tuple[ProviderKind, ...] = ("alicloud", "tencentcloud", "huaweicloud")


@dataclass(frozen=True, slots=True)
class Reserved:
    """A range that no part of a landing zone may touch: on which vendors, what it is there, and who says so."""

    range: IPv4Network
    vendors: tuple[ProviderKind, ...]
    what: str
    source: str


RESERVED: tuple[Reserved, ...] = (
    Reserved(
        IPv4Network("100.64.0.0/10"),
        ("alicloud",),
        "is the vendor's own, and refused for a VPC",
        'CreateVpc, `CidrBlock`: "a custom CIDR block other than 100.64.0.0/10, 224.0.0.0/4, 127.0.0.0/8, '
        '169.254.0.0/16, and their subnets"; AssociateVpcCidrBlock says the same of a second range',
    ),
    Reserved(
        IPv4Network("100.64.0.0/10"),
        ("tencentcloud",),
        "is refused for a VPC and for a cluster",
        "CreateVpc, `CidrBlock`: only within 10.0.0.0/12, 172.16.0.0/12, 192.168.0.0/16; CreateCluster, "
        '`ClusterCIDR` and `ServiceCIDR`: "must be in 10./192.168/172.[16-31] segments"',
    ),
    Reserved(
        IPv4Network("100.64.0.0/10"),
        ("huaweicloud",),
        "is refused for a VPC, and has the vendor's name servers",
        "CreateVpc, `cidr`: 10.0.0.0/8 to 10.255.255.0/24, 172.16.0.0/12 to 172.31.255.0/24, or 192.168.0.0/16 to "
        "192.168.255.0/24; VPN: 100.64.0.0/10 is a range that VPCs keep; DNS: private name servers in 100.125.0.0/16",
    ),
    Reserved(
        IPv4Network("172.17.0.0/16"),
        (*_MAINLAND, "openstack"),
        "is Docker's bridge on every node that has Docker",
        "Docker, `default-address-pools`: 172.17.0.0/16 is the first, for docker0",
    ),
)
"""What no landing zone of a vendor may have, beside what is not private at all."""

PREFIXES: dict[ProviderKind, tuple[int, int]] = {
    # "The subnet mask must be 8 to 28 bits in length."
    "alicloud": (8, 28),
    # Within 10.0.0.0/12, 172.16.0.0/12 or 192.168.0.0/16.
    "tencentcloud": (12, 28),
    # 10.0.0.0/8 to 10.255.255.0/24, and so on.
    "huaweicloud": (8, 24),
}
"""The shortest and the longest prefix that a vendor takes for a network, from the sources above."""

LARGEST_SUBNETS: dict[ProviderKind, int] = {
    # CreateVSwitch, `CidrBlock`: "The subnet mask must be 16 to 29 bits in length."
    "alicloud": 16,
}
"""The shortest prefix that a vendor takes for a subnet."""


def reserved_on(provider: ProviderKind, cidr: str) -> Reserved | None:
    """The first reserved range of the vendor that `cidr` touches, if any."""
    found = IPv4Network(cidr)
    return next((item for item in RESERVED if provider in item.vendors and item.range.overlaps(found)), None)
