"""The data functions of Alibaba Cloud's plug-in that `import` and `doctor` call."""

from __future__ import annotations

from collections.abc import Iterator

from wecityctl.model.city import Cloud
from wecityctl.model.discovery import TYPES, VERSION, ZONES, Discovery, Kind, Question


def _questions(cloud: Cloud) -> Iterator[tuple[str, str, Question]]:
    yield ZONES, "", Question("alicloud:index/getZones:getZones", {"availableResourceCreation": "VSwitch"}, "ids")
    if cloud.settings.version:
        token = "alicloud:cs/getKubernetesVersion:getKubernetesVersion"  # noqa: S105 - a type token
        yield VERSION, "", Question(token, {"clusterType": "ManagedKubernetes"}, "metadatas", "version")
    for place in cloud.settings.places:
        yield (
            TYPES,
            "",
            Question("alicloud:ecs/getInstanceTypes:getInstanceTypes", {"availabilityZone": place}, "ids"),
        )


DISCOVERY = Discovery(
    network=Kind("VPC", "alicloud:vpc/network:Network", cidr="cidrBlock"),
    subnet=Kind("vSwitch", "alicloud:vpc/switch:Switch", cidr="cidrBlock", availability_zone="zoneId", network="vpcId"),
    cluster=Kind("cluster", "alicloud:cs/managedKubernetes:ManagedKubernetes", network="vpcId", version="version"),
    questions=_questions,
)
