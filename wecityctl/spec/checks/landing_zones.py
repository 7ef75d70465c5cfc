"""Checks the fields that a vendor's landing zone needs: region, availability zones, machine types, keys, public API.

Address ranges are checked in `networks`. Rules of a single vendor are in that vendor's `check` function.
"""

from __future__ import annotations

from collections.abc import Iterator

from wecityctl.errors import Problem
from wecityctl.guesses import nearest
from wecityctl.model.addresses import QUARTERS, has_zonal_subnets, is_no_access_list
from wecityctl.model.city import City, Cloud
from wecityctl.model.quantity import parse_quantity
from wecityctl.model.vendors import Limits
from wecityctl.spec.checks.check import Check
from wecityctl.spec.fields import one_of
from wecityctl.spec.nodes import PathItem
from wecityctl.spec.parsed_city import ParsedCity, Sourced


def regions(parsed_city: ParsedCity) -> Iterator[Problem]:
    """A cloud with a landing zone has a region."""
    for cloud in _landing(parsed_city):
        if not cloud.value.region:
            message = f"a landing zone on {cloud.value.provider} needs a region"
            yield cloud.problem(("spec", "region"), message, "the vendor's name of the region")


def places(parsed_city: ParsedCity) -> Iterator[Problem]:
    """If the vendor's subnets are zonal, availability zones are named, at most four, the number of network quarters."""
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
    """Each pool of a cluster that a landing zone creates names its machine types."""
    for cloud in _landing(parsed_city):
        if cloud.value.existing.cluster:
            continue
        for index, pool in enumerate(cloud.value.pools):
            path = ("spec", "pools", index, "instanceTypes")
            if not pool.instance_types:
                message = f"pool {pool.name!r} names no machine type of {cloud.value.provider}"
                yield cloud.problem(path, message, "the vendor's names")


def architectures(parsed_city: ParsedCity) -> Iterator[Problem]:
    """The architecture of each pool is one that the vendor has machines and node images for."""
    for cloud in _landing(parsed_city):
        made = limits_of(cloud.value).architectures
        if cloud.value.existing.cluster or not made:
            continue
        for index, pool in enumerate(cloud.value.pools):
            if pool.architecture not in made:
                message = f"{cloud.value.provider} makes no nodes of {pool.architecture}"
                yield cloud.problem(("spec", "pools", index, "architecture"), message, one_of(made))


def security_groups(parsed_city: ParsedCity) -> Iterator[Problem]:
    """A pool serves no more zones than the vendor allows security groups for a node: there is one for each zone."""
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
    """The storage of a pool's node fits on one data disk of the vendor's."""
    for cloud in _landing(parsed_city):
        largest = limits_of(cloud.value).disk_gib
        if cloud.value.existing.cluster or not largest:
            continue
        for index, pool in enumerate(cloud.value.pools):
            if parse_quantity(pool.storage or "0") > largest * 2**30:
                message = f"{cloud.value.provider} makes no disk of {pool.storage} for a node"
                yield cloud.problem(("spec", "pools", index, "storage"), message, f"{largest:,}Gi at most")


def vendor_settings(parsed_city: ParsedCity) -> Iterator[Problem]:
    """Problems found by the check of the cloud's vendor (`Vendor.check`)."""
    city = parsed_city.city.value if parsed_city.city is not None else None
    for cloud in _landing(parsed_city):
        if cloud.value.vendor is not None:
            for fault in cloud.value.vendor.check(city, cloud.value):
                yield cloud.problem(fault.path, fault.message, fault.expected, on_key=fault.on_key)


def balancers(parsed_city: ParsedCity) -> Iterator[Problem]:
    """`balancers` names zones that the cloud serves, on a cloud whose cluster a landing zone creates."""
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
    """`publicApi` is set only if a landing zone creates the API with an access list, and no extranet zone is served."""
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
    """A city that requires SM cryptography has no cloud whose vendor lacks SM keys. There is no fallback to AES."""
    if parsed_city.city is None or not parsed_city.city.value.compliance.sm:
        return
    for cloud in _landing(parsed_city):
        if cloud.value.vendor is not None and not cloud.value.vendor.sm_keys:
            message = f"the city requires SM cryptography, and {cloud.value.provider} has no SM keys"
            yield cloud.problem(("spec", "provider"), message, "a vendor that has, or compliance.sm: false")


def limits_of(cloud: Cloud) -> Limits:
    """The limits of the cloud's vendor; no limits for a cloud without a vendor."""
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
