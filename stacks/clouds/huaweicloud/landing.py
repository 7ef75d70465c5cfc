"""The landing zone on Huawei Cloud: a CCE cluster with its nodes, OBS and keys of DEW.

Experimental: the vendor's SDK has had no release since March 2025, and cannot make CCE encrypt Secrets with a key. The
plan comes from `stacks.base.landing`; the module `network` creates the network. Nodes are in the security groups of
their zones, which allow the city's declared flows, and in a common one, which allows what CCE itself needs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pulumi

from stacks.base import landing
from stacks.base.landing import LandingZone, NodePool, options
from stacks.base.vpc import Network, check_needs
from stacks.clouds.huaweicloud import HuaweiCloudSettings
from stacks.clouds.huaweicloud.network import Direction, add_rule, make_group, make_network
from wecityctl.inputs import StackInputs
from wecityctl.model.balancers import Balancer
from wecityctl.model.quantity import parse_quantity

with landing.needs_sdk("huaweicloud"):
    from pulumi_huaweicloud import _utilities, cce, dedicatedelb, dew, obs, vpc

# The vendor's services inside every VPC: DNS, NTP, image registry, object store.
_VENDOR_RANGES = ("100.125.0.0/16", "198.19.128.0/17")
_NODE_IMAGE = "Huawei Cloud EulerOS 2.0"
_DISK = "SSD"
_ROOT_DISK_GIB = 100
_SMALLEST_DISK_GIB = 100
_CLUSTER_TIMEOUT = "60m"
# The bandwidth limit of a load balancer's address in Mbit/s; billing is by traffic.
_BALANCER_MBIT = 100


def run(inputs: StackInputs) -> dict[str, Any]:
    """Register the landing zone and return its outputs."""
    zone = landing.plan_landing(inputs.city, inputs.stack.cloud, inputs.balancers)
    _check(zone)
    pulumi.log.warn("Huawei Cloud is experimental: the vendor's SDK has had no release since March 2025")
    defaults = _utilities.get_resource_opts_defaults()
    provider = landing.make_provider("huaweicloud", defaults, region=zone.cloud.region)
    key = _keys(zone, provider)
    network = make_network(zone, provider)
    bucket = _bucket(zone, provider, key)
    if zone.makes_cluster:
        cluster, kubeconfig = _cluster(zone, provider, network, key)
    else:
        cluster, kubeconfig = zone.cloud.existing.cluster, _existing_kubeconfig(zone, provider)
    return landing.outputs(
        zone,
        kubeconfig=kubeconfig,
        network=network.id,
        subnets=network.subnets,
        cluster=cluster,
        bucket=bucket.id,
        key=key.id,
        balancers={item.zone: _balancer(zone, provider, network, item) for item in zone.balancers},
    )


def _check(zone: LandingZone) -> None:
    """Raise `ConfigurationError` for missing settings that the vendor requires and that have no default."""
    settings = zone.cloud.settings_as(HuaweiCloudSettings)
    missing = [] if zone.cloud.region else ["region"]
    if zone.makes_cluster and zone.pools and not settings.key_pair:
        missing.append("huaweicloud.keyPair")
    if zone.balancers and not settings.availability_zones:
        missing.append("huaweicloud.availabilityZones, in which a load balancer stands,")
    check_needs(zone, "Huawei Cloud", missing)


def _keys(zone: LandingZone, provider: pulumi.ProviderResource) -> dew.Key:
    """The key of disks and objects.

    If SM is required, it is an SM4 key, and an SM2 key for signatures is created too.
    """
    alias = zone.physical_name("data")
    if zone.wants_sm:
        _key(zone, provider, "signing-key", zone.physical_name("signing"), "SM2", "SIGN_VERIFY")
        return _key(zone, provider, "key", alias, "SM4", "ENCRYPT_DECRYPT")
    return _key(zone, provider, "key", alias, "AES_256", "ENCRYPT_DECRYPT", rotation=True)


def _key(
    zone: LandingZone,
    provider: pulumi.ProviderResource,
    name: str,
    alias: str,
    algorithm: str,
    usage: str,
    *,
    rotation: bool = False,
) -> dew.Key:
    return dew.Key(
        name,
        key_alias=alias,
        key_description=f"keys of {zone.city.name} on {zone.cloud.name}",
        key_algorithm=algorithm,
        key_usage=usage,
        is_enabled=True,
        rotation_enabled=True if rotation else None,
        # Data encrypted with a deleted key is lost, so deletion can be cancelled for a month.
        pending_days="30",
        tags=zone.tags,
        opts=options(provider, protect=True),
    )


def _bucket(zone: LandingZone, provider: pulumi.ProviderResource, key: dew.Key) -> obs.Bucket:
    """A private, versioned bucket, whose objects are encrypted with the key."""
    return obs.Bucket(
        "bucket",
        bucket=zone.bucket_name,
        acl="private",
        versioning=True,
        encryption=True,
        sse_algorithm="kms",
        kms_key_id=key.id,
        force_destroy=False,
        tags=zone.tags,
        opts=options(provider, protect=True),
    )


def _balancer(
    zone: LandingZone, provider: pulumi.ProviderResource, network: Network, item: Balancer
) -> landing.MadeBalancer:
    """A dedicated ELB for an entry point, in its zone's subnet, which the nodes' group allows."""
    name, tags = zone.physical_name(item.zone, limit=64), zone.tags_of(zone=item.zone)
    address = (
        vpc.Eip(
            f"balancer-address-{item.zone}",
            name=name,
            publicip=vpc.EipPublicipArgs(type="5_bgp"),
            bandwidth=vpc.EipBandwidthArgs(share_type="PER", name=name, size=_BALANCER_MBIT, charge_mode="traffic"),
            tags=tags,
            opts=options(provider),
        )
        if item.public
        else None
    )
    made = dedicatedelb.Loadbalancer(
        f"balancer-{item.zone}",
        name=name,
        description=f"the entry point of {item.zone}",
        vpc_id=network.id,
        ipv4_subnet_id=network.ports[item.zone],
        ipv4_eip_id=address.id if address is not None else None,
        availability_zones=list(zone.availability_zones),
        tags=tags,
        opts=options(provider),
    )
    return landing.MadeBalancer(made.id, address.address if address is not None else made.ipv4_address)


def _cluster(
    zone: LandingZone, provider: pulumi.ProviderResource, network: Network, key: dew.Key
) -> tuple[pulumi.Input[str], pulumi.Input[str]]:
    """The cluster, without a public address, and its nodes; returns its identifier and its kubeconfig."""
    settings, ranges = zone.cloud.settings_as(HuaweiCloudSettings), zone.cloud.network
    nodes, rules = _nodes(zone, provider, network)
    cluster = cce.Cluster(
        "cluster",
        name=zone.physical_name(limit=63),
        description=f"{zone.city.name} on {zone.cloud.name}",
        cluster_type="ARM64" if zone.pools and all(pool.is_arm for pool in zone.pools) else "VirtualMachine",
        flavor_id=settings.cluster_flavor,
        cluster_version=settings.kubernetes_version or None,
        vpc_id=network.id,
        subnet_id=network.subnets[zone.cluster_subnets[0]],
        security_group_id=nodes,
        container_network_type=settings.container_network,
        container_network_cidr=ranges.pods,
        service_network_cidr=ranges.services,
        authentication_mode="rbac",
        kube_proxy_mode="ipvs",
        # Keep disks and buckets when the cluster is deleted, because they hold the city's data.
        delete_all="false",
        delete_evs="false",
        delete_obs="false",
        delete_sfs="false",
        tags=zone.tags,
        opts=options(
            provider,
            protect=True,
            timeout=_CLUSTER_TIMEOUT,
            after=[*network.rules, *rules],
            secret=["kubeConfigRaw", "certificateClusters", "certificateUsers"],
        ),
    )
    for item in zone.pools:
        _pool(zone, provider, cluster, network, nodes, key, item)
    return cluster.id, cluster.kube_config_raw.apply(lambda text: text or "")


def _nodes(
    zone: LandingZone, provider: pulumi.ProviderResource, network: Network
) -> tuple[pulumi.Input[str], tuple[pulumi.Resource, ...]]:
    """The common security group of all nodes, which allows only what CCE needs; returns it and its rules.

    Source: the vendor's "Configuring a cluster security group rule" (node security group).
    """
    why = f"nodes of {zone.name}: each other, their pods, their control plane"
    group = make_group(zone, provider, "nodes", why, purpose="nodes").id
    rules = tuple(
        add_rule(provider, f"nodes-{direction}-{name}", group, direction, why, **how)
        for name, direction, why, how in _needs(zone, network, group)
    )
    return group, rules


def _needs(
    zone: LandingZone, network: Network, group: pulumi.Input[str]
) -> Iterator[tuple[str, Direction, str, dict[str, Any]]]:
    pods = zone.cloud.network.pods
    both: tuple[Direction, ...] = ("ingress", "egress")
    for direction in both:
        yield "nodes", direction, "nodes of this cluster", {"remote_group_id": group}
        yield "pods", direction, "pods of this cluster", {"remote_ip_prefix": pods}
    for name in zone.cluster_subnets:
        # The control plane is in the cluster's subnet, in a security group that the vendor manages.
        cidr = network.ranges[name]
        kubelet = {"protocol": "tcp", "ports": "10250", "remote_ip_prefix": cidr}
        yield f"control-{name}", "ingress", "the control plane asks the nodes", kubelet
        api = {"protocol": "tcp", "ports": "5443-5444,8445,9443", "remote_ip_prefix": cidr}
        yield f"control-{name}", "egress", "the nodes ask the control plane", api
        for direction in both:
            tunnel = {"protocol": "udp", "ports": "4789", "remote_ip_prefix": cidr}
            yield f"tunnel-{name}", direction, "the pods' tunnel network", tunnel
    for item in zone.balancers:
        # Health checks come from the balancer's subnet. Forwarded client traffic needs no rule.
        ports = "-".join(map(str, landing.NODE_PORTS))
        asked = {"protocol": "tcp", "ports": ports, "remote_ip_prefix": network.ranges[item.zone]}
        yield f"balancer-{item.zone}", "ingress", f"the load balancer of {item.zone}", asked
    for number, cidr in enumerate(_VENDOR_RANGES):
        yield f"vendor-{number}", "egress", "the vendor's names, time, images and objects", {"remote_ip_prefix": cidr}


def _pool(
    zone: LandingZone,
    provider: pulumi.ProviderResource,
    cluster: cce.Cluster,
    network: Network,
    nodes: pulumi.Input[str],
    key: dew.Key,
    item: NodePool,
) -> None:
    pool = item.pool
    first, *others = pool.instance_types
    cce.NodePool(
        f"pool-{item.name}",
        name=item.physical_name,
        cluster_id=cluster.id,
        flavor_id=first,
        extension_scale_groups=[_more(flavor) for flavor in others] or None,
        initial_node_count=pool.nodes,
        os=_NODE_IMAGE,
        runtime="containerd",
        key_pair=zone.cloud.settings_as(HuaweiCloudSettings).key_pair,
        availability_zone=zone.availability_zones[0] if zone.availability_zones else None,
        subnet_lists=[network.subnets[name] for name in item.subnets],
        security_groups=[*(network.groups[name] for name in item.zones), nodes],
        labels=dict(item.labels),
        tags=zone.tags_of(pool=item.name),
        root_volume=cce.NodePoolRootVolumeArgs(size=_ROOT_DISK_GIB, volumetype=_DISK, kms_key_id=key.id),
        data_volumes=[cce.NodePoolDataVolumeArgs(size=_disk_gib(pool.storage), volumetype=_DISK, kms_key_id=key.id)],
        # Nodes pull images as soon as they start, so egress must exist.
        opts=options(provider, after=network.ways_out, timeout=_CLUSTER_TIMEOUT),
    )


def _more(flavor: str) -> cce.NodePoolExtensionScaleGroupArgs:
    """Another flavour for nodes of the pool, used when the first is sold out."""
    name = flavor.lower().replace(".", "-").replace("_", "-")
    return cce.NodePoolExtensionScaleGroupArgs(
        metadata=cce.NodePoolExtensionScaleGroupMetadataArgs(name=name),
        spec=cce.NodePoolExtensionScaleGroupSpecArgs(flavor=flavor),
    )


def _disk_gib(amount: str) -> int:
    return max(_SMALLEST_DISK_GIB, int(-(-parse_quantity(amount) // (1 << 30))))


def _existing_kubeconfig(zone: LandingZone, provider: pulumi.ProviderResource) -> pulumi.Output[str]:
    """The kubeconfig of an existing cluster."""
    found = cce.get_cluster_output(id=zone.cloud.existing.cluster, opts=pulumi.InvokeOptions(provider=provider))
    text: pulumi.Output[str] = found.apply(lambda answer: answer.kube_config_raw or "")
    return text
