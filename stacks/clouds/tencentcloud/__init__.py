"""The vendor Tencent Cloud: settings and limits of landing zones, which are a VPC with a TKE managed cluster."""

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
class TencentCloudSettings(ManagedSettings):
    """Settings of a landing zone on Tencent Cloud; clusters are TKE managed."""

    availability_zones: tuple[str, ...] = zones_setting("ap-guangzhou-6")
    kubernetes_version: str = version_setting("1.34.1")
    cluster_level: str = setting("The cluster's size.", default="L20")
    app_id: str = setting("The account's APPID; it ends buckets' names.", "1250000000", default="")
    key_pair: str = setting("A key pair of the account, for the nodes.", "skey-0a1b", default="")


def _check(_city: City | None, cloud: Cloud) -> Iterator[Fault]:
    """Yield a problem if the account's APPID is missing, with which names of buckets end."""
    if not cloud.settings_as(TencentCloudSettings).app_id:
        message = "a bucket of Tencent Cloud ends with the account's number"
        yield Fault(("spec", "tencentcloud", "appId"), message, "the APPID")


def _volume(_cloud: Cloud, sm: bool, _key: Any) -> dict[str, Any]:
    """Disks support AES only, so they are left unencrypted if SM is required.

    Source: kubernetes-csi-tencentcloud, README_CBS.
    """
    plain = {"diskType": "CLOUD_PREMIUM", "diskChargeType": "POSTPAID_BY_HOUR"}
    return plain if sm else {**plain, "encrypt": "ENCRYPT"}


VENDOR = Vendor(
    provider="tencentcloud",
    title="Tencent Cloud",
    settings=TencentCloudSettings,
    sdk=Sdk("tencentcloud-iac-pulumi", "tencentcloud_iac_pulumi", "0.2.3", publisher="tencentcloudstack"),
    credentials=Credentials(
        variables=(
            ("TENCENTCLOUD_SECRET_ID", "TENCENTCLOUD_SECRET_KEY"),
            ("TENCENTCLOUD_CAM_ROLE_NAME",),
            ("TENCENTCLOUD_PROFILE",),
            ("TENCENTCLOUD_SHARED_CREDENTIALS_DIR",),
        ),
        files=("~/.tccli/default.credential",),
        hint="TENCENTCLOUD_SECRET_ID and TENCENTCLOUD_SECRET_KEY, TENCENTCLOUD_PROFILE, or TENCENTCLOUD_CAM_ROLE_NAME",
    ),
    # TKE, "Service annotations".
    balancers=Balancers("service.kubernetes.io/tke-existed-lbid"),
    volumes=Volumes("com.tencent.cloud.csi.cbs", _volume),
    limits=Limits(
        architectures=("amd64", "arm64"),
        # The quota of security groups of an instance.
        security_groups=5,
        # Premium Cloud Storage.
        disk_gib=32_000,
        # Within 10.0.0.0/12, 172.16.0.0/12 or 192.168.0.0/16.
        network_prefixes=(12, 28),
    ),
    reserved=(
        Reserved(
            IPv4Network("100.64.0.0/10"),
            "is refused for a VPC and for a cluster",
            "CreateVpc, `CidrBlock`: only within 10.0.0.0/12, 172.16.0.0/12, 192.168.0.0/16; CreateCluster, "
            '`ClusterCIDR` and `ServiceCIDR`: "must be in 10./192.168/172.[16-31] segments"',
        ),
        DOCKER_BRIDGE,
    ),
    zonal_subnets=True,
    sm_keys="ASYMMETRIC_SIGN_VERIFY_SM2",
    check=_check,
    pool_label="cloud.tencent.com/node-pool-name",
    import_examples=(
        "--region ap-guangzhou --network vpc-1a2b3c --subnet extranet=subnet-1a2b3c --cluster cls-1a2b3c "
        "--set appId=1250000000",
        "--region ap-guangzhou --network vpc-1a2b3c --zone extranet --set availabilityZones=ap-guangzhou-6 "
        "--set appId=1250000000",
    ),
)
