"""The shapes of the vendors' own settings in a Cloud document."""

from __future__ import annotations

from wecityctl.spec.shapes import amounts, names
from wecityctl.spec.shapes.base import Architecture, Shape, options

_ZONES = "Availability zones, the first for what needs one only."
_VERSION = "Version of the managed Kubernetes; empty: the vendor's default."


class OpenStackSettings(Shape):
    """Settings of a landing zone on OpenStack; clusters are made by Magnum."""

    cloud: names.VendorWord = options("An entry of clouds.yaml; empty: the OS_* variables.", "city-a", default="")
    external_network: names.VendorWord = options("The network that leads outside.", "public", default="")
    image: names.VendorWord = options("The image of the nodes.", "fedora-coreos-40", default="")
    images: dict[Architecture, names.VendorWord] = options(
        "Images of nodes of other architectures.", {"arm64": "fedora-coreos-40-arm64"}, default_factory=dict
    )
    master_flavor: names.VendorWord = options("The flavour of the control plane's nodes.", "m1.large", default="")
    masters: amounts.Replicas = options("How many nodes the control plane has.", 3, default=1)
    key_pair: names.VendorWord = options("A key pair for the nodes.", "ops", default="")
    availability_zone: names.VendorWord = options("Where nodes are made.", "nova", default="")
    key_manager: bool = options("Whether Barbican is there to keep keys.", default=False)
    volume_type: names.VendorWord = options(
        "The type of the city's volumes in Cinder, an encrypted one; empty: the cloud's default.", "luks", default=""
    )


class AlicloudSettings(Shape):
    """Settings of a landing zone on Alibaba Cloud; clusters are ACK managed."""

    availability_zones: list[names.VendorWord] = options(_ZONES, ["cn-hangzhou-h"], default_factory=list)
    kubernetes_version: names.VendorWord = options(_VERSION, "1.34.1-aliyun.1", default="")
    cluster_spec: names.VendorWord = options("The cluster's edition.", default="ack.pro.small")
    kms_instance: names.VendorWord = options(
        "The KMS instance in which the key is made; empty: the region's default key.", "kst-0a1b", default=""
    )
    kms_hardware: bool = options("Whether that instance keeps keys in hardware.", default=False)
    key_pair: names.VendorWord = options("A key pair of the account, for the nodes.", "ops", default="")


class TencentCloudSettings(Shape):
    """Settings of a landing zone on Tencent Cloud; clusters are TKE managed."""

    availability_zones: list[names.VendorWord] = options(_ZONES, ["ap-guangzhou-6"], default_factory=list)
    kubernetes_version: names.VendorWord = options(_VERSION, "1.34.1", default="")
    cluster_level: names.VendorWord = options("The cluster's size.", default="L20")
    app_id: names.VendorWord = options("The account's APPID; it ends buckets' names.", "1250000000", default="")
    key_pair: names.VendorWord = options("A key pair of the account, for the nodes.", "skey-0a1b", default="")


class HuaweiCloudSettings(Shape):
    """Settings of a landing zone on Huawei Cloud; clusters are CCE."""

    availability_zones: list[names.VendorWord] = options(_ZONES, ["cn-south-1a"], default_factory=list)
    kubernetes_version: names.VendorWord = options(_VERSION, "v1.33", default="")
    cluster_flavor: names.VendorWord = options("The cluster's size.", default="cce.s2.small")
    container_network: names.VendorWord = options(
        "How pods are connected; the default is the one that enforces network policies.", default="overlay_l2"
    )
    key_pair: names.VendorWord = options("A key pair of the account, for the nodes.", "ops", default="")
