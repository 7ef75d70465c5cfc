"""The load balancers that lead to a city's entry points on a vendor's cloud: which there are, how a Service uses one.

A landing zone makes the balancer, so that its address is known and stays; the vendor's cloud controller, which every
managed cluster has, adds listeners and back ends for the Service that names it. Which there are follows from the
platforms and zones alone: no app that comes or goes changes a landing zone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from wecityctl.model.city import City, ProviderKind
from wecityctl.model.entries import EntryPoint, gateway_of, main_zones

# What a zone of these kinds serves is for people, who come from outside the cluster.
_REACHED = ("internet", "government-extranet")


@dataclass(frozen=True, slots=True)
class Balancer:
    """The balancer of the entry point of `zone` (the main one: the first of its zones that the cloud serves). `public`:
    it has an address on the internet."""

    zone: str
    public: bool


# The annotation by which a Service names a balancer that is there already. Sources: ACK, "Use annotations to configure
# CLB instances"; TKE, "Service annotations"; CCE, "Configuring advanced load balancing functions using annotations";
# cloud-provider-openstack, "Exposing applications using services of LoadBalancer type".
BALANCER_ANNOTATIONS: Mapping[ProviderKind, str] = MappingProxyType(
    {
        "alicloud": "service.beta.kubernetes.io/alibaba-cloud-loadbalancer-id",
        "tencentcloud": "service.kubernetes.io/tke-existed-lbid",
        "huaweicloud": "kubernetes.io/elb.id",
        "openstack": "loadbalancer.openstack.org/load-balancer-id",
    }
)


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


def service_annotations(provider: ProviderKind, *, public: bool) -> dict[str, str]:
    """What a Service says beside the balancer's identifier, so that the controller uses it as it is."""
    match provider:
        case "alicloud":
            # Without the first the controller leaves listeners of a balancer that is not its own alone.
            return {
                "service.beta.kubernetes.io/alibaba-cloud-loadbalancer-force-override-listeners": "true",
                "service.beta.kubernetes.io/alibaba-cloud-loadbalancer-address-type": "internet"
                if public
                else "intranet",
            }
        case "huaweicloud":
            # A dedicated balancer.
            return {"kubernetes.io/elb.class": "performance"}
        case "openstack":
            # The floating address is the landing zone's: the controller makes none of its own.
            return {"service.beta.kubernetes.io/openstack-internal-load-balancer": "true"}
        case _:
            return {}
