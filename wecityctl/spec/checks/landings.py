"""What a vendor's landing zone cannot be made without: region, availability zones, machine types, images, SM keys."""

from __future__ import annotations

from collections.abc import Iterator

from wecityctl.errors import Problem
from wecityctl.model.addresses import QUARTERS, has_zonal_subnets, is_no_access_list
from wecityctl.model.city import City, Cloud
from wecityctl.model.quantity import parse_quantity
from wecityctl.model.vendors import Limits
from wecityctl.spec.checks.check import Check
from wecityctl.spec.fields import nearest, one_of
from wecityctl.spec.nodes import PathItem
from wecityctl.spec.parsed_city import ParsedCity, Sourced


def regions(parsed_city: ParsedCity) -> Iterator[Problem]:
    """A landing zone is made in a region."""
    for cloud in _landing(parsed_city):
        if not cloud.value.region:
            message = f"a landing zone on {cloud.value.provider} needs a region"
            yield cloud.problem(("spec", "region"), message, "the vendor's name of the region")


def places(parsed_city: ParsedCity) -> Iterator[Problem]:
    """Subnets that a vendor ties to an availability zone need one; a network is shared out over four at most."""
    for cloud in _landing(parsed_city):
        value = cloud.value
        if not has_zonal_subnets(value):
            continue
        found = value.settings.places
        path = ("spec", value.provider, "availabilityZones")
        if not found and _makes_subnets(value):
            message = f"subnets on {value.provider} lie in an availability zone, and none is given"
            yield cloud.problem(path, message, "at least one")
        for index, name in enumerate(found):
            if name in found[:index]:
                yield cloud.problem((*path, index), f"availability zone {name!r} is named twice", "each zone once")
        if len(found) > QUARTERS:
            yield cloud.problem(path, f"{len(found)} availability zones", f"{QUARTERS} at most")


def machine_types(parsed_city: ParsedCity) -> Iterator[Problem]:
    """The nodes of a pool are machines of a type that only the vendor can name."""
    for cloud in _landing(parsed_city):
        if cloud.value.existing.cluster:
            continue
        for index, pool in enumerate(cloud.value.pools):
            path = ("spec", "pools", index, "instanceTypes")
            if not pool.instance_types:
                message = f"pool {pool.name!r} names no machine type of {cloud.value.provider}"
                yield cloud.problem(path, message, "the vendor's names")


def architectures(parsed_city: ParsedCity) -> Iterator[Problem]:
    """A vendor makes nodes of the architectures that it has machines and images for."""
    for cloud in _landing(parsed_city):
        made = limits_of(cloud.value).architectures
        if cloud.value.existing.cluster or not made:
            continue
        for index, pool in enumerate(cloud.value.pools):
            if pool.architecture not in made:
                message = f"{cloud.value.provider} makes no nodes of {pool.architecture}"
                yield cloud.problem(("spec", "pools", index, "architecture"), message, one_of(made))


def security_groups(parsed_city: ParsedCity) -> Iterator[Problem]:
    """A node has a security group for each zone that its pool serves, and a vendor takes a few for one node."""
    for cloud in _landing(parsed_city):
        most = limits_of(cloud.value).security_groups
        if cloud.value.existing.cluster or not most:
            continue
        for index, pool in enumerate(cloud.value.pools):
            needed = len(pool.zones or cloud.value.zones) + 1
            if needed > most:
                message = (
                    f"nodes of pool {pool.name!r} need {needed} security groups, one for each zone and one of all"
                    f" nodes; {cloud.value.provider} takes {most}"
                )
                path: tuple[PathItem, ...] = ("spec", "pools", index, *(("zones",) if pool.zones else ()))
                yield cloud.problem(path, message, f"pools of at most {most - 1} zones each", on_key=bool(pool.zones))


def disks(parsed_city: ParsedCity) -> Iterator[Problem]:
    """The storage of a pool's nodes is one disk of each."""
    for cloud in _landing(parsed_city):
        largest = limits_of(cloud.value).disk_gib
        if cloud.value.existing.cluster or not largest:
            continue
        for index, pool in enumerate(cloud.value.pools):
            if parse_quantity(pool.storage or "0") > largest * 2**30:
                message = f"{cloud.value.provider} makes no disk of {pool.storage} for a node"
                yield cloud.problem(("spec", "pools", index, "storage"), message, f"{largest:,}Gi at most")


def vendor_settings(parsed_city: ParsedCity) -> Iterator[Problem]:
    """What each vendor's landing zone asks of a Cloud, by the vendor's own check."""
    city = parsed_city.city.value if parsed_city.city is not None else None
    for cloud in _landing(parsed_city):
        if cloud.value.vendor is not None:
            for fault in cloud.value.vendor.check(city, cloud.value):
                yield cloud.problem(fault.path, fault.message, fault.expected, on_key=fault.on_key)


def balancers(parsed_city: ParsedCity) -> Iterator[Problem]:
    """Load balancers are of zones that the cloud serves, and of a cluster that a landing zone makes."""
    for cloud in parsed_city.clouds:
        value = cloud.value
        if value.balancers is None:
            continue
        if not value.has_landing_zone or value.existing.cluster or value.kubernetes.ingress_class:
            message = "no landing zone makes the way into this cluster"
            wanted = "a cloud whose cluster a landing zone makes, without ingressClass"
            yield cloud.problem(("spec", "balancers"), message, wanted, on_key=True)
            continue
        for index, zone in enumerate(value.balancers):
            path = ("spec", "balancers", index)
            if zone not in value.zones:
                message = f"cloud {value.name!r} does not serve zone {zone!r}"
                yield cloud.problem(path, message, one_of(value.zones), nearest(zone, value.zones))
            elif zone in value.balancers[:index]:
                yield cloud.problem(path, f"zone {zone!r} is named twice", "each zone once")


def public_apis(parsed_city: ParsedCity) -> Iterator[Problem]:
    """An API on the internet is one that a landing zone makes, with an access list, and not beside an extranet."""
    path = ("spec", "publicApi")
    for cloud in parsed_city.clouds:
        value = cloud.value
        if not value.public_api.allow_from:
            continue
        if not value.has_landing_zone or value.existing.cluster:
            message = "no landing zone makes this cluster's API, so none can open it"
            yield cloud.problem(path, message, "a cloud whose cluster a landing zone makes", on_key=True)
        elif value.vendor is not None and value.vendor.no_access_list:
            message = f"{value.provider} has an access list for its API, but {value.vendor.no_access_list}"
            yield cloud.problem(path, message, "a private way to the API, such as a VPN or a bastion", on_key=True)
        elif parsed_city.city is not None:
            yield from _unfit_for_public_api(cloud, parsed_city.city.value)


def _unfit_for_public_api(cloud: Sourced[Cloud], city: City) -> Iterator[Problem]:
    path = ("spec", "publicApi")
    if is_no_access_list(cloud.value.public_api.allow_from):
        message = f"the {len(cloud.value.public_api.allow_from)} ranges are wider together than a /16"
        yield cloud.problem((*path, "allowFrom"), message, "the ranges of those who run the city", on_key=True)
    kinds = {zone.kind for zone in city.zones if zone.name in cloud.value.zones}
    if "government-extranet" in kinds:
        yield cloud.problem(path, "an extranet's cluster must not be on the internet", "a private API", on_key=True)
    elif "internet" not in kinds:
        message = "no zone of the cloud is open to the internet"
        yield cloud.problem(path, message, "a private API, or a zone of kind internet", on_key=True)


def sm_keys(parsed_city: ParsedCity) -> Iterator[Problem]:
    """A city that requires SM cryptography is not carried by a cloud that has none: AES in its place would be a lie."""
    if parsed_city.city is None or not parsed_city.city.value.compliance.sm:
        return
    for cloud in _landing(parsed_city):
        if cloud.value.vendor is not None and not cloud.value.vendor.sm_keys:
            message = f"the city requires SM cryptography, and {cloud.value.provider} has no SM keys"
            yield cloud.problem(("spec", "provider"), message, "a vendor that has, or compliance.sm: false")


def limits_of(cloud: Cloud) -> Limits:
    """What the cloud's vendor makes no more of; no limits where there is no vendor."""
    return cloud.vendor.limits if cloud.vendor is not None else Limits()


def _landing(parsed_city: ParsedCity) -> Iterator[Sourced[Cloud]]:
    return (cloud for cloud in parsed_city.clouds if cloud.value.has_landing_zone)


def _makes_subnets(cloud: Cloud) -> bool:
    return not cloud.existing.cluster or any(zone not in cloud.existing.subnets for zone in cloud.zones)


CHECKS: tuple[Check, ...] = (
    regions,
    places,
    machine_types,
    architectures,
    security_groups,
    disks,
    vendor_settings,
    balancers,
    public_apis,
    sm_keys,
)
