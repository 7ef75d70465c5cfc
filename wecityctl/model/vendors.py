"""What the vendors' landing zones need to know beyond what every cloud says: one value per vendor, all optional.

Empty texts mean the vendor's default, or that the landing zone leaves the part out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

# What nodes of vendors' managed clusters can be; on OpenStack the cloud's owner says.
ARCHITECTURES = dict.fromkeys(("alicloud", "tencentcloud", "huaweicloud"), ("amd64", "arm64"))


@dataclass(frozen=True, slots=True)
class OpenStackSettings:
    """`cloud` is an entry of clouds.yaml (empty: the OS_* variables); `image` is the control plane's and the nodes',
    `images` by architecture are for nodes of another; `key_manager` says whether Barbican is there; `volume_type` is
    the Cinder type of the city's volumes."""

    cloud: str = ""
    external_network: str = ""
    image: str = ""
    images: Mapping[str, str] = field(default_factory=dict)
    master_flavor: str = ""
    masters: int = 1
    key_pair: str = ""
    availability_zone: str = ""
    key_manager: bool = False
    volume_type: str = ""


@dataclass(frozen=True, slots=True)
class AlicloudSettings:
    """`kms_instance` is where the key is made (empty: the region's own), `kms_hardware` whether that instance keeps
    keys in hardware; `key_pair` is for the nodes."""

    availability_zones: tuple[str, ...] = ()
    kubernetes_version: str = ""
    cluster_spec: str = "ack.pro.small"
    kms_instance: str = ""
    kms_hardware: bool = False
    key_pair: str = ""


@dataclass(frozen=True, slots=True)
class TencentCloudSettings:
    """`app_id` ends the names of buckets, which the vendor demands. `key_pair` is for the nodes."""

    availability_zones: tuple[str, ...] = ()
    kubernetes_version: str = ""
    cluster_level: str = "L20"
    app_id: str = ""
    key_pair: str = ""


@dataclass(frozen=True, slots=True)
class HuaweiCloudSettings:
    """`key_pair` is one of the account's, without which the vendor makes no node. Of the ways to connect pods, only
    the tunnel network (`overlay_l2`) enforces network policies by itself."""

    availability_zones: tuple[str, ...] = ()
    kubernetes_version: str = ""
    cluster_flavor: str = "cce.s2.small"
    container_network: str = "overlay_l2"
    key_pair: str = ""
