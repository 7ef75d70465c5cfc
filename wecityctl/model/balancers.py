"""The load balancers that lead to a city's entry points on a vendor's cloud: which there are, how a Service uses one.

A landing zone makes the balancer, so that its address is known and stays; the vendor's cloud controller, which every
managed cluster has, adds listeners and back ends for the Service that names it. Which there are follows from the
platforms and zones alone: no app that comes or goes changes a landing zone.
"""

from __future__ import annotations

from dataclasses import dataclass

from wecityctl.model.city import City
from wecityctl.model.entries import EntryPoint, gateway_of, main_zones

# What a zone of these kinds serves is for people, who come from outside the cluster.
_REACHED = ("internet", "government-extranet")


@dataclass(frozen=True, slots=True)
class Balancer:
    """The balancer of the entry point of `zone` (the main one: the first of its zones that the cloud serves). `public`:
    it has an address on the internet."""

    zone: str
    public: bool


def balancers_of(city: City, cloud_name: str, entry_cloud: str) -> tuple[Balancer, ...]:
    """The balancers that the landing zone of a cloud makes; `entry_cloud` is where the city's entry points are.

    None for a cluster that was there already, or whose own ingress controllers serve.
    """
    cloud = city.cloud(cloud_name)
    made = cloud.has_landing_zone and not cloud.existing.cluster and not cloud.kubernetes.ingress_class
    if cloud_name != entry_cloud or not made or gateway_of(city) is None:
        return ()
    kinds = {zone.name: zone.kind for zone in city.zones}
    main = main_zones(city)
    candidates = (*[zone for zone in main if zone in cloud.zones][:1], *(z for z in cloud.zones if z not in main))
    wanted = cloud.balancers
    return tuple(
        Balancer(zone, kinds[zone] == "internet")
        for zone in candidates
        # Whichever of its zones is named, the main entry point is the same.
        if (
            kinds[zone] in _REACHED
            if wanted is None
            else not {zone, *(main if zone in main else ())}.isdisjoint(wanted)
        )
    )


def balancer_of(city: City, cloud_name: str, entry: EntryPoint) -> Balancer | None:
    """The balancer of an entry point on the cloud of all entry points, if it has one."""
    return next((item for item in balancers_of(city, cloud_name, cloud_name) if item.zone in entry.zones), None)
