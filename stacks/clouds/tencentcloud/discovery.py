"""The data functions of Tencent Cloud's plug-in that `import` and `doctor` call."""

from __future__ import annotations

from collections.abc import Iterator

from wecityctl.model.city import Cloud
from wecityctl.model.discovery import TYPES, ZONES, Discovery, Kind, Question


def _questions(cloud: Cloud) -> Iterator[tuple[str, str, Question]]:
    token = "tencentcloud:Availability/getZonesByProduct:getZonesByProduct"  # noqa: S105 - a type token
    yield ZONES, "", Question(token, {"product": "cvm"}, "zones", "name")
    token = "tencentcloud:Instance/getTypes:getTypes"  # noqa: S105 - a type token
    for place in cloud.settings.places:
        yield TYPES, "", Question(token, {"availabilityZone": place}, "instanceTypes", "instanceType")


DISCOVERY = Discovery(
    network=Kind("VPC", "tencentcloud:Vpc/instance:Instance", cidr="cidrBlock"),
    subnet=Kind(
        "subnet",
        "tencentcloud:Subnet/instance:Instance",
        cidr="cidrBlock",
        availability_zone="availabilityZone",
        network="vpcId",
    ),
    cluster=Kind("cluster", "tencentcloud:Kubernetes/cluster:Cluster", network="vpcId", version="clusterVersion"),
    questions=_questions,
    version_unknown="versions of Kubernetes: the SDK lists those of clusters that are there alone",
)
