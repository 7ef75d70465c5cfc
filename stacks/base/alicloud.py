"""The landing zone on Alibaba Cloud: a VPC, a vSwitch and a security group per zone, ACK managed Kubernetes with a node
pool per pool, OSS and KMS. What it consists of is planned by `landing`; here are the vendor's resources.

The cluster's network is Terway, because Flannel on ACK does not enforce network policies; pods therefore have vSwitches
of their own in the network's pod range.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pulumi

from wecityctl.inputs import StackInputs
from wecityctl.model.addresses import QUARTERS, pod_ranges
from wecityctl.model.quantity import parse_quantity
from wecityctl.stacks.base import landing
from wecityctl.stacks.base.landing import LandingZone, NodePool, Rule, Subnet

with landing.needs_sdk("alicloud"):
    from pulumi_alicloud import Provider
    from pulumi_alicloud.cs.get_cluster_credential import get_cluster_credential_output
    from pulumi_alicloud.cs.managed_kubernetes import ManagedKubernetes
    from pulumi_alicloud.cs.node_pool import NodePool as AckNodePool
    from pulumi_alicloud.ecs.eip_address import EipAddress
    from pulumi_alicloud.ecs.eip_association import EipAssociation
    from pulumi_alicloud.ecs.security_group import SecurityGroup
    from pulumi_alicloud.ecs.security_group_rule import SecurityGroupRule
    from pulumi_alicloud.kms.key import Key
    from pulumi_alicloud.oss.bucket import Bucket
    from pulumi_alicloud.oss.bucket_public_access_block import BucketPublicAccessBlock
    from pulumi_alicloud.vpc.ipv4_cidr_block import Ipv4CidrBlock
    from pulumi_alicloud.vpc.nat_gateway import NatGateway
    from pulumi_alicloud.vpc.network import Network
    from pulumi_alicloud.vpc.snat_entry import SnatEntry
    from pulumi_alicloud.vpc.switch import Switch

# Rules with a smaller number win: what Kubernetes needs, what the city declared, the way out, nothing else.
_CLUSTER, _DECLARED, _WAY_OUT, _NOTHING_ELSE = 1, 10, 50, 100
# The vendor's own services inside every VPC: name servers, clocks, image registries, health checks.
_VENDOR_SERVICES = "100.64.0.0/10"
_DIRECTIONS: tuple[landing.Direction, ...] = ("ingress", "egress")
_IMAGES = {"amd64": "AliyunLinux3", "arm64": "AliyunLinux3Arm64"}
_SYSTEM_DISK_GIB = 120
_SMALLEST_DISK_GIB = 20
# The address's limit; the bill is by traffic.
_EGRESS_MBIT = 100
_CLUSTER_TIMEOUT = "90m"

Identifiers = Mapping[str, pulumi.Input[str]]


@dataclass(frozen=True)
class _Network:
    """What the cluster is put into: subnets by logical name, pods' subnets, security groups by zone."""

    id: pulumi.Input[str]
    subnets: Identifiers
    pods: tuple[Switch, ...]
    groups: Mapping[str, SecurityGroup]
    nodes: SecurityGroup | None
    ways_out: tuple[SnatEntry, ...]


def run(inputs: StackInputs) -> dict[str, Any]:
    """Register the landing zone of the stack's cloud and say what it has."""
    zone = landing.plan_landing(inputs.city, inputs.stack.cloud, inputs.crossings)
    provider = Provider("cloud", region=zone.cloud.region)
    key = _key(zone, provider)
    network = _network(zone, provider)
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
    )


def _key(zone: LandingZone, provider: Provider) -> Key:
    """The key of the bucket and of the cluster's Secrets. The vendor keeps SM4 keys in hardware only."""
    return Key(
        "key",
        description=f"{zone.name}: Secrets and objects",
        key_spec="Aliyun_SM4" if zone.wants_sm else "Aliyun_AES_256",
        protection_level="HSM" if zone.wants_sm else "SOFTWARE",
        key_usage="ENCRYPT/DECRYPT",
        # What a lost key encrypted is lost: a month to notice.
        pending_window_in_days=30,
        tags=zone.tags_of(),
        opts=landing.options(provider, protect=True),
    )


def _network(zone: LandingZone, provider: Provider) -> _Network:
    existing = zone.cloud.existing
    network = (
        Network(
            "network",
            vpc_name=zone.name,
            cidr_block=zone.cloud.network.cidr,
            tags=zone.tags_of(),
            opts=landing.options(provider, protect=True),
        )
        if zone.makes_network
        else Network.get("network", existing.network, opts=landing.options(provider))
    )
    switches = {subnet.name: _switch(zone, provider, network, subnet) for subnet in zone.subnets}
    groups = {name: _group(zone, provider, network, name) for name in zone.cloud.zones}
    for rule in zone.rules:
        _rule(provider, rule, groups)
    pods = _pod_switches(zone, provider, network) if zone.makes_cluster else ()
    nodes = _nodes_group(zone, provider, network, switches) if zone.makes_cluster else None
    ways_out = _ways_out(zone, provider, network, switches, pods)
    subnets = {name: switch.id for name, switch in switches.items()}
    return _Network(network.id, subnets, pods, groups, nodes, ways_out)


def _switch(zone: LandingZone, provider: Provider, network: Network, subnet: Subnet) -> Switch:
    if subnet.existing:
        return Switch.get(f"subnet-{subnet.name}", subnet.existing, opts=landing.options(provider))
    return Switch(
        f"subnet-{subnet.name}",
        vswitch_name=zone.physical_name(subnet.name),
        vpc_id=network.id,
        cidr_block=subnet.cidr,
        zone_id=subnet.availability_zone,
        tags=zone.tags_of(zone=subnet.zone),
        opts=landing.options(provider, protect=True),
    )


def _group(zone: LandingZone, provider: Provider, network: Network, name: str) -> SecurityGroup:
    """The security group of a zone, closed both ways: a group of this vendor lets everything out by itself."""
    group = SecurityGroup(
        f"zone-{name}",
        security_group_name=zone.physical_name(name),
        description=f"zone {name} of {zone.city.name}: declared flows only",
        vpc_id=network.id,
        inner_access_policy="Drop",
        tags=zone.tags_of(zone=name),
        opts=landing.options(provider),
    )
    for direction in _DIRECTIONS:
        SecurityGroupRule(
            f"zone-{name}-{direction}-denied",
            type=direction,
            ip_protocol="all",
            port_range="-1/-1",
            nic_type="intranet",
            policy="drop",
            priority=_NOTHING_ELSE,
            cidr_ip=landing.ANYWHERE,
            security_group_id=group.id,
            description="what is not declared",
            opts=landing.options(provider),
        )
    return group


def _rule(provider: Provider, rule: Rule, groups: Mapping[str, SecurityGroup]) -> None:
    SecurityGroupRule(
        f"flow-{rule.name}",
        type=rule.direction,
        ip_protocol="all" if rule.protocol == "any" else rule.protocol,
        port_range=f"{rule.port}/{rule.port}" if rule.port else "-1/-1",
        nic_type="intranet",
        policy="accept",
        priority=_WAY_OUT if rule.cidr == landing.ANYWHERE else _DECLARED,
        source_security_group_id=groups[rule.peer].id if rule.peer else None,
        cidr_ip=rule.cidr or None,
        security_group_id=groups[rule.zone].id,
        description=rule.description,
        opts=landing.options(provider),
    )


def _nodes_group(
    zone: LandingZone, provider: Provider, network: Network, switches: Mapping[str, Switch]
) -> SecurityGroup:
    """The group of nodes, pods and control plane: what Kubernetes itself needs. Between pods, network policies decide;
    what is no part of the cluster meets the zones' groups only."""
    group = SecurityGroup(
        "nodes",
        security_group_name=zone.physical_name("nodes"),
        description=f"nodes, pods and control plane of {zone.name}",
        vpc_id=network.id,
        inner_access_policy="Accept",
        tags=zone.tags_of(),
        opts=landing.options(provider),
    )

    def accept(
        name: str,
        direction: landing.Direction,
        *,
        cidr: pulumi.Input[str] | None = None,
        peer: SecurityGroup | None = None,
        port: int = 0,
    ) -> None:
        SecurityGroupRule(
            f"nodes-{direction}-{name}",
            type=direction,
            ip_protocol="tcp" if port else "all",
            port_range=f"{port}/{port}" if port else "-1/-1",
            nic_type="intranet",
            policy="accept",
            priority=_CLUSTER,
            cidr_ip=cidr,
            source_security_group_id=peer.id if peer else None,
            security_group_id=group.id,
            description=f"the cluster and {name}",
            opts=landing.options(provider),
        )

    for direction in _DIRECTIONS:
        # Said in so many words, because a zone's group on the same node denies it.
        accept("nodes", direction, peer=group)
        accept("vendor", direction, cidr=_VENDOR_SERVICES)
    for subnet in zone.subnets:
        if subnet.name in zone.cluster_subnets:
            # The API server answers at a load balancer there, which is in no group.
            cidr = switches[subnet.name].cidr_block if subnet.existing else subnet.cidr
            accept(f"api-{subnet.name}", "egress", cidr=cidr, port=6443)
    return group


def _pod_switches(zone: LandingZone, provider: Provider, network: Network) -> tuple[Switch, ...]:
    """The pods' vSwitches, one in each availability zone. A network that was there already has the range by itself."""
    after: tuple[pulumi.Resource, ...] = ()
    if zone.makes_network:
        secondary = Ipv4CidrBlock(
            "pods",
            vpc_id=network.id,
            secondary_cidr_block=zone.cloud.network.pods,
            opts=landing.options(provider),
        )
        after = (secondary,)
    places = zone.availability_zones[:QUARTERS]
    return tuple(
        Switch(
            f"pods-{place}",
            vswitch_name=zone.physical_name("pods", place),
            vpc_id=network.id,
            cidr_block=cidr,
            zone_id=place,
            tags=zone.tags_of(),
            opts=landing.options(provider, protect=True, after=after),
        )
        for place, cidr in zip(places, pod_ranges(zone.cloud.network, len(places)), strict=True)
    )


def _ways_out(
    zone: LandingZone,
    provider: Provider,
    network: Network,
    switches: Mapping[str, Switch],
    pods: Sequence[Switch],
) -> tuple[SnatEntry, ...]:
    """A NAT gateway and an address, and a way through it for each subnet that may have one; nothing where none may."""
    leaving = {f"subnet-{subnet.name}": switches[subnet.name] for subnet in zone.egress_subnets}
    if not leaving:
        return ()
    if all(landing.may_leave(item) for item in zone.zones):
        # Pods of all zones share their vSwitches, so these get a way out only where every zone has one.
        leaving |= {f"pods-{place}": switch for place, switch in zip(zone.availability_zones, pods, strict=False)}
    gateway = NatGateway(
        "nat",
        nat_gateway_name=zone.name,
        vpc_id=network.id,
        vswitch_id=next(iter(leaving.values())).id,
        nat_type="Enhanced",
        network_type="internet",
        payment_type="PayAsYouGo",
        tags=zone.tags_of(),
        opts=landing.options(provider),
    )
    address = EipAddress(
        "nat",
        address_name=zone.name,
        payment_type="PayAsYouGo",
        internet_charge_type="PayByTraffic",
        bandwidth=str(_EGRESS_MBIT),
        tags=zone.tags_of(),
        opts=landing.options(provider),
    )
    bound = EipAssociation(
        "nat", allocation_id=address.id, instance_id=gateway.id, instance_type="Nat", opts=landing.options(provider)
    )
    return tuple(
        SnatEntry(
            f"out-{name}",
            snat_entry_name=zone.physical_name(name),
            snat_table_id=gateway.snat_table_ids,
            source_vswitch_id=switch.id,
            snat_ip=address.ip_address,
            opts=landing.options(provider, after=(bound,)),
        )
        for name, switch in leaving.items()
    )


def _cluster(zone: LandingZone, provider: Provider, network: _Network, key: Key) -> ManagedKubernetes:
    """The managed cluster and its node pools; one that was there already is read only."""
    if not zone.makes_cluster:
        return ManagedKubernetes.get("cluster", zone.cloud.existing.cluster, opts=landing.options(provider))
    settings = zone.cloud.alicloud
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
        # Both are on where nothing is said: a NAT gateway for everybody, and an API server on the internet.
        new_nat_gateway=False,
        slb_internet_enabled=zone.has_public_api,
        encryption_provider_key=key.id,
        disable_encryption=False,
        # Credentials do not belong into a state's plain attributes; they are asked for when they are needed.
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


def _pool(
    zone: LandingZone, provider: Provider, network: _Network, cluster: ManagedKubernetes, pool: NodePool
) -> AckNodePool:
    assert network.nodes is not None
    # Disks know AES only: where SM is required nothing pretends that they are encrypted.
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
        labels=[{"key": key, "value": value} for key, value in sorted(pool.labels.items())],
        system_disk_category="cloud_essd",
        system_disk_size=_SYSTEM_DISK_GIB,
        system_disk_encrypted=encrypted,
        data_disks=[
            {"category": "cloud_essd", "size": _disk_gib(pool), "encrypted": "true" if encrypted else "false"},
        ],
        tags=zone.tags_of(pool=pool.name),
        # Nodes fetch images as soon as they start.
        opts=landing.options(provider, after=network.ways_out, timeout=_CLUSTER_TIMEOUT),
    )


def _disk_gib(pool: NodePool) -> int:
    return max(_SMALLEST_DISK_GIB, math.ceil(parse_quantity(pool.pool.storage) / 2**30))


def _bucket(zone: LandingZone, provider: Provider, key: Key) -> Bucket:
    """A private, versioned bucket whose objects the key encrypts."""
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
    """A kubeconfig for the API server's public address where it has one, otherwise for the private one."""
    credential = get_cluster_credential_output(
        cluster_id=cluster.id, opts=pulumi.InvokeOutputOptions(provider=provider)
    )
    certificates = credential.apply(lambda found: _first(found.certificate_authorities))
    addresses = cluster.connections.apply(_first)
    server = addresses.apply(
        lambda found: (
            (zone.has_public_api and _read(found, "api_server_internet")) or _read(found, "api_server_intranet")
        )
    )
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
