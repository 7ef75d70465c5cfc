"""The data functions of Huawei Cloud's plug-in that `import` and `doctor` call."""

from __future__ import annotations

from collections.abc import Iterator

from wecityctl.model.city import Cloud
from wecityctl.model.discovery import TYPES, ZONES, Discovery, Kind, Question


def _questions(cloud: Cloud) -> Iterator[tuple[str, str, Question]]:
    yield ZONES, "", Question("huaweicloud:index/getAvailabilityZones:getAvailabilityZones", {}, "names")
    for place in cloud.settings.places:
        yield TYPES, "", Question("huaweicloud:Ecs/getFlavors:getFlavors", {"availabilityZone": place}, "ids")


DISCOVERY = Discovery(
    network=Kind("VPC", "huaweicloud:Vpc/vpc:Vpc", cidr="cidr"),
    subnet=Kind(
        "subnet",
        "huaweicloud:Vpc/subnet:Subnet",
        cidr="cidr",
        availability_zone="availabilityZone",
        network="vpcId",
    ),
    cluster=Kind("cluster", "huaweicloud:Cce/cluster:Cluster", network="vpcId", version="clusterVersion"),
    questions=_questions,
    version_unknown="versions of Kubernetes: the SDK has no list of them",
)
