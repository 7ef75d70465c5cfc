"""The data functions of OpenStack's plug-in that `import` and `doctor` call."""

from __future__ import annotations

from collections.abc import Iterator

from stacks.clouds.openstack import OpenStackSettings
from wecityctl.model.city import Cloud
from wecityctl.model.discovery import TYPES, ZONES, Discovery, Kind, Question, machine_types

_FLAVOR = "openstack:compute/getFlavor:getFlavor"


def _questions(cloud: Cloud) -> Iterator[tuple[str, str, Question]]:
    settings = cloud.settings_as(OpenStackSettings)
    if settings.places:
        yield ZONES, "", Question("openstack:compute/getAvailabilityZones:getAvailabilityZones", {}, "names")
    for name in filter(None, dict.fromkeys((settings.master_flavor, *machine_types(cloud)))):
        yield TYPES, name, Question(_FLAVOR, {"name": name})


def _provider(cloud: Cloud) -> dict[str, str]:
    return {"region": cloud.region, "cloud": cloud.settings_as(OpenStackSettings).cloud}


DISCOVERY = Discovery(
    network=Kind("network", "openstack:networking/network:Network"),
    subnet=Kind("subnet", "openstack:networking/subnet:Subnet", cidr="cidr", network="networkId"),
    cluster=Kind("cluster", "openstack:containerinfra/cluster:Cluster", version="coeVersion"),
    questions=_questions,
    version_unknown="versions of Kubernetes: the image decides",
    provider=_provider,
)
