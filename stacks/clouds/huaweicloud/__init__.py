"""The vendor Huawei Cloud: settings and limits of landing zones, which are a VPC with a CCE cluster."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Any

from wecityctl.model.city import City, Cloud
from wecityctl.model.reserved import DOCKER_BRIDGE
from wecityctl.model.vendors import (
    Balancers,
    Credentials,
    Fault,
    Limits,
    ManagedSettings,
    Reserved,
    Sdk,
    Vendor,
    Volumes,
    setting,
    version_setting,
    zones_setting,
)

# "Enter 4 to 128 characters starting with a lowercase letter": CCE, "Cluster Name".
_SHORTEST_CLUSTER_NAME = 4


@dataclass(frozen=True, slots=True)
class HuaweiCloudSettings(ManagedSettings):
    """Settings of a landing zone on Huawei Cloud; clusters are CCE."""

    availability_zones: tuple[str, ...] = zones_setting("cn-south-1a")
    kubernetes_version: str = version_setting("v1.33")
    cluster_flavor: str = setting("The cluster's size.", default="cce.s2.small")
    # Only the tunnel network enforces network policies by itself.
    container_network: str = setting(
        "How pods are connected; the default is the one that enforces network policies.", default="overlay_l2"
    )
    key_pair: str = setting("A key pair of the account, for the nodes.", "ops", default="")


def _check(city: City | None, cloud: Cloud) -> Iterator[Fault]:
    """Yield problems: nodes need a key pair, and a cluster's name at least four characters."""
    if cloud.existing.cluster:
        return
    name = f"{city.name}-{cloud.name}" if city is not None else ""
    if 0 < len(name) < _SHORTEST_CLUSTER_NAME:
        message = f"a cluster of Huawei Cloud has a name of at least {_SHORTEST_CLUSTER_NAME} letters, not {name!r}"
        yield Fault(("metadata", "name"), message, "a longer name for the city or the cloud")
    if cloud.pools and not cloud.settings_as(HuaweiCloudSettings).key_pair:
        message = "nodes of Huawei Cloud need a key pair"
        yield Fault(("spec", "huaweicloud", "keyPair"), message, "the name of one of the account's")


def _annotations(_public: bool) -> dict[str, str]:
    # A dedicated load balancer.
    return {"kubernetes.io/elb.class": "performance"}


def _volume(_cloud: Cloud, _sm: bool, key: Any) -> dict[str, Any]:
    """Parameters of the storage class. Source: CCE, "Automatically creating an EVS disk"."""
    return {
        "csi.storage.k8s.io/csi-driver-name": "disk.csi.everest.io",
        "csi.storage.k8s.io/fstype": "ext4",
        "everest.io/disk-volume-type": "SSD",
        "everest.io/passthrough": "true",
        "everest.io/crypt-key-id": key,
    }


VENDOR = Vendor(
    provider="huaweicloud",
    title="Huawei Cloud",
    settings=HuaweiCloudSettings,
    sdk=Sdk("pulumi-huaweicloud", "pulumi_huaweicloud", "0.0.12", publisher="huaweicloud"),
    credentials=Credentials(
        variables=(
            ("HW_ACCESS_KEY", "HW_SECRET_KEY"),
            ("HW_SHARED_CONFIG_FILE",),
            ("HW_AUTH_TOKEN",),
            ("HW_USER_NAME", "HW_USER_PASSWORD"),
        ),
        files=("~/.hcloud/config.json",),
        hint="HW_ACCESS_KEY and HW_SECRET_KEY, or HW_SHARED_CONFIG_FILE",
    ),
    # CCE, "Configuring advanced load balancing functions using annotations".
    balancers=Balancers("kubernetes.io/elb.id", _annotations),
    volumes=Volumes("everest-csi-provisioner", _volume),
    limits=Limits(
        architectures=("amd64", "arm64"),
        # CreateNodePool: "A maximum of five security groups can be bound to a node pool".
        security_groups=5,
        # EVS.
        disk_gib=32_768,
        # 10.0.0.0/8 to 10.255.255.0/24, and so on.
        network_prefixes=(8, 24),
    ),
    reserved=(
        Reserved(
            IPv4Network("100.64.0.0/10"),
            "is refused for a VPC, and has the vendor's name servers",
            "CreateVpc, `cidr`: 10.0.0.0/8 to 10.255.255.0/24, 172.16.0.0/12 to 172.31.255.0/24, or 192.168.0.0/16 to "
            "192.168.255.0/24; VPN: 100.64.0.0/10 is a range that VPCs keep; DNS: private name servers in "
            "100.125.0.0/16",
        ),
        DOCKER_BRIDGE,
    ),
    sm_keys="SM4, SM2",
    no_access_list="it is a security group that CCE makes, which its SDK cannot change",
    check=_check,
    pool_label="cce.cloud.com/cce-nodepool",
    import_examples=(
        "--region cn-south-1 --network 1a2b-3c4d --subnet extranet=5e6f-7a8b --cluster 9c0d-1e2f",
        "--region cn-south-1 --network 1a2b-3c4d --cluster 9c0d-1e2f --context prod --zone extranet",
    ),
)
