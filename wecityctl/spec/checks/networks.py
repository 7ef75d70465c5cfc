"""Checks the networks of landing zones: address ranges, existing parts, zones of pools, and egress of zones."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, collapse_addresses
from itertools import combinations

from wecityctl.errors import Problem
from wecityctl.guesses import nearest
from wecityctl.model.addresses import PRIVATE, SMALLEST_SUBNET, NoSpaceError, pod_ranges, subnet_ranges
from wecityctl.model.city import Cloud
from wecityctl.model.reserved import reserved_on
from wecityctl.spec.checks.check import Check
from wecityctl.spec.checks.landing_zones import limits_of
from wecityctl.spec.fields import one_of
from wecityctl.spec.parsed_city import ParsedCity, Sourced

_NETWORK = ("spec", "network")
_EXISTING = ("spec", "existing")
# The fewest pod addresses that a network plug-in reserves for a node at once: a block of Calico (/26).
_OF_A_NODE = 64
_SMALLEST_SERVICES = 24
# The number of addresses of a /8.
_MOST_SOURCES = 2**24


def ranges_private(parsed_city: ParsedCity) -> Iterator[Problem]:
    """Ranges of a network to be created are private. An existing network may use registered addresses."""
    for cloud in _landing(parsed_city):
        network = cloud.value.network
        for name, cidr in (("cidr", network.cidr), ("pods", network.pods), ("services", network.services)):
            found = IPv4Network(cidr)
            # Some vendors reserve the last private range, 100.64.0.0/10.
            takes_shared = reserved_on(cloud.value.provider, str(PRIVATE[-1])) is None
            owned = name == "cidr" and cloud.value.existing.network and found.is_global and not found.is_multicast
            if not owned and not any(found.subnet_of(private) for private in PRIVATE):
                *most, last = PRIVATE if takes_shared else PRIVATE[:-1]
                wanted = f"a part of {', '.join(map(str, most))} or {last}"
                yield cloud.problem((*_NETWORK, name), f"{cidr} is not a private range", wanted)


def ranges_not_reserved(parsed_city: ParsedCity) -> Iterator[Problem]:
    """No range to be created overlaps one that the vendor reserves. The vendor accepted existing ranges already."""
    for cloud in _landing(parsed_city):
        network, existing, vendor = cloud.value.network, cloud.value.existing, cloud.value.provider
        made = {
            "cidr": "" if existing.network else network.cidr,
            "pods": "" if existing.cluster else network.pods,
            "services": "" if existing.cluster else network.services,
        }
        for name, cidr in made.items():
            found = reserved_on(vendor, cidr) if cidr else None
            if found is not None:
                message = f"{cidr} overlaps {found.range}, which on {vendor} {found.what}"
                yield cloud.problem((*_NETWORK, name), message, f"a range outside {found.range}")
        shortest, longest = limits_of(cloud.value).network_prefixes
        if made["cidr"] and not shortest <= IPv4Network(network.cidr).prefixlen <= longest:
            message = f"{vendor} makes no network of the size of {network.cidr}"
            yield cloud.problem((*_NETWORK, "cidr"), message, f"a prefix of /{shortest} to /{longest}")


def ranges_suffice(parsed_city: ParsedCity) -> Iterator[Problem]:
    """The pod range has enough addresses for all nodes, and the Service range for all Services."""
    for cloud in _landing(parsed_city):
        network, nodes = cloud.value.network, sum(pool.nodes for pool in cloud.value.pools)
        if IPv4Network(network.pods).num_addresses < nodes * _OF_A_NODE:
            length = 32 - (nodes * _OF_A_NODE - 1).bit_length()
            message = f"{network.pods} is too small for the pods of {nodes} {'node' if nodes == 1 else 'nodes'}"
            yield cloud.problem((*_NETWORK, "pods"), message, f"a /{length} or larger")
        if IPv4Network(network.services).prefixlen > _SMALLEST_SERVICES:
            message = f"{network.services} is too small for a city's Services"
            yield cloud.problem((*_NETWORK, "services"), message, f"a /{_SMALLEST_SERVICES} or larger")


def sources_bounded(parsed_city: ParsedCity) -> Iterator[Problem]:
    """The source ranges of a cloud's interconnect have at most 2^24 addresses together."""
    for cloud in parsed_city.clouds:
        ranges = cloud.value.interconnect.sources
        if sum(found.num_addresses for found in collapse_addresses(map(IPv4Network, ranges))) > _MOST_SOURCES:
            message = f"the {len(ranges)} ranges are wider together than any one cloud"
            yield cloud.problem(
                ("spec", "interconnect", "sources"), message, "the ranges of the cloud alone", on_key=True
            )


def interconnects_lead_home(parsed_city: ParsedCity) -> Iterator[Problem]:
    """The interconnect address of a cloud does not lie in the network of another cloud."""
    for cloud in parsed_city.clouds:
        given = cloud.value.interconnect.address
        if not given or (cloud.value.has_landing_zone and _holds(cloud.value, given)):
            continue
        for other in _landing(parsed_city):
            if other.value.name != cloud.value.name and _holds(other.value, given):
                message = f"{given} lies in the network of cloud {other.value.name}"
                yield cloud.problem(("spec", "interconnect", "address"), message, "an address of this cloud")


def _holds(cloud: Cloud, address: str) -> bool:
    ranges = (cloud.network.cidr, cloud.network.pods, cloud.network.services)
    return any(IPv4Address(address) in IPv4Network(cidr) for cidr in ranges)


def ranges_apart(parsed_city: ParsedCity) -> Iterator[Problem]:
    """The ranges of nodes, pods and Services of a cluster do not overlap, so that routing is unambiguous."""
    for cloud in _landing(parsed_city):
        network = cloud.value.network
        ranges = (("cidr", network.cidr), ("pods", network.pods), ("services", network.services))
        for (first, one), (second, other) in combinations(ranges, 2):
            if IPv4Network(one).overlaps(IPv4Network(other)):
                message = f"{second} {other} overlaps {first} {one}"
                yield cloud.problem((*_NETWORK, second), message, "ranges that do not overlap")


def subnets_fit(parsed_city: ParsedCity) -> Iterator[Problem]:
    """Subnets are for zones that the cloud serves, lie in its network, and leave enough space for each other."""
    for cloud in _landing(parsed_city):
        network, zones = cloud.value.network, cloud.value.zones
        whole = IPv4Network(network.cidr)
        good = True
        for zone, cidr in network.subnets.items():
            wrong = _zone_not_served(cloud, (*_NETWORK, "subnets", zone), zone) or _outside(cloud, zone, cidr, whole)
            if wrong is not None:
                good = False
                yield wrong
        for (one, first), (other, second) in combinations(network.subnets.items(), 2):
            if IPv4Network(first).overlaps(IPv4Network(second)):
                good = False
                message = f"{second} overlaps {first} of zone {one}"
                yield cloud.problem((*_NETWORK, "subnets", other), message, "ranges that do not overlap")
        if good and zones:
            yield from _room(cloud)


def _outside(cloud: Sourced[Cloud], zone: str, cidr: str, whole: IPv4Network) -> Problem | None:
    path = (*_NETWORK, "subnets", zone)
    if not IPv4Network(cidr).subnet_of(whole):
        return cloud.problem(path, f"{cidr} is not inside the network's {whole}", f"a part of {whole}")
    if IPv4Network(cidr).prefixlen > SMALLEST_SUBNET:
        return cloud.problem(path, f"{cidr} is too small for nodes", f"a /{SMALLEST_SUBNET} or larger")
    return None


def _room(cloud: Sourced[Cloud]) -> Iterator[Problem]:
    value = cloud.value
    try:
        subnets = [item.cidr for item in subnet_ranges(value)]
    except NoSpaceError as error:
        wanted = f"a larger range, or one for zone {error.zone} in subnets"
        yield cloud.problem((*_NETWORK, "cidr"), str(error), wanted)
        return
    largest = limits_of(value).subnet_prefix
    has_pod_subnets = value.vendor is not None and value.vendor.pod_subnets
    pods = pod_ranges(value.network, 1) if has_pod_subnets and not value.existing.cluster else ()
    for name, found in (("cidr", subnets if not value.existing.network else ()), ("pods", pods)):
        wide = next((cidr for cidr in found if IPv4Network(cidr).prefixlen < largest), "")
        if wide:
            message = f"{value.provider} makes no subnet of the size of {wide}, which would be one of its parts"
            yield cloud.problem(
                (*_NETWORK, name), message, f"a smaller range: subnets have a prefix of /{largest} or more"
            )


def ranges_of_joined_clouds(parsed_city: ParsedCity) -> Iterator[Problem]:
    """Clouds that are connected by a declared flow have different address ranges, so that firewall rules can tell them
    apart.
    """
    if parsed_city.city is None or not parsed_city.knows_all("City", "Cloud"):
        return
    flows = [{flow.source, flow.target} for flow in parsed_city.city.value.flows]
    for first, second in combinations(_landing(parsed_city), 2):
        one, other = first.value, second.value
        joined = any(
            not flow.isdisjoint(one.zones) and not flow.isdisjoint(other.zones) and _crosses(flow, one, other)
            for flow in flows
        )
        if joined and IPv4Network(one.network.cidr).overlaps(IPv4Network(other.network.cidr)):
            message = f"{other.network.cidr} overlaps {one.network.cidr} of cloud {one.name}, and a flow joins them"
            yield second.problem((*_NETWORK, "cidr"), message, "a range of its own")


def _crosses(flow: set[str], one: Cloud, other: Cloud) -> bool:
    """Whether the flow connects the two clouds. A flow within one zone does if both clouds serve that zone."""
    pairs = [(source, target) for source in flow for target in flow if source != target or len(flow) == 1]
    return any(source in one.zones and target in other.zones for source, target in pairs)


def existing_parts(parsed_city: ParsedCity) -> Iterator[Problem]:
    """Existing parts are complete: an existing subnet or cluster needs the existing network that contains it."""
    for cloud in _landing(parsed_city):
        existing = cloud.value.existing
        for zone in existing.subnets:
            wrong = _zone_not_served(cloud, (*_EXISTING, "subnets", zone), zone)
            if wrong is not None:
                yield wrong
        if existing.network:
            continue
        for name, given in (("subnets", existing.subnets), ("cluster", existing.cluster)):
            if given:
                message = (
                    f"existing {name} without the network that {'it lies' if name == 'cluster' else 'they lie'} in"
                )
                yield cloud.problem((*_EXISTING, name), message, "its identifier in existing.network", on_key=True)


def pools_in_zones(parsed_city: ParsedCity) -> Iterator[Problem]:
    """A pool serves only zones that its cloud serves."""
    for cloud in parsed_city.clouds:
        for index, pool in enumerate(cloud.value.pools):
            for position, zone in enumerate(pool.zones):
                wrong = _zone_not_served(cloud, ("spec", "pools", index, "zones", position), zone)
                if wrong is not None:
                    yield wrong


def extranets_stay_inside(parsed_city: ParsedCity) -> Iterator[Problem]:
    """A government extranet zone has no egress: data leaves it only through a data exchange."""
    if parsed_city.city is None:
        return
    for index, zone in enumerate(parsed_city.city.value.zones):
        if zone.egress and zone.kind == "government-extranet":
            message = f"zone {zone.name!r} is a government extranet and must not reach the world outside"
            yield parsed_city.city.problem(("spec", "zones", index, "egress"), message, "no egress here")


def _landing(parsed_city: ParsedCity) -> tuple[Sourced[Cloud], ...]:
    return tuple(cloud for cloud in parsed_city.clouds if cloud.value.has_landing_zone)


def _zone_not_served(cloud: Sourced[Cloud], path: tuple[str | int, ...], zone: str) -> Problem | None:
    zones = cloud.value.zones
    if zone in zones:
        return None
    message = f"cloud {cloud.value.name!r} does not serve zone {zone!r}"
    return cloud.problem(path, message, one_of(zones), nearest(zone, zones), on_key=isinstance(path[-1], str))


CHECKS: tuple[Check, ...] = (
    extranets_stay_inside,
    ranges_apart,
    ranges_private,
    ranges_not_reserved,
    ranges_suffice,
    sources_bounded,
    interconnects_lead_home,
    subnets_fit,
    ranges_of_joined_clouds,
    existing_parts,
    pools_in_zones,
)
