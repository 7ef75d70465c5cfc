"""Looks up address ranges that a vendor reserves, which a landing zone cannot use."""

from __future__ import annotations

from ipaddress import IPv4Network

from wecityctl.model.vendors import Reserved, vendors

DOCKER_BRIDGE = Reserved(
    IPv4Network("172.17.0.0/16"),
    "is Docker's bridge on every node that has Docker",
    "Docker, `default-address-pools`: 172.17.0.0/16 is the first, for docker0",
)


def reserved_on(provider: str, cidr: str) -> Reserved | None:
    """The first reserved range of the vendor that overlaps `cidr`; `None` without one."""
    vendor, found = vendors().get(provider), IPv4Network(cidr)
    reserved = vendor.reserved if vendor is not None else ()
    return next((item for item in reserved if item.range.overlaps(found)), None)
