"""The landing zone on Tencent Cloud: a TKE cluster with its nodes, COS and KMS.

The plan comes from `stacks.base.landing`; the module `network` creates the network. Nodes are in the security groups of
their zones, which allow the city's declared flows, and in a common one. The common group allows traffic among nodes and
pods of the cluster, to the name servers and to the vendor's own range, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Any

import pulumi

from stacks.base import landing
from stacks.base.landing import LandingZone, NodePool, options
from stacks.base.vpc import Network, check_needs
from stacks.clouds.tencentcloud import TencentCloudSettings
from stacks.clouds.tencentcloud.network import accept, make_network
from wecityctl.inputs import StackInputs
from wecityctl.model import naming
from wecityctl.model.balancers import Balancer
from wecityctl.model.quantity import parse_quantity

with landing.needs_sdk("tencentcloud"):
    from tencentcloud_iac_pulumi import _utilities, clb, cos, kms, kubernetes, security

# The vendor's name servers, and its own range, in which the control plane of a managed cluster has its address.
NAME_SERVERS = ("183.60.83.19/32", "183.60.82.98/32")
VENDOR_RANGE = "169.254.0.0/16"
PODS_PER_NODE = 64
# The bandwidth limit of a load balancer's address in Mbit/s; billing is by traffic.
_BALANCER_MBIT = 100
# The port of the public address of a managed cluster's API.
_API_PORT = 443
# The allowed range of `clusterMaxServiceNum`.
SERVICES = (32, 32768)
# A bucket's full name has at most 60 characters.
BUCKET_NAME = 60
# Public images of TencentOS by name, or by identifier if the vendor lists no name for Kubernetes.
_IMAGES = {"amd64": "tlinux4_x86_64_public", "arm64": "img-9a0eg8mt"}
_CLUSTER_TIMEOUT = "60m"


@dataclass(frozen=True, slots=True)
class _Nodes:
    """The security group of all nodes, and its rules."""

    group: pulumi.Input[str]
    rules: pulumi.Resource


def run(inputs: StackInputs) -> dict[str, Any]:
    """Register the landing zone and return its outputs."""
    zone = landing.plan_landing(inputs.city, inputs.stack.cloud, inputs.balancers)
    _check(zone)
    defaults = _utilities.get_resource_opts_defaults()
    provider = landing.make_provider("tencentcloud", defaults, region=zone.cloud.region)
    network = make_network(zone, provider)
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
        balancers={item.zone: _balancer(zone, provider, network, item) for item in zone.balancers},
    )


def _check(zone: LandingZone) -> None:
    """Raise `ConfigurationError` for missing settings that the vendor requires and that have no default."""
    settings = zone.cloud.settings_as(TencentCloudSettings)
    makes_subnets = not all(item.existing for item in zone.subnets)
    missing = [
        *([] if zone.cloud.region else ["region"]),
        *(["tencentcloud.availabilityZones"] if makes_subnets and not settings.availability_zones else []),
        *([] if settings.app_id else ["tencentcloud.appId"]),
    ]
    check_needs(zone, "Tencent Cloud", missing)


def _key(zone: LandingZone, provider: pulumi.ProviderResource) -> kms.Key:
    """The key of the landing zone: SM2 if SM is required. The vendor's symmetric key is not guaranteed to use SM4."""
    sm = zone.wants_sm
    return kms.Key(
        "key",
        alias=zone.name,
        description=f"keys of {zone.city.name} on {zone.cloud.name}",
        key_usage="ASYMMETRIC_SIGN_VERIFY_SM2" if sm else "ENCRYPT_DECRYPT",
        # Asymmetric keys cannot be rotated.
        key_rotation_enabled=None if sm else True,
        is_enabled=True,
        pending_delete_window_in_days=30,
        tags=zone.tags,
        opts=options(provider, protect=True),
    )


def _bucket(zone: LandingZone, provider: pulumi.ProviderResource, key: kms.Key) -> cos.Bucket:
    app_id = zone.cloud.settings_as(TencentCloudSettings).app_id
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


def _balancer(
    zone: LandingZone, provider: pulumi.ProviderResource, network: Network, item: Balancer
) -> landing.MadeBalancer:
    """A CLB for an entry point with a security group of its own.

    Traffic that this group allows passes the nodes' groups without further rules.
    """
    why = f"who may reach the entry point of {item.zone}"
    group = security.Group(
        f"group-balancer-{item.zone}",
        name=zone.physical_name("balancer", item.zone, limit=60),
        description=why,
        tags=zone.tags_of(zone=item.zone, purpose="balancer"),
        opts=options(provider),
    ).id
    let_in = [accept(why, protocol="tcp", ports=str(port), cidr_block=landing.ANYWHERE) for port in landing.ENTRY_PORTS]
    rules = security.GroupRuleSet(
        f"rules-balancer-{item.zone}",
        security_group_id=group,
        ingresses=[security.GroupRuleSetIngressArgs(**rule) for rule in let_in],
        opts=options(provider),
    )
    made = clb.Instance(
        f"balancer-{item.zone}",
        clb_name=zone.physical_name(item.zone, limit=60),
        network_type="OPEN" if item.public else "INTERNAL",
        vpc_id=network.id,
        subnet_id=None if item.public else network.subnets[item.zone],
        internet_charge_type="TRAFFIC_POSTPAID_BY_HOUR" if item.public else None,
        internet_bandwidth_max_out=_BALANCER_MBIT if item.public else None,
        security_groups=[group],
        load_balancer_pass_to_target=True,
        tags=zone.tags_of(zone=item.zone),
        opts=options(provider, after=[rules]),
    )
    return landing.MadeBalancer(made.id, made.clb_vips.apply(lambda found: str(found[0]) if found else ""))


def _cluster(
    zone: LandingZone, provider: pulumi.ProviderResource, network: Network, key: kms.Key
) -> tuple[pulumi.Input[str], pulumi.Input[str]]:
    """The cluster, its nodes and its private endpoint; returns the cluster's identifier and its kubeconfig."""
    settings, ranges = zone.cloud.settings_as(TencentCloudSettings), zone.cloud.network
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
        # Endpoint and nodes are separate resources, but the vendor returns their fields here too.
        opts=options(provider, protect=True, timeout=_CLUSTER_TIMEOUT, after=network.rules),
    )
    nodes = _nodes(zone, provider, network)
    pools = [_pool(zone, provider, cluster, network, nodes, pool) for pool in zone.pools]
    # NetworkPolicy separates the zones. The vendor's plain network enforces it only with this add-on.
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
        # The vendor creates an endpoint only for a cluster with nodes.
        return cluster.id, ""
    callers, rules = _callers(zone, provider) if zone.has_public_api else (None, ())
    endpoint = kubernetes.ClusterEndpoint(
        "endpoint",
        cluster_id=cluster.id,
        cluster_internet=zone.has_public_api,
        cluster_internet_security_group=callers,
        cluster_intranet=True,
        cluster_intranet_subnet_id=network.subnets[zone.cluster_subnets[0]],
        opts=options(provider, after=[*pools, *rules], timeout=_CLUSTER_TIMEOUT),
    )
    kubeconfig = endpoint.kube_config if zone.has_public_api else endpoint.kube_config_intranet
    return cluster.id, kubeconfig.apply(lambda text: text or "")


def _callers(
    zone: LandingZone, provider: pulumi.ProviderResource
) -> tuple[pulumi.Input[str], tuple[pulumi.Resource, ...]]:
    """The security group of the API's public address with the access list in the file; returns it and its rules."""
    why = f"who may reach the API of {zone.name} from the internet"
    group = security.Group(
        "group-api",
        name=zone.physical_name("api", limit=60),
        description=why,
        tags=zone.tags_of(purpose="api"),
        opts=options(provider),
    ).id
    allowed = [
        accept(why, protocol="tcp", ports=str(_API_PORT), cidr_block=cidr) for cidr in zone.cloud.public_api.allow_from
    ]
    rules = security.GroupRuleSet(
        "rules-api",
        security_group_id=group,
        ingresses=[security.GroupRuleSetIngressArgs(**rule) for rule in allowed],
        opts=options(provider),
    )
    return group, (rules,)


def _nodes(zone: LandingZone, provider: pulumi.ProviderResource, network: Network) -> _Nodes:
    """The security group of all nodes of the cluster, and its rules."""
    group = security.Group(
        "group-nodes",
        name=zone.physical_name("nodes", limit=60),
        description=f"nodes of {zone.name}: each other, their pods, their control plane",
        tags=zone.tags_of(purpose="nodes"),
        opts=options(provider),
    ).id
    incoming = [*_among_nodes(zone, network, group)]
    outgoing = [
        *_among_nodes(zone, network, group),
        accept("the vendor's control plane and mirrors", cidr_block=VENDOR_RANGE),
        *(accept("the vendor's name servers", protocol="udp", ports="53", cidr_block=each) for each in NAME_SERVERS),
    ]
    rules = security.GroupRuleSet(
        "rules-nodes",
        security_group_id=group,
        ingresses=[security.GroupRuleSetIngressArgs(**rule) for rule in incoming],
        egresses=[security.GroupRuleSetEgressArgs(**rule) for rule in outgoing],
        opts=options(provider),
    )
    return _Nodes(group, rules)


def _among_nodes(zone: LandingZone, network: Network, group: pulumi.Input[str]) -> Iterator[dict[str, Any]]:
    yield accept("nodes of this cluster", source_security_id=group)
    yield accept("pods of this cluster", cidr_block=zone.cloud.network.pods)
    for name in zone.cluster_subnets:
        yield accept("the control plane's endpoint", cidr_block=network.ranges[name])


def _pool(
    zone: LandingZone,
    provider: pulumi.ProviderResource,
    cluster: kubernetes.Cluster,
    network: Network,
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
        # A pool has no state besides its cluster's; if it is removed from the files, `up` must be able to delete it.
        deletion_protection=False,
        labels=dict(item.labels),
        tags=zone.tags_of(pool=item.name),
        auto_scaling_config=kubernetes.NodePoolAutoScalingConfigArgs(
            instance_type=first,
            backup_instance_types=others or None,
            orderly_security_group_ids=[*(network.groups[name] for name in item.zones), nodes.group],
            key_ids=[key_pair] if (key_pair := zone.cloud.settings_as(TencentCloudSettings).key_pair) else None,
            public_ip_assigned=False,
            internet_max_bandwidth_out=0,
            system_disk_type="CLOUD_PREMIUM",
            system_disk_size=100,
            data_disks=[
                kubernetes.NodePoolAutoScalingConfigDataDiskArgs(
                    disk_type="CLOUD_PREMIUM",
                    disk_size=_gibibytes(pool.storage),
                    delete_with_instance=True,
                    # The vendor encrypts disks with AES, which does not meet the requirement of SM cryptography.
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
        # Nodes pull images as soon as they start, so egress must exist.
        opts=options(provider, after=[nodes.rules, *network.ways_out], timeout=_CLUSTER_TIMEOUT),
    )


def _existing_kubeconfig(zone: LandingZone, provider: pulumi.ProviderResource) -> pulumi.Output[str]:
    """The private kubeconfig of an existing cluster."""
    found = kubernetes.get_clusters_output(
        cluster_id=zone.cloud.existing.cluster, opts=pulumi.InvokeOutputOptions(provider=provider)
    )
    text: pulumi.Output[str] = found.apply(lambda it: it.lists[0].kube_config_intranet if it.lists else "")
    return text


def _services(cidr: str) -> int:
    """The number of Services that fit a range, within the vendor's limits."""
    return max(SERVICES[0], min(SERVICES[1], IPv4Network(cidr).num_addresses))


def _gibibytes(amount: str) -> int:
    """A quantity of bytes in GiB, rounded up to the vendor's steps of ten."""
    gibibytes = int(-(-parse_quantity(amount) // (1 << 30)))
    return -(-gibibytes // 10) * 10
