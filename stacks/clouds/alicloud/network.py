"""The network of a landing zone on Alibaba Cloud: VPC, vSwitches, security groups, NAT gateway.

Security groups of this vendor allow all outgoing traffic by default. A NAT gateway serves only the vSwitches for which
it has an SNAT entry.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi

from stacks.base import landing
from stacks.base.landing import LandingZone, Rule, Subnet
from wecityctl.model.addresses import QUARTERS, pod_ranges

with landing.needs_sdk("alicloud"):
    from pulumi_alicloud import Provider
    from pulumi_alicloud.ecs.eip_address import EipAddress
    from pulumi_alicloud.ecs.eip_association import EipAssociation
    from pulumi_alicloud.ecs.security_group import SecurityGroup
    from pulumi_alicloud.ecs.security_group_rule import SecurityGroupRule
    from pulumi_alicloud.vpc.ipv4_cidr_block import Ipv4CidrBlock
    from pulumi_alicloud.vpc.nat_gateway import NatGateway
    from pulumi_alicloud.vpc.network import Network as Vpc
    from pulumi_alicloud.vpc.snat_entry import SnatEntry
    from pulumi_alicloud.vpc.switch import Switch

# Rule priorities; the smallest number wins: Kubernetes' own traffic, declared flows, egress, and the final denial.
_CLUSTER, _DECLARED, _WAY_OUT, _NOTHING_ELSE = 1, 10, 50, 100
# The vendor's services inside every VPC: DNS, NTP, image registries, health checks.
_VENDOR_SERVICES = "100.64.0.0/10"
_DIRECTIONS: tuple[landing.Direction, ...] = ("ingress", "egress")
# The bandwidth limit of the public address in Mbit/s; billing is by traffic.
_EGRESS_MBIT = 100


@dataclass(frozen=True)
class Network:
    """The network of the cluster: subnets by logical name, pods' subnets, security groups by zone."""

    id: pulumi.Input[str]
    subnets: Mapping[str, pulumi.Input[str]]
    pods: tuple[Switch, ...]
    groups: Mapping[str, SecurityGroup]
    nodes: SecurityGroup | None
    ways_out: tuple[SnatEntry, ...]


def make_network(zone: LandingZone, provider: Provider) -> Network:
    """Register the network of the landing zone. Existing parts are only read."""
    existing = zone.cloud.existing
    network = (
        Vpc(
            "network",
            vpc_name=zone.name,
            cidr_block=zone.cloud.network.cidr,
            tags=zone.tags_of(),
            opts=landing.options(provider, protect=True),
        )
        if zone.makes_network
        else Vpc.get("network", existing.network, opts=landing.options(provider))
    )
    switches = {subnet.name: _switch(zone, provider, network, subnet) for subnet in zone.subnets}
    groups = {name: _group(zone, provider, network, name) for name in zone.cloud.zones}
    for rule in zone.rules:
        _rule(provider, rule, groups)
    pods = _pod_switches(zone, provider, network) if zone.makes_cluster else ()
    nodes = _nodes_group(zone, provider, network, switches) if zone.makes_cluster else None
    ways_out = _ways_out(zone, provider, network, switches, pods)
    subnets = {name: switch.id for name, switch in switches.items()}
    return Network(network.id, subnets, pods, groups, nodes, ways_out)


def _switch(zone: LandingZone, provider: Provider, network: Vpc, subnet: Subnet) -> Switch:
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


def _group(zone: LandingZone, provider: Provider, network: Vpc, name: str) -> SecurityGroup:
    """The security group of a zone, closed in both directions; the vendor's default allows all outgoing traffic."""
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
        port_range="{}/{}".format(*rule.ports) if rule.port else "-1/-1",
        nic_type="intranet",
        policy="accept",
        priority=_WAY_OUT if rule.cidr == landing.ANYWHERE else _DECLARED,
        source_security_group_id=groups[rule.peer].id if rule.peer else None,
        cidr_ip=rule.cidr or None,
        security_group_id=groups[rule.zone].id,
        description=rule.description,
        opts=landing.options(provider),
    )


def _nodes_group(zone: LandingZone, provider: Provider, network: Vpc, switches: Mapping[str, Switch]) -> SecurityGroup:
    """The security group of nodes, pods and control plane, with what Kubernetes itself needs.

    Traffic between pods is restricted by network policies. The zones' groups apply to everything outside the cluster.
    """
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
        # Needs an explicit rule, because the group of a zone on the same node denies it.
        accept("nodes", direction, peer=group)
        accept("vendor", direction, cidr=_VENDOR_SERVICES)
    for subnet in zone.subnets:
        if subnet.name in zone.cluster_subnets:
            # The API server's load balancer has an address in this subnet and belongs to no group.
            cidr = switches[subnet.name].cidr_block if subnet.existing else subnet.cidr
            accept(f"api-{subnet.name}", "egress", cidr=cidr, port=6443)
    return group


def _pod_switches(zone: LandingZone, provider: Provider, network: Vpc) -> tuple[Switch, ...]:
    """The pods' vSwitches, one in each availability zone. An existing network must already contain the pod range."""
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
    network: Vpc,
    switches: Mapping[str, Switch],
    pods: Sequence[Switch],
) -> tuple[SnatEntry, ...]:
    """A NAT gateway with an address, and an SNAT entry for each subnet with egress; nothing if no subnet has egress."""
    leaving = {f"subnet-{subnet.name}": switches[subnet.name] for subnet in zone.egress_subnets}
    if not leaving:
        return ()
    if all(landing.may_leave(item) for item in zone.zones):
        # Pods of all zones share their vSwitches, which therefore get egress only if every zone has it.
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
