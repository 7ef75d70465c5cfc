"""The landing zone on Alibaba Cloud: an ACK managed cluster with node pools, OSS and KMS.

The plan comes from `stacks.base.landing`; the module `network` creates the network. The cluster uses Terway, because
Flannel on ACK does not enforce network policies; pods therefore have vSwitches of their own in the pod range.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import pulumi

from stacks.base import landing
from stacks.base.landing import LandingZone, NodePool
from stacks.clouds.alicloud import AlicloudSettings
from stacks.clouds.alicloud.network import Network, make_network
from wecityctl.inputs import StackInputs
from wecityctl.model.balancers import Balancer
from wecityctl.model.quantity import parse_quantity

with landing.needs_sdk("alicloud"):
    from pulumi_alicloud import Provider
    from pulumi_alicloud.cs.get_cluster_credential import get_cluster_credential_output
    from pulumi_alicloud.cs.managed_kubernetes import ManagedKubernetes
    from pulumi_alicloud.cs.node_pool import NodePool as AckNodePool
    from pulumi_alicloud.kms.key import Key
    from pulumi_alicloud.oss.bucket import Bucket
    from pulumi_alicloud.oss.bucket_public_access_block import BucketPublicAccessBlock
    from pulumi_alicloud.slb.application_load_balancer import ApplicationLoadBalancer

_IMAGES = {"amd64": "AliyunLinux3", "arm64": "AliyunLinux3Arm64"}
_SYSTEM_DISK_GIB = 120
_SMALLEST_DISK_GIB = 20
_CLUSTER_TIMEOUT = "90m"


def run(inputs: StackInputs) -> dict[str, Any]:
    """Register the landing zone of the stack's cloud and return its outputs."""
    zone = landing.plan_landing(inputs.city, inputs.stack.cloud, inputs.balancers)
    provider = Provider("cloud", region=zone.cloud.region)
    key = _key(zone, provider)
    network = make_network(zone, provider)
    cluster = _cluster(zone, provider, network, key)
    bucket = _bucket(zone, provider, key)
    return landing.outputs(
        zone,
        kubeconfig=_kubeconfig(zone, provider, cluster),
        network=network.id,
        subnets=network.subnets,
        cluster=cluster.id,
        bucket=bucket.id,
        key=key.id,
        balancers={item.zone: _balancer(zone, provider, network, item) for item in zone.balancers},
    )


def _key(zone: LandingZone, provider: Provider) -> Key:
    """The key of the bucket, volumes and the cluster's Secrets.

    It rotates once a year. SM4 keys are kept in hardware, where the vendor does not rotate keys.
    """
    settings = zone.cloud.settings_as(AlicloudSettings)
    hardware = zone.wants_sm or settings.kms_hardware
    return Key(
        "key",
        description=f"{zone.name}: Secrets and objects",
        key_spec="Aliyun_SM4" if zone.wants_sm else "Aliyun_AES_256",
        protection_level="HSM" if hardware else "SOFTWARE",
        dkms_instance_id=settings.kms_instance or None,
        automatic_rotation=None if hardware else "Enabled",
        # The only rotation period that the region's default key supports.
        rotation_interval=None if hardware else "365d",
        key_usage="ENCRYPT/DECRYPT",
        # Data encrypted with a deleted key is lost, so deletion can be cancelled for a month.
        pending_window_in_days=30,
        tags=zone.tags_of(),
        # In regions with hardware the vendor uses it regardless of the request. The key must not be replaced for that.
        opts=landing.options(provider, protect=True, ignore=("protectionLevel",)),
    )


def _cluster(zone: LandingZone, provider: Provider, network: Network, key: Key) -> ManagedKubernetes:
    """The managed cluster and its node pools. An existing cluster is only read."""
    if not zone.makes_cluster:
        return ManagedKubernetes.get("cluster", zone.cloud.existing.cluster, opts=landing.options(provider))
    settings = zone.cloud.settings_as(AlicloudSettings)
    assert network.nodes is not None
    cluster = ManagedKubernetes(
        "cluster",
        name=zone.name,
        version=settings.kubernetes_version or None,
        cluster_spec=settings.cluster_spec,
        vswitch_ids=[network.subnets[name] for name in zone.cluster_subnets],
        pod_vswitch_ids=[switch.id for switch in network.pods],
        service_cidr=zone.cloud.network.services,
        security_group_id=network.nodes.id,
        # Both are on by default: a NAT gateway for all subnets, and a public API server, for which the SDK cannot set
        # an access list.
        new_nat_gateway=False,
        slb_internet_enabled=False,
        encryption_provider_key=key.id,
        disable_encryption=False,
        # Credentials must not be in plain attributes of the state; they are read when they are needed.
        skip_set_certificate_authority=True,
        deletion_protection=True,
        audit_log_config={"enabled": True},
        addons=[
            {"name": "terway-eniip", "config": json.dumps({"NetworkPolicy": "true"})},
            {"name": "csi-plugin"},
            {"name": "csi-provisioner"},
        ],
        tags=zone.tags_of(),
        opts=landing.options(provider, protect=True, timeout=_CLUSTER_TIMEOUT),
    )
    for pool in zone.pools:
        _pool(zone, provider, network, cluster, pool)
    return cluster


def _balancer(zone: LandingZone, provider: Provider, network: Network, item: Balancer) -> landing.MadeBalancer:
    """A CLB for an entry point.

    It reaches nodes and pods from the vendor's own range, which the nodes' group allows.
    """
    made = ApplicationLoadBalancer(
        f"balancer-{item.zone}",
        load_balancer_name=zone.physical_name(item.zone),
        address_type="internet" if item.public else "intranet",
        internet_charge_type="PayByTraffic" if item.public else None,
        vswitch_id=None if item.public else network.subnets[item.zone],
        payment_type="PayAsYouGo",
        instance_charge_type="PayByCLCU",
        tags=zone.tags_of(zone=item.zone),
        opts=landing.options(provider),
    )
    return landing.MadeBalancer(made.id, made.address)


def _pool(
    zone: LandingZone, provider: Provider, network: Network, cluster: ManagedKubernetes, pool: NodePool
) -> AckNodePool:
    assert network.nodes is not None
    # Disks support AES only; if SM is required they are left unencrypted.
    encrypted = not zone.wants_sm
    return AckNodePool(
        f"pool-{pool.name}",
        node_pool_name=pool.physical_name,
        cluster_id=cluster.id,
        vswitch_ids=[network.subnets[name] for name in pool.subnets],
        security_group_ids=[network.nodes.id, *(network.groups[name].id for name in pool.zones)],
        instance_types=list(pool.pool.instance_types),
        desired_size=str(pool.pool.nodes),
        image_type=_IMAGES[pool.pool.architecture],
        key_name=zone.cloud.settings_as(AlicloudSettings).key_pair or None,
        labels=[{"key": key, "value": value} for key, value in sorted(pool.labels.items())],
        system_disk_category="cloud_essd",
        system_disk_size=_SYSTEM_DISK_GIB,
        system_disk_encrypted=encrypted,
        data_disks=[
            {"category": "cloud_essd", "size": _disk_gib(pool), "encrypted": "true" if encrypted else "false"},
        ],
        tags=zone.tags_of(pool=pool.name),
        # Nodes pull images as soon as they start, so egress must exist.
        opts=landing.options(provider, after=network.ways_out, timeout=_CLUSTER_TIMEOUT),
    )


def _disk_gib(pool: NodePool) -> int:
    return max(_SMALLEST_DISK_GIB, math.ceil(parse_quantity(pool.pool.storage) / 2**30))


def _bucket(zone: LandingZone, provider: Provider, key: Key) -> Bucket:
    """A private, versioned bucket, whose objects are encrypted with the key."""
    encryption = {"sse_algorithm": "KMS", "kms_master_key_id": key.id}
    if zone.wants_sm:
        encryption["kms_data_encryption"] = "SM4"
    bucket = Bucket(
        "bucket",
        bucket=zone.bucket_name,
        acl="private",
        versioning={"status": "Enabled"},
        server_side_encryption_rule=encryption,
        tags=zone.tags_of(),
        opts=landing.options(provider, protect=True),
    )
    BucketPublicAccessBlock("bucket", bucket=bucket.id, block_public_access=True, opts=landing.options(provider))
    return bucket


def _kubeconfig(zone: LandingZone, provider: Provider, cluster: ManagedKubernetes) -> pulumi.Output[str]:
    """A kubeconfig for the private address of the API server."""
    credential = get_cluster_credential_output(
        cluster_id=cluster.id, opts=pulumi.InvokeOutputOptions(provider=provider)
    )
    certificates = credential.apply(lambda found: _first(found.certificate_authorities))
    addresses = cluster.connections.apply(_first)
    server = addresses.apply(partial(_read, name="api_server_intranet"))
    return landing.kubeconfig(
        zone.name,
        server,
        *(certificates.apply(partial(_read, name=name)) for name in ("cluster_cert", "client_cert", "client_key")),
    )


def _first(items: Sequence[Any] | None) -> Any:
    return items[0] if items else None


def _read(item: Any, name: str) -> str | None:
    value = getattr(item, name, None)
    return value if isinstance(value, str) else None
