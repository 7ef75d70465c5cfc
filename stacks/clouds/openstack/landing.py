"""The landing zone on OpenStack: Neutron network, Magnum cluster, Swift container, and a Barbican key if available.

There is a subnet and a security group per zone, and a node group per pool. The plan comes from `stacks.base.landing`.
Magnum puts all nodes of a cluster into one subnet and its own security groups: the cluster is in the strictest zone's
subnet, and the zones' groups are for other resources there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Any

import pulumi

from stacks.base import landing
from stacks.base.landing import LandingZone, NodePool, Rule
from stacks.base.landing import Subnet as PlannedSubnet
from stacks.clouds.openstack import OpenStackSettings
from stacks.objects import unknown
from wecityctl.errors import ConfigurationError
from wecityctl.inputs import StackInputs
from wecityctl.model.balancers import Balancer
from wecityctl.model.naming import POOL_LABEL, SIMULATED_LABEL

with landing.needs_sdk("openstack"):
    from pulumi_openstack import Provider
    from pulumi_openstack.containerinfra.cluster import Cluster
    from pulumi_openstack.containerinfra.cluster_template import ClusterTemplate
    from pulumi_openstack.containerinfra.node_group import NodeGroup
    from pulumi_openstack.keymanager.order_v1 import OrderV1
    from pulumi_openstack.loadbalancer.load_balancer import LoadBalancer
    from pulumi_openstack.networking.floating_ip import FloatingIp
    from pulumi_openstack.networking.get_network import get_network_output
    from pulumi_openstack.networking.network import Network
    from pulumi_openstack.networking.port import Port
    from pulumi_openstack.networking.router import Router
    from pulumi_openstack.networking.router_interface import RouterInterface
    from pulumi_openstack.networking.sec_group import SecGroup
    from pulumi_openstack.networking.sec_group_rule import SecGroupRule
    from pulumi_openstack.networking.subnet import Subnet
    from pulumi_openstack.networking.subnet_route import SubnetRoute
    from pulumi_openstack.objectstorage.container import Container

_UUID = re.compile(r"^[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}$")
_CLUSTER_TIMEOUT = "90m"
_SYSTEM_POOL = "system"


@dataclass(frozen=True)
class _Network:
    """The network of the cluster. `ready` are the routes that nodes need to start."""

    id: pulumi.Input[str]
    subnets: Mapping[str, pulumi.Input[str]]
    external: pulumi.Input[str]
    ready: tuple[pulumi.Resource, ...]


def run(inputs: StackInputs) -> dict[str, Any]:
    """Register the landing zone of the stack's cloud and return its outputs."""
    zone = landing.plan_landing(inputs.city, inputs.stack.cloud, inputs.balancers)
    landing.refuse_sm(zone, "OpenStack's key manager")
    provider = Provider(
        "cloud", cloud=zone.cloud.settings_as(OpenStackSettings).cloud or None, region=zone.cloud.region or None
    )
    network = _network(zone, provider)
    cluster = _cluster(zone, provider, network)
    bucket = _container(zone, provider)
    key = _key(zone, provider)
    return landing.outputs(
        zone,
        kubeconfig=cluster.kubeconfig.apply(lambda found: str((found or {}).get("raw_config") or "")),
        network=network.id,
        subnets=network.subnets,
        cluster=cluster.id,
        bucket=bucket.name,
        key=key.secret_ref.apply(lambda found: str(found or "")) if key is not None else "",
        balancers={item.zone: _balancer(zone, provider, network, item) for item in zone.balancers},
    )


def _tags(plan: LandingZone, **more: str) -> list[str]:
    """The tags as Neutron has them: plain strings `key=value`."""
    return [f"{key}={value}" for key, value in plan.tags_of(**more).items()]


def _network(zone: LandingZone, provider: Provider) -> _Network:
    existing = zone.cloud.existing.network
    network = (
        Network.get("network", existing, opts=landing.options(provider))
        if existing
        else Network(
            "network",
            name=zone.name,
            admin_state_up=True,
            shared=False,
            tags=_tags(zone),
            opts=landing.options(provider, protect=True),
        )
    )
    subnets = {planned.name: _subnet(zone, provider, network, planned) for planned in zone.subnets}
    groups = {name: _group(zone, provider, name) for name in zone.cloud.zones}
    for rule in zone.rules:
        _rule(provider, rule, groups)
    external = _external(zone, provider)
    ready = (*_ways_out(zone, provider, subnets, external), *_between(zone, provider, network, subnets))
    return _Network(network.id, {name: subnet.id for name, subnet in subnets.items()}, external, ready)


def _external(zone: LandingZone, provider: Provider) -> pulumi.Input[str]:
    """The identifier of the external network, which the file gives by name or identifier."""
    wanted = zone.cloud.settings_as(OpenStackSettings).external_network
    if not wanted or _UUID.match(wanted):
        return wanted
    found = get_network_output(name=wanted, external=True, opts=pulumi.InvokeOutputOptions(provider=provider))
    # A preview without access to the cloud gets no answer; the value is unknown then.
    identifier: pulumi.Output[str] = found.apply(lambda network: network.id or unknown())
    return identifier


def _subnet(zone: LandingZone, provider: Provider, network: Network, planned: PlannedSubnet) -> Subnet:
    if planned.existing:
        return Subnet.get(f"subnet-{planned.name}", planned.existing, opts=landing.options(provider))
    return Subnet(
        f"subnet-{planned.name}",
        name=zone.physical_name(planned.name),
        network_id=network.id,
        cidr=planned.cidr,
        ip_version=4,
        enable_dhcp=True,
        gateway_ip=_address(planned, 1),
        tags=_tags(zone, zone=planned.zone),
        opts=landing.options(provider, protect=True),
    )


def _address(planned: PlannedSubnet, number: int) -> str:
    return str(IPv4Network(planned.cidr)[number])


def _group(zone: LandingZone, provider: Provider, name: str) -> SecGroup:
    """The security group of a zone, without the default rules of new groups, and therefore closed in both
    directions.
    """
    return SecGroup(
        f"zone-{name}",
        name=zone.physical_name(name),
        description=f"zone {name} of {zone.city.name}: declared flows only",
        delete_default_rules=True,
        tags=_tags(zone, zone=name),
        opts=landing.options(provider),
    )


def _rule(provider: Provider, rule: Rule, groups: Mapping[str, SecGroup]) -> None:
    SecGroupRule(
        f"flow-{rule.name}",
        direction=rule.direction,
        ethertype="IPv4",
        protocol=None if rule.protocol == "any" else rule.protocol,
        port_range_min=rule.port or None,
        port_range_max=rule.ports[1] or None,
        remote_group_id=groups[rule.peer].id if rule.peer else None,
        remote_ip_prefix=rule.cidr or None,
        security_group_id=groups[rule.zone].id,
        description=rule.description,
        opts=landing.options(provider),
    )


def _ways_out(
    zone: LandingZone, provider: Provider, subnets: Mapping[str, Subnet], external: pulumi.Input[str]
) -> tuple[pulumi.Resource, ...]:
    """A router with an external gateway (SNAT) for the subnets with egress; nothing if there are none."""
    if not zone.egress_subnets:
        return ()
    router = Router(
        "out",
        name=zone.physical_name("out"),
        external_network_id=external,
        enable_snat=True,
        tags=_tags(zone),
        opts=landing.options(provider),
    )
    return tuple(
        RouterInterface(
            f"out-{planned.name}",
            router_id=router.id,
            subnet_id=subnets[planned.name].id,
            opts=landing.options(provider),
        )
        for planned in zone.egress_subnets
    )


def _between(
    zone: LandingZone, provider: Provider, network: Network, subnets: Mapping[str, Subnet]
) -> tuple[pulumi.Resource, ...]:
    """A router without external gateway between the zones that a declared flow connects.

    If a zone's first address belongs to its egress router, this router has the second, and the other zones' ranges are
    added as routes.
    """
    pairs = [{rule.zone, rule.peer} for rule in zone.rules if rule.peer]
    joined = [
        planned for planned in zone.subnets if not planned.existing and any(planned.zone in pair for pair in pairs)
    ]
    if not joined:
        return ()
    router = Router("between", name=zone.physical_name("between"), tags=_tags(zone), opts=landing.options(provider))
    leaving = {planned.name for planned in zone.egress_subnets}
    made: list[pulumi.Resource] = []
    for planned in joined:
        if planned.name not in leaving:
            made.append(
                RouterInterface(
                    f"between-{planned.name}",
                    router_id=router.id,
                    subnet_id=subnets[planned.name].id,
                    opts=landing.options(provider),
                )
            )
            continue
        port = Port(
            f"between-{planned.name}",
            name=zone.physical_name("between", planned.name),
            network_id=network.id,
            fixed_ips=[{"subnet_id": subnets[planned.name].id, "ip_address": _address(planned, 2)}],
            tags=_tags(zone, zone=planned.zone),
            opts=landing.options(provider),
        )
        interface = RouterInterface(
            f"between-{planned.name}", router_id=router.id, port_id=port.id, opts=landing.options(provider)
        )
        made.append(interface)
        made += [
            SubnetRoute(
                f"{planned.name}-to-{other.name}",
                subnet_id=subnets[planned.name].id,
                destination_cidr=other.cidr,
                next_hop=_address(planned, 2),
                opts=landing.options(provider, after=(interface,)),
            )
            for other in joined
            if {planned.zone, other.zone} in pairs
        ]
    return tuple(made)


def _cluster(zone: LandingZone, provider: Provider, network: _Network) -> Cluster:
    """The cluster and its node groups. An existing cluster is only read."""
    if not zone.makes_cluster:
        return Cluster.get("cluster", zone.cloud.existing.cluster, opts=landing.options(provider))
    settings = zone.cloud.settings_as(OpenStackSettings)
    home = zone.cluster_subnets[0]
    template = ClusterTemplate(
        "cluster",
        name=zone.name,
        coe="kubernetes",
        image=settings.image,
        flavor=settings.master_flavor,
        master_flavor=settings.master_flavor,
        keypair_id=settings.key_pair or None,
        # Magnum requires it even if nothing is attached to it.
        external_network_id=network.external,
        fixed_network=network.id,
        fixed_subnet=network.subnets[home],
        # Calico enforces network policies.
        network_driver="calico",
        volume_driver="cinder",
        floating_ip_enabled=False,
        master_lb_enabled=True,
        tls_disabled=False,
        public=False,
        registry_enabled=False,
        labels=_labels(zone),
        opts=landing.options(provider),
    )
    cluster = Cluster(
        "cluster",
        name=zone.name,
        cluster_template_id=template.id,
        master_count=settings.masters,
        # Magnum creates a default worker group with every cluster; the city's pools are separate groups.
        node_count=1,
        keypair=settings.key_pair or None,
        opts=landing.options(
            provider, protect=True, after=network.ready, timeout=_CLUSTER_TIMEOUT, secret=("kubeconfig",)
        ),
    )
    previous: pulumi.Resource = cluster
    for pool in zone.pools:
        previous = _pool(zone, provider, cluster, pool, previous)
    return cluster


def _balancer(zone: LandingZone, provider: Provider, network: _Network, item: Balancer) -> landing.MadeBalancer:
    """An Octavia load balancer in the zone's subnet, with a floating address if the zone is public.

    Magnum's own security group allows node ports.
    """
    if item.public and not zone.city.zone(item.zone).egress:
        raise ConfigurationError(
            f"cloud {zone.cloud.name}: a public load balancer takes a router to the outside in zone {item.zone}",
            resolution=f"set egress: true for zone {item.zone}, or leave it out of the Cloud's balancers",
        )
    made = LoadBalancer(
        f"balancer-{item.zone}",
        name=zone.physical_name(item.zone),
        description=f"the entry point of {item.zone}",
        vip_subnet_id=network.subnets[item.zone],
        tags=_tags(zone, zone=item.zone),
        opts=landing.options(provider, after=network.ready),
    )
    if not item.public:
        return landing.MadeBalancer(made.id, made.vip_address)
    pool = get_network_output(network_id=network.external, opts=pulumi.InvokeOutputOptions(provider=provider))
    address = FloatingIp(
        f"balancer-{item.zone}",
        pool=pool.apply(lambda found: str(found.name or "")),
        port_id=made.vip_port_id,
        description=f"the entry point of {item.zone}",
        tags=_tags(zone, zone=item.zone),
        opts=landing.options(provider, after=network.ready),
    )
    return landing.MadeBalancer(made.id, address.address)


def _labels(zone: LandingZone) -> dict[str, str]:
    labels = {
        "calico_ipv4pool": zone.cloud.network.pods,
        "service_cluster_ip_range": zone.cloud.network.services,
        "master_lb_floating_ip_enabled": "true" if zone.has_public_api else "false",
        "cinder_csi_enabled": "true",
        "kubelet_options": _node_labels({POOL_LABEL: _SYSTEM_POOL, SIMULATED_LABEL: "false"}),
    }
    if zone.has_public_api:
        # Nodes and pods reach the API through the same load balancer.
        inside = (zone.cloud.network.cidr, zone.cloud.network.pods)
        labels["master_lb_allowed_cidrs"] = ",".join((*inside, *zone.cloud.public_api.allow_from))
    if zone.cloud.settings_as(OpenStackSettings).availability_zone:
        labels["availability_zone"] = zone.cloud.settings_as(OpenStackSettings).availability_zone
    return labels


def _node_labels(labels: Mapping[str, str]) -> str:
    """Node labels as an option of the kubelet; Magnum's own labels are settings of the cluster."""
    return "--node-labels=" + ",".join(f"{key}={value}" for key, value in sorted(labels.items()))


def _pool(
    zone: LandingZone, provider: Provider, cluster: Cluster, pool: NodePool, previous: pulumi.Resource
) -> NodeGroup:
    """A node group, created after the previous one, because Magnum fails if groups are created concurrently."""
    return NodeGroup(
        f"pool-{pool.name}",
        name=pool.physical_name,
        cluster_id=cluster.id,
        flavor_id=pool.pool.instance_types[0] if pool.pool.instance_types else None,
        image_id=zone.cloud.settings_as(OpenStackSettings).images.get(pool.pool.architecture),
        node_count=pool.pool.nodes,
        min_node_count=0,
        role="worker",
        labels={"kubelet_options": _node_labels(pool.labels)},
        merge_labels=True,
        opts=landing.options(provider, after=(previous,), timeout=_CLUSTER_TIMEOUT),
    )


def _container(zone: LandingZone, provider: Provider) -> Container:
    """A private, versioned container. Encryption is a setting of the whole Swift installation."""
    return Container(
        "bucket",
        name=zone.bucket_name,
        versioning=True,
        metadata=zone.tags_of(),
        opts=landing.options(provider, protect=True),
    )


def _key(zone: LandingZone, provider: Provider) -> OrderV1 | None:
    """A key generated by Barbican, so that it is in no state; `None` without Barbican."""
    if not zone.cloud.settings_as(OpenStackSettings).key_manager:
        return None
    return OrderV1(
        "key",
        type="key",
        meta={"name": zone.name, "algorithm": "aes", "bit_length": 256, "mode": "cbc"},
        opts=landing.options(provider, protect=True),
    )
