"""Derives the load balancers of a city's entry points on a vendor's cloud.

A landing zone creates the load balancer, so that its address is known and stable. The vendor's cloud controller, which
every managed cluster has, adds listeners and back ends for the Service that refers to it. Which load balancers exist
depends on platforms and zones only, so that adding or removing an app does not change a landing zone.
"""

from __future__ import annotations

from dataclasses import dataclass

from wecityctl.model.city import City
from wecityctl.model.entries import EntryPoint, gateway_of, main_zones

# Kinds of zones that serve people outside the cluster, and therefore get a load balancer by default.
_REACHED = ("internet", "government-extranet")


@dataclass(frozen=True, slots=True)
class Balancer:
    """The load balancer of one entry point.

    `zone` is the entry point's zone; for the main one, the first of its zones that the cloud serves. `public`: it has
    an address on the internet.
    """

    zone: str
    public: bool


def balancers_of(city: City, cloud_name: str, entry_cloud: str) -> tuple[Balancer, ...]:
    """The load balancers that the landing zone of a cloud creates. `entry_cloud` is the cloud of the entry points.

    Empty for an existing cluster, and for one whose own ingress controllers serve the routes.
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
        # The main entry point serves several zones. Naming any of them in `balancers` selects it.
        if (
            kinds[zone] in _REACHED
            if wanted is None
            else not {zone, *(main if zone in main else ())}.isdisjoint(wanted)
        )
    )


def balancer_of(city: City, cloud_name: str, entry: EntryPoint) -> Balancer | None:
    """The load balancer of an entry point on the cloud of all entry points; `None` if it has none."""
    return next((item for item in balancers_of(city, cloud_name, cloud_name) if item.zone in entry.zones), None)
