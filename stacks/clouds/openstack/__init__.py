"""The vendor OpenStack: settings and limits of landing zones, which are a Neutron network with a Magnum cluster."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from wecityctl.model.city import City, Cloud
from wecityctl.model.reserved import DOCKER_BRIDGE
from wecityctl.model.vendors import (
    Architecture,
    Balancers,
    Credentials,
    Fault,
    Sdk,
    Vendor,
    VendorSettings,
    Volumes,
    setting,
)

_CLOUDS_YAML = ("clouds.yaml", "~/.config/openstack/clouds.yaml", "/etc/openstack/clouds.yaml")


@dataclass(frozen=True, slots=True)
class OpenStackSettings(VendorSettings):
    """Settings of a landing zone on OpenStack; clusters are made by Magnum."""

    cloud: str = setting("An entry of clouds.yaml; empty: the OS_* variables.", "city-a", default="")
    external_network: str = setting("The network that leads outside.", "public", default="")
    image: str = setting("The image of the nodes.", "fedora-coreos-40", default="")
    images: Mapping[Architecture, str] = setting(
        "Images of nodes of other architectures.", {"arm64": "fedora-coreos-40-arm64"}, default_factory=dict
    )
    master_flavor: str = setting("The flavour of the control plane's nodes.", "m1.large", default="")
    masters: int = setting("How many nodes the control plane has.", 3, default=1)
    key_pair: str = setting("A key pair for the nodes.", "ops", default="")
    availability_zone: str = setting("Where nodes are made.", "nova", default="")
    key_manager: bool = setting("Whether Barbican is there to keep keys.", default=False)
    volume_type: str = setting(
        "The type of the city's volumes in Cinder, an encrypted one; empty: the cloud's default.", "luks", default=""
    )

    @property
    def places(self) -> tuple[str, ...]:
        return (self.availability_zone,) if self.availability_zone else ()


def _check(city: City | None, cloud: Cloud) -> Iterator[Fault]:
    if not cloud.existing.cluster:
        yield from _check_cluster(cloud)
        if city is not None and cloud.public_api.allow_from:
            yield from _check_public_api(city, cloud)


def _check_cluster(cloud: Cloud) -> Iterator[Fault]:
    """Yield problems: Magnum needs an external network, a node image per architecture, and a control plane flavour."""
    settings = cloud.settings_as(OpenStackSettings)
    needed = {
        "externalNetwork": settings.external_network,
        "image": settings.image,
        "masterFlavor": settings.master_flavor,
    }
    for name, given in needed.items():
        if not given:
            yield Fault(("spec", "openstack", name), f"a cluster of Magnum needs {name}", "its name or id")
    plain = [pool.architecture for pool in cloud.pools if pool.architecture not in settings.images]
    for architecture in dict.fromkeys(plain[1:]):
        if architecture != plain[0]:
            message = f"no image for nodes of {architecture}: image is for {plain[0]}"
            yield Fault(("spec", "openstack", "images"), message, f"one under images.{architecture}")
    for index, pool in enumerate(cloud.pools):
        if len(pool.instance_types) > 1:
            path = ("spec", "pools", index, "instanceTypes")
            yield Fault(path, "a node group of OpenStack has one flavor", "one name")


def _check_public_api(city: City, cloud: Cloud) -> Iterator[Fault]:
    """Yield a problem unless all zones of a cloud with a public API have egress.

    The floating address of Magnum's load balancer needs a router in the strictest zone's subnet.
    """
    zones = [zone for zone in city.zones if zone.name in cloud.zones]
    kinds = {zone.kind for zone in zones}
    # Which kinds of zones exclude a public API is checked for all vendors.
    may_be_public = "internet" in kinds and "government-extranet" not in kinds
    if may_be_public and not all(zone.egress for zone in zones):
        message = "a public API on openstack takes a way out for every zone of the cloud"
        yield Fault(("spec", "publicApi"), message, "egress: true at its zones, or a private API", on_key=True)


def _annotations(_public: bool) -> dict[str, str]:
    # The landing zone creates the floating address, so the controller must not.
    return {"service.beta.kubernetes.io/openstack-internal-load-balancer": "true"}


def _volume(cloud: Cloud, _sm: bool, _key: Any) -> dict[str, Any]:
    """Parameters of the storage class. The cloud's owner decides whether a volume type is encrypted.

    Source: cinder-csi-plugin.
    """
    kind = cloud.settings_as(OpenStackSettings).volume_type
    return {"type": kind} if kind else {}


def _clouds_files() -> tuple[str, ...]:
    given = os.environ.get("OS_CLIENT_CONFIG_FILE", "")
    return (given, *_CLOUDS_YAML) if given else _CLOUDS_YAML


VENDOR = Vendor(
    provider="openstack",
    title="OpenStack",
    settings=OpenStackSettings,
    sdk=Sdk("pulumi-openstack", "pulumi_openstack", "5.5.3"),
    credentials=Credentials(
        variables=(("OS_CLOUD",), ("OS_AUTH_URL",)),
        hint="OS_CLOUD with a clouds.yaml, or OS_AUTH_URL and the other OS_* variables",
        named_files=_clouds_files,
        in_named_file=lambda cloud: bool(cloud.settings_as(OpenStackSettings).cloud),
    ),
    # cloud-provider-openstack, "Exposing applications using services of LoadBalancer type".
    balancers=Balancers("loadbalancer.openstack.org/load-balancer-id", _annotations),
    volumes=Volumes("cinder.csi.openstack.org", _volume, encrypted_by="type"),
    reserved=(DOCKER_BRIDGE,),
    check=_check,
    pool_label="magnum.openstack.org/nodegroup",
    import_examples=(
        "--region RegionOne --network 1a2b-3c4d --subnet extranet=5e6f-7a8b --cluster 9c0d-1e2f",
        "--region RegionOne --network 1a2b-3c4d --cluster 9c0d-1e2f --zone extranet -o json",
    ),
)
