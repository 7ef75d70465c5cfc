"""The landing zone on Tencent Cloud: VPC, zones' subnets and security groups, NAT where it may be, TKE, COS and KMS.

What is planned comes from `landing`; this module says it in the vendor's words. Nodes stand in the groups of their
zones, which hold the city's declared flows, and in one group of their own, without which a cluster is none: it lets
nodes and pods of this cluster reach each other, the name servers and the vendor's own range, and nobody else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Any

import pulumi

from wecityctl.errors import ConfigurationError
from wecityctl.inputs import StackInputs
from wecityctl.model import naming
from wecityctl.model.quantity import parse_quantity
from wecityctl.stacks.base import landing
from wecityctl.stacks.base.landing import LandingZone, NodePool, options

with landing.needs_sdk("tencentcloud"):
    from tencentcloud_iac_pulumi import cos, eip, kms, kubernetes, nat, route, security, subnet, vpc
    from tencentcloud_iac_pulumi.provider import Provider

EXTRA = "tencentcloud"
# The vendor's name servers and its own range, in which the control plane of a managed cluster answers its nodes.
NAME_SERVERS = ("183.60.83.19/32", "183.60.82.98/32")
VENDOR_RANGE = "169.254.0.0/16"
PODS_PER_NODE = 64
# The limits of `clusterMaxServiceNum`.
SERVICES = (32, 32768)
# A bucket's whole name has at most 60 characters.
BUCKET_NAME = 60
# Public images of TencentOS: by name, and by identifier where the vendor lists no name for Kubernetes.
_IMAGES = {"amd64": "tlinux4_x86_64_public", "arm64": "img-9a0eg8mt"}
_CLUSTER_TIMEOUT = "60m"


@dataclass(frozen=True, slots=True)
class _Network:
    """The network's parts that others name; `subnets` and `groups` by logical name and by zone."""

    id: pulumi.Input[str]
    subnets: Mapping[str, pulumi.Input[str]]
    groups: Mapping[str, pulumi.Input[str]]
    rules: Sequence[pulumi.Resource]
    ways_out: Sequence[pulumi.Resource] = ()


@dataclass(frozen=True, slots=True)
class _WayOut:
    """The route table of the subnets that may leave, and its entry that leads out."""

    table: route.Table
    entry: route.TableEntry


@dataclass(frozen=True, slots=True)
class _Nodes:
    """The security group of all nodes, and its rules."""

    group: pulumi.Input[str]
    rules: pulumi.Resource


def run(inputs: StackInputs) -> dict[str, Any]:
    """Register the landing zone and return its outputs."""
    zone = landing.plan_landing(inputs.city, inputs.stack.cloud, inputs.crossings)
    _check(zone)
    provider = Provider("cloud", region=zone.cloud.region)
    network = _network(zone, provider)
    key = _key(zone, provider)
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
    )


def _check(zone: LandingZone) -> None:
    """What the vendor demands and no default can give."""
    name, settings = zone.cloud.name, zone.cloud.tencentcloud
    makes_subnets = not all(item.existing for item in zone.subnets)
    missing = [
        *([] if zone.cloud.region else ["region"]),
        *(["tencentcloud.availabilityZones"] if makes_subnets and not settings.availability_zones else []),
        *([] if settings.app_id else ["tencentcloud.appId"]),
    ]
    if missing:
        raise ConfigurationError(f"cloud {name}: Tencent Cloud needs {', '.join(missing)} in the Cloud's spec")
    for pool in zone.cloud.pools if zone.makes_cluster else ():
        if not pool.instance_types:
            raise ConfigurationError(f"cloud {name}: pool {pool.name} names no instanceTypes to make its nodes of")
        if pool.architecture not in _IMAGES:
            raise ConfigurationError(f"cloud {name}: Tencent Cloud has no {pool.architecture} nodes (pool {pool.name})")


def _network(zone: LandingZone, provider: Provider) -> _Network:
    existing = zone.cloud.existing
    network: pulumi.Input[str]
    if existing.network:
        network = vpc.Instance.get("network", existing.network, opts=options(provider)).id
    else:
        network = vpc.Instance(
            "network",
            name=zone.name,
            cidr_block=zone.cloud.network.cidr,
            is_multicast=False,
            tags=zone.tags,
            opts=options(provider, protect=True),
        ).id
    way_out = _egress(zone, provider, network)
    subnets: dict[str, pulumi.Input[str]] = {}
    for item in zone.subnets:
        if item.existing:
            subnets[item.name] = subnet.Instance.get(f"subnet-{item.name}", item.existing, opts=options(provider)).id
            continue
        subnets[item.name] = subnet.Instance(
            f"subnet-{item.name}",
            name=zone.physical_name(item.name, limit=60),
            vpc_id=network,
            availability_zone=item.availability_zone,
            cidr_block=item.cidr,
            is_multicast=False,
            route_table_id=way_out.table.id if way_out is not None and item in zone.egress_subnets else None,
            tags=zone.tags_of(zone=item.zone),
            opts=options(provider, protect=True),
        ).id
    groups = {item.name: _group(zone, provider, item.name).id for item in zone.zones}
    rules = [_rules(zone, provider, item.name, groups) for item in zone.zones]
    return _Network(network, subnets, groups, rules, (way_out.entry,) if way_out is not None else ())


def _egress(zone: LandingZone, provider: Provider, network: pulumi.Input[str]) -> _WayOut | None:
    """The way out; `None` where no zone may leave."""
    if not zone.egress_subnets:
        return None
    tags = zone.tags_of(purpose="egress")
    address = eip.Instance(
        "egress-address",
        name=zone.physical_name("egress"),
        internet_charge_type="TRAFFIC_POSTPAID_BY_HOUR",
        internet_max_bandwidth_out=100,
        tags=tags,
        opts=options(provider),
    )
    gateway = nat.Gateway(
        "egress",
        name=zone.physical_name("egress"),
        vpc_id=network,
        assigned_eip_sets=[address.public_ip],
        bandwidth=100,
        max_concurrent=1000000,
        tags=tags,
        opts=options(provider),
    )
    table = route.Table(
        "egress-routes", name=zone.physical_name("egress"), vpc_id=network, tags=tags, opts=options(provider)
    )
    entry = route.TableEntry(
        "egress-default",
        route_table_id=table.id,
        destination_cidr_block=landing.ANYWHERE,
        next_type="NAT",
        next_hub=gateway.id,
        description="the way out of the zones that may leave",
        opts=options(provider),
    )
    return _WayOut(table, entry)


def _group(zone: LandingZone, provider: Provider, name: str) -> security.Group:
    """A security group: one without rules lets nothing in and nothing out."""
    return security.Group(
        f"group-{name}",
        name=zone.physical_name(name, limit=60),
        description=f"zone {name} of {zone.city.name}: declared flows only",
        tags=zone.tags_of(zone=name),
        opts=options(provider),
    )


def _rules(
    zone: LandingZone, provider: Provider, name: str, groups: Mapping[str, pulumi.Input[str]]
) -> security.GroupRuleSet:
    """All rules of a zone's group as one set, so that a rule made by hand shows as drift and goes."""
    rules = zone.rules_of(name)
    incoming = [
        security.GroupRuleSetIngressArgs(**_passing(rule, groups)) for rule in rules if rule.direction == "ingress"
    ]
    outgoing = [
        security.GroupRuleSetEgressArgs(**_passing(rule, groups)) for rule in rules if rule.direction == "egress"
    ]
    return security.GroupRuleSet(
        f"rules-{name}",
        security_group_id=groups[name],
        ingresses=incoming,
        egresses=outgoing,
        opts=options(provider),
    )


def _passing(rule: landing.Rule, groups: Mapping[str, pulumi.Input[str]]) -> dict[str, Any]:
    side = {"source_security_id": groups[rule.peer]} if rule.peer else {"cidr_block": rule.cidr}
    return _accept(rule.description, protocol=rule.protocol, port=rule.port, **side)


def _accept(why: str, *, protocol: str = "any", port: int = 0, **side: pulumi.Input[str]) -> dict[str, Any]:
    return {
        "action": "ACCEPT",
        "protocol": "ALL" if protocol == "any" else protocol.upper(),
        "port": str(port) if port else "all",
        "description": why,
        **side,
    }


def _key(zone: LandingZone, provider: Provider) -> kms.Key:
    """A city that requires SM gets an SM2 key; the vendor's only symmetric key has no SM guarantee, and is not used."""
    sm = zone.wants_sm
    return kms.Key(
        "key",
        alias=zone.name,
        description=f"keys of {zone.city.name} on {zone.cloud.name}",
        key_usage="ASYMMETRIC_SIGN_VERIFY_SM2" if sm else "ENCRYPT_DECRYPT",
        # Asymmetric keys cannot be rotated in place.
        key_rotation_enabled=None if sm else True,
        is_enabled=True,
        pending_delete_window_in_days=30,
        tags=zone.tags,
        opts=options(provider, protect=True),
    )


def _bucket(zone: LandingZone, provider: Provider, key: kms.Key) -> cos.Bucket:
    app_id = zone.cloud.tencentcloud.app_id
    name = naming.fit(zone.bucket_name, BUCKET_NAME - 1 - len(app_id))
    encryption = {"encryption_algorithm": "SM4"} if zone.wants_sm else {"encryption_algorithm": "KMS", "kms_id": key.id}
    return cos.Bucket(
        "bucket",
        bucket=f"{name}-{app_id}",
        acl="private",
        versioning_enable=True,
        force_clean=False,
        tags=zone.tags,
        **encryption,
        opts=options(provider, protect=True),
    )


def _cluster(
    zone: LandingZone, provider: Provider, network: _Network, key: kms.Key
) -> tuple[pulumi.Input[str], pulumi.Input[str]]:
    """The cluster, its nodes and its private endpoint: its identifier and its kubeconfig."""
    settings, ranges = zone.cloud.tencentcloud, zone.cloud.network
    cluster = kubernetes.Cluster(
        "cluster",
        cluster_name=zone.name,
        cluster_desc=f"{zone.city.name} on {zone.cloud.name}",
        vpc_id=network.id,
        cluster_deploy_type="MANAGED_CLUSTER",
        cluster_level=settings.cluster_level,
        auto_upgrade_cluster_level=False,
        cluster_version=settings.kubernetes_version or None,
        cluster_os=_IMAGES["amd64"],
        container_runtime="containerd",
        network_type="GR",
        cluster_cidr=ranges.pods,
        service_cidr=ranges.services,
        cluster_max_pod_num=PODS_PER_NODE,
        cluster_max_service_num=_services(ranges.services),
        cluster_ipvs=True,
        deletion_protection=True,
        cluster_audit=kubernetes.ClusterClusterAuditArgs(enabled=True, delete_audit_log_and_topic=False),
        tags=zone.tags,
        # The endpoint and the nodes are resources of their own; the vendor's answer names theirs here too.
        opts=options(provider, protect=True, timeout=_CLUSTER_TIMEOUT, after=network.rules),
    )
    nodes = _nodes(zone, provider)
    pools = [_pool(zone, provider, cluster, network, nodes, pool) for pool in zone.pools]
    # The zones are fenced by NetworkPolicy, which the vendor's plain network leaves to this add-on.
    kubernetes.Addon(
        "network-policy", cluster_id=cluster.id, addon_name="networkpolicy", opts=options(provider, after=pools)
    )
    if zone.wants_sm:
        pulumi.log.warn(
            f"Secrets of cluster {zone.name} are not encrypted with KMS: Tencent Cloud has no symmetric SM key for "
            "them, and the city requires SM cryptography"
        )
    else:
        kubernetes.EncryptionProtection(
            "secrets-encryption",
            cluster_id=cluster.id,
            kms_configuration=kubernetes.EncryptionProtectionKmsConfigurationArgs(
                key_id=key.id, kms_region=zone.cloud.region
            ),
            opts=options(provider, timeout=_CLUSTER_TIMEOUT),
        )
    if not pools:
        # The vendor opens an endpoint only for a cluster that has nodes.
        return cluster.id, ""
    endpoint = kubernetes.ClusterEndpoint(
        "endpoint",
        cluster_id=cluster.id,
        cluster_internet=False,
        cluster_intranet=True,
        cluster_intranet_subnet_id=network.subnets[zone.cluster_subnets[0]],
        opts=options(provider, after=pools, timeout=_CLUSTER_TIMEOUT),
    )
    return cluster.id, endpoint.kube_config_intranet.apply(lambda text: text or "")


def _nodes(zone: LandingZone, provider: Provider) -> _Nodes:
    """The group by which the machines of one cluster know each other, and its rules."""
    group = security.Group(
        "group-nodes",
        name=zone.physical_name("nodes", limit=60),
        description=f"nodes of {zone.name}: each other, their pods, their control plane",
        tags=zone.tags_of(purpose="nodes"),
        opts=options(provider),
    ).id
    incoming = [*_among_nodes(zone, group)]
    outgoing = [
        *_among_nodes(zone, group),
        _accept("the vendor's control plane and mirrors", cidr_block=VENDOR_RANGE),
        *(_accept("the vendor's name servers", protocol="UDP", port=53, cidr_block=each) for each in NAME_SERVERS),
    ]
    rules = security.GroupRuleSet(
        "rules-nodes",
        security_group_id=group,
        ingresses=[security.GroupRuleSetIngressArgs(**rule) for rule in incoming],
        egresses=[security.GroupRuleSetEgressArgs(**rule) for rule in outgoing],
        opts=options(provider),
    )
    return _Nodes(group, rules)


def _among_nodes(zone: LandingZone, group: pulumi.Input[str]) -> Iterator[dict[str, Any]]:
    yield _accept("nodes of this cluster", source_security_id=group)
    yield _accept("pods of this cluster", cidr_block=zone.cloud.network.pods)
    for item in zone.subnets:
        if item.name in zone.cluster_subnets and not item.existing:
            yield _accept("the control plane's endpoint", cidr_block=item.cidr)


def _pool(
    zone: LandingZone,
    provider: Provider,
    cluster: kubernetes.Cluster,
    network: _Network,
    nodes: _Nodes,
    item: NodePool,
) -> kubernetes.NodePool:
    pool = item.pool
    first, *others = pool.instance_types
    return kubernetes.NodePool(
        f"pool-{item.name}",
        # The vendor allows 25 characters.
        name=naming.fit(item.name, 25),
        cluster_id=cluster.id,
        vpc_id=network.id,
        subnet_ids=[network.subnets[name] for name in item.subnets],
        multi_zone_subnet_policy="EQUALITY",
        node_os=_IMAGES[pool.architecture],
        enable_auto_scale=False,
        min_size=0,
        max_size=pool.nodes,
        desired_capacity=pool.nodes,
        wait_node_ready=True,
        delete_keep_instance=False,
        deletion_protection=True,
        labels=dict(item.labels),
        tags=zone.tags_of(pool=item.name),
        auto_scaling_config=kubernetes.NodePoolAutoScalingConfigArgs(
            instance_type=first,
            backup_instance_types=others or None,
            orderly_security_group_ids=[*(network.groups[name] for name in item.zones), nodes.group],
            public_ip_assigned=False,
            internet_max_bandwidth_out=0,
            system_disk_type="CLOUD_PREMIUM",
            system_disk_size=100,
            data_disks=[
                kubernetes.NodePoolAutoScalingConfigDataDiskArgs(
                    disk_type="CLOUD_PREMIUM",
                    disk_size=_gibibytes(pool.storage),
                    delete_with_instance=True,
                    # The vendor's disk encryption is AES, which a city that requires SM has not asked for.
                    encrypt=not zone.wants_sm,
                )
            ],
            enhanced_monitor_service=True,
            enhanced_security_service=True,
        ),
        node_config=kubernetes.NodePoolNodeConfigArgs(
            data_disks=[
                kubernetes.NodePoolNodeConfigDataDiskArgs(
                    disk_type="CLOUD_PREMIUM",
                    disk_size=_gibibytes(pool.storage),
                    file_system="ext4",
                    auto_format_and_mount=True,
                    mount_target="/var/lib/containerd",
                )
            ],
            docker_graph_path="/var/lib/containerd",
        ),
        # Nodes fetch images as soon as they start.
        opts=options(provider, after=[nodes.rules, *network.ways_out], timeout=_CLUSTER_TIMEOUT),
    )


def _existing_kubeconfig(zone: LandingZone, provider: Provider) -> pulumi.Output[str]:
    """The private kubeconfig of a cluster that was there before."""
    found = kubernetes.get_clusters_output(
        cluster_id=zone.cloud.existing.cluster, opts=pulumi.InvokeOutputOptions(provider=provider)
    )
    text: pulumi.Output[str] = found.apply(lambda it: it.lists[0].kube_config_intranet if it.lists else "")
    return text


def _services(cidr: str) -> int:
    """How many Services fit a range, within what the vendor takes."""
    return max(SERVICES[0], min(SERVICES[1], IPv4Network(cidr).num_addresses))


def _gibibytes(amount: str) -> int:
    """A quantity of bytes in whole GiB and the vendor's steps of ten, at least."""
    gibibytes = int(-(-parse_quantity(amount) // (1 << 30)))
    return -(-gibibytes // 10) * 10
