"""What the vendors call the things that a landing zone may find instead of make, and what was read of them.

The tokens are those that the landing zones read by themselves; the properties are their SDKs'.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from wecityctl.model.city import ProviderKind


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of thing: its title for people, its token, and the properties that we ask for; empty: it has none."""

    title: str
    token: str
    cidr: str = ""
    availability_zone: str = ""
    network: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class Vendor:
    """A vendor, and its kinds of networks, subnets and managed clusters."""

    provider: ProviderKind
    title: str
    network: Kind
    subnet: Kind
    cluster: Kind


@dataclass(frozen=True, slots=True)
class Facts:
    """What was read: the network's range, ranges and availability zones of subnets by zone, the cluster's version."""

    cidr: str = ""
    ranges: Mapping[str, str] = field(default_factory=dict)
    availability_zones: tuple[str, ...] = ()
    version: str = ""


VENDORS: Mapping[str, Vendor] = MappingProxyType(
    {
        "alicloud": Vendor(
            "alicloud",
            "Alibaba Cloud",
            Kind("VPC", "alicloud:vpc/network:Network", cidr="cidrBlock"),
            Kind(
                "vSwitch", "alicloud:vpc/switch:Switch", cidr="cidrBlock", availability_zone="zoneId", network="vpcId"
            ),
            Kind("cluster", "alicloud:cs/managedKubernetes:ManagedKubernetes", network="vpcId", version="version"),
        ),
        "tencentcloud": Vendor(
            "tencentcloud",
            "Tencent Cloud",
            Kind("VPC", "tencentcloud:Vpc/instance:Instance", cidr="cidrBlock"),
            Kind(
                "subnet",
                "tencentcloud:Subnet/instance:Instance",
                cidr="cidrBlock",
                availability_zone="availabilityZone",
                network="vpcId",
            ),
            Kind("cluster", "tencentcloud:Kubernetes/cluster:Cluster", network="vpcId", version="clusterVersion"),
        ),
        "huaweicloud": Vendor(
            "huaweicloud",
            "Huawei Cloud",
            Kind("VPC", "huaweicloud:Vpc/vpc:Vpc", cidr="cidr"),
            Kind(
                "subnet",
                "huaweicloud:Vpc/subnet:Subnet",
                cidr="cidr",
                availability_zone="availabilityZone",
                network="vpcId",
            ),
            Kind("cluster", "huaweicloud:Cce/cluster:Cluster", network="vpcId", version="clusterVersion"),
        ),
        "openstack": Vendor(
            "openstack",
            "OpenStack",
            Kind("network", "openstack:networking/network:Network"),
            Kind("subnet", "openstack:networking/subnet:Subnet", cidr="cidr", network="networkId"),
            Kind("cluster", "openstack:containerinfra/cluster:Cluster", version="coeVersion"),
        ),
    }
)
