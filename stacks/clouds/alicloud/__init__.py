"""The vendor Alibaba Cloud: settings and limits of landing zones, which are a VPC with an ACK managed cluster."""

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


@dataclass(frozen=True, slots=True)
class AlicloudSettings(ManagedSettings):
    """Settings of a landing zone on Alibaba Cloud; clusters are ACK managed."""

    availability_zones: tuple[str, ...] = zones_setting("cn-hangzhou-h")
    kubernetes_version: str = version_setting("1.34.1-aliyun.1")
    cluster_spec: str = setting("The cluster's edition.", default="ack.pro.small")
    kms_instance: str = setting(
        "The KMS instance in which the key is made; empty: the region's default key.", "kst-0a1b", default=""
    )
    kms_hardware: bool = setting("Whether that instance keeps keys in hardware.", default=False)
    key_pair: str = setting("A key pair of the account, for the nodes.", "ops", default="")


def _check(city: City | None, cloud: Cloud) -> Iterator[Fault]:
    """Yield a problem if a hardware key, which SM keys are, is required but no KMS instance is named."""
    settings, path = cloud.settings_as(AlicloudSettings), ("spec", "alicloud", "kmsInstance")
    if settings.kms_hardware and not settings.kms_instance:
        yield Fault(path, "hardware of which KMS instance is not said", "the instance's identifier")
    if city is not None and city.compliance.sm and settings.kms_instance and not settings.kms_hardware:
        message = "the city requires SM cryptography, and a KMS instance of software keys has no SM4 keys"
        yield Fault(path, message, "an instance of hardware keys, kmsHardware: true")


def _annotations(public: bool) -> dict[str, str]:
    # Without the first annotation, the controller does not manage listeners of a balancer that it did not create.
    return {
        "service.beta.kubernetes.io/alibaba-cloud-loadbalancer-force-override-listeners": "true",
        "service.beta.kubernetes.io/alibaba-cloud-loadbalancer-address-type": "internet" if public else "intranet",
    }


def _volume(_cloud: Cloud, sm: bool, key: Any) -> dict[str, Any]:
    """Disks support AES only, so they are left unencrypted if SM is required. Source: ACK, "Encrypt a disk volume"."""
    plain = {"type": "cloud_essd", "csi.storage.k8s.io/fstype": "ext4"}
    return plain if sm else {**plain, "encrypted": "true", "kmsKeyId": key}


VENDOR = Vendor(
    provider="alicloud",
    title="Alibaba Cloud",
    settings=AlicloudSettings,
    sdk=Sdk("pulumi-alicloud", "pulumi_alicloud", "4.0.0"),
    credentials=Credentials(
        variables=(
            ("ALICLOUD_ACCESS_KEY", "ALICLOUD_SECRET_KEY"),
            ("ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET"),
            ("ALICLOUD_ECS_ROLE_NAME",),
            ("ALIBABA_CLOUD_ECS_METADATA",),
            ("ALICLOUD_PROFILE",),
            ("ALIBABA_CLOUD_PROFILE",),
            ("ALICLOUD_SHARED_CREDENTIALS_FILE",),
            ("ALIBABA_CLOUD_CREDENTIALS_FILE",),
            ("ALIBABA_CLOUD_CREDENTIALS_URI",),
        ),
        hint="ALICLOUD_ACCESS_KEY and ALICLOUD_SECRET_KEY, ALICLOUD_PROFILE, or ALICLOUD_ECS_ROLE_NAME",
    ),
    # ACK, "Use annotations to configure CLB instances".
    balancers=Balancers(
        "service.beta.kubernetes.io/alibaba-cloud-loadbalancer-id",
        _annotations,
        controller_labels=("service.k8s.alibaba/loadbalancer-id",),
    ),
    volumes=Volumes("diskplugin.csi.alibabacloud.com", _volume),
    limits=Limits(
        architectures=("amd64", "arm64"),
        # JoinSecurityGroup: "up to five security groups by default".
        security_groups=5,
        # ESSDs.
        disk_gib=65_536,
        # "The subnet mask must be 8 to 28 bits in length."
        network_prefixes=(8, 28),
        # CreateVSwitch, `CidrBlock`: "The subnet mask must be 16 to 29 bits in length."
        subnet_prefix=16,
    ),
    reserved=(
        Reserved(
            IPv4Network("100.64.0.0/10"),
            "is the vendor's own, and refused for a VPC",
            'CreateVpc, `CidrBlock`: "a custom CIDR block other than 100.64.0.0/10, 224.0.0.0/4, 127.0.0.0/8, '
            '169.254.0.0/16, and their subnets"; AssociateVpcCidrBlock says the same of a second range',
        ),
        DOCKER_BRIDGE,
    ),
    zonal_subnets=True,
    pod_subnets=True,
    sm_keys="Aliyun_SM4, EC_SM2",
    no_access_list="it belongs to a balancer that ACK makes, which its SDK cannot change",
    check=_check,
    pool_label="alibabacloud.com/nodepool-name",
    import_examples=(
        "--region cn-hangzhou --network vpc-bp1a2b3c --subnet internet=vsw-bp1a2b3c --cluster c1a2b3c",
        "--region cn-hangzhou --network vpc-bp1a2b3c --zone internet --set availabilityZones=cn-hangzhou-h",
    ),
)
