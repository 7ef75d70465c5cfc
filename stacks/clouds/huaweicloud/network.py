"""The network of a landing zone on Huawei Cloud: VPC, the zones' subnets and security groups, NAT gateway.

Security groups are created without the vendor's default rules, which allow traffic within the group and all egress.
"""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Literal

import pulumi

from stacks.base import landing
from stacks.base.landing import LandingZone, options
from stacks.base.vpc import Identifiers, Network

with landing.needs_sdk("huaweicloud"):
    from pulumi_huaweicloud import nat, vpc

# The vendor's name servers by region. Without them nodes resolve neither image registry nor object store. Source: the
# vendor's DNS documentation, "private DNS server addresses".
_NAME_SERVERS = {
    "cn-north-1": ("100.125.1.250", "100.125.21.250"),
    "cn-north-4": ("100.125.1.250", "100.125.129.250"),
    "cn-north-9": ("100.125.1.250", "100.125.107.250"),
    "cn-east-2": ("100.125.17.29", "100.125.135.29"),
    "cn-east-3": ("100.125.1.250", "100.125.64.250"),
    "cn-south-1": ("100.125.1.250", "100.125.136.29"),
    "cn-southwest-2": ("100.125.1.250", "100.125.129.250"),
}
# The bandwidth limit of the public address in Mbit/s; billing is by traffic.
_EGRESS_MBIT = 100

Direction = Literal["ingress", "egress"]


def make_network(zone: LandingZone, provider: pulumi.ProviderResource) -> Network:
    """Register the network. Existing parts are only read."""
    existing = zone.cloud.existing
    network: pulumi.Input[str]
    if existing.network:
        network = vpc.Vpc.get("network", existing.network, opts=options(provider)).id
    else:
        network = vpc.Vpc(
            "network",
            name=zone.name,
            cidr=zone.cloud.network.cidr,
            description=f"{zone.city.name} on {zone.cloud.name}",
            tags=zone.tags,
            opts=options(provider, protect=True),
        ).id
    made = {item.name: _subnet(zone, provider, network, item) for item in zone.subnets}
    subnets = {name: item.id for name, item in made.items()}
    # An existing subnet may have another range than the planned one.
    ranges = {item.name: made[item.name].cidr if item.existing else item.cidr for item in zone.subnets}
    groups = {
        item.name: make_group(
            zone, provider, item.name, f"zone {item.name} of {zone.city.name}: declared flows only"
        ).id
        for item in zone.zones
    }
    rules = tuple(_declared(provider, rule, groups) for rule in zone.rules)
    ports = {name: item.ipv4_subnet_id for name, item in made.items()}
    return Network(network, subnets, ranges, groups, rules, _ways_out(zone, provider, network, subnets), ports)


def _subnet(
    zone: LandingZone, provider: pulumi.ProviderResource, network: pulumi.Input[str], item: landing.Subnet
) -> vpc.Subnet:
    if item.existing:
        return vpc.Subnet.get(f"subnet-{item.name}", item.existing, opts=options(provider))
    primary, secondary = _NAME_SERVERS.get(zone.cloud.region, (None, None))
    return vpc.Subnet(
        f"subnet-{item.name}",
        name=zone.physical_name(item.name, limit=64),
        vpc_id=network,
        cidr=item.cidr,
        gateway_ip=str(IPv4Network(item.cidr)[1]),
        primary_dns=primary,
        secondary_dns=secondary,
        tags=zone.tags_of(zone=item.zone),
        opts=options(provider, protect=True),
    )


def make_group(zone: LandingZone, provider: pulumi.ProviderResource, name: str, why: str, **tags: str) -> vpc.Secgroup:
    """A security group without rules, which denies all traffic."""
    return vpc.Secgroup(
        f"group-{name}",
        name=zone.physical_name(name, limit=64),
        description=why,
        delete_default_rules=True,
        tags=zone.tags_of(**(tags or {"zone": name})),
        opts=options(provider),
    )


def _declared(provider: pulumi.ProviderResource, rule: landing.Rule, groups: Identifiers) -> vpc.SecgroupRule:
    side = {"remote_group_id": groups[rule.peer]} if rule.peer else {"remote_ip_prefix": rule.cidr}
    protocol = None if rule.protocol == "any" else rule.protocol
    return add_rule(
        provider,
        f"flow-{rule.name}",
        groups[rule.zone],
        rule.direction,
        rule.description,
        protocol=protocol,
        ports=landing.ports_text(rule) or None,
        **side,
    )


def add_rule(
    provider: pulumi.ProviderResource,
    name: str,
    group: pulumi.Input[str],
    direction: Direction,
    why: str,
    *,
    protocol: str | None = None,
    ports: str | None = None,
    **side: pulumi.Input[str],
) -> vpc.SecgroupRule:
    """A rule that allows traffic. `side` is the security group or the range of the other side, and is required."""
    return vpc.SecgroupRule(
        name,
        security_group_id=group,
        direction=direction,
        ethertype="IPv4",
        action="allow",
        priority=1,
        protocol=protocol,
        ports=ports,
        description=why,
        **side,
        opts=options(provider),
    )


def _ways_out(
    zone: LandingZone, provider: pulumi.ProviderResource, network: pulumi.Input[str], subnets: Identifiers
) -> tuple[pulumi.Resource, ...]:
    """A NAT gateway with an address, and an SNAT rule for each subnet with egress; nothing if no subnet has egress.

    The vendor adds the gateway's route to the network's route table. Without an SNAT rule, a subnet has no public
    address, so the route alone gives no egress.
    """
    leaving = zone.egress_subnets
    if not leaving:
        return ()
    tags = zone.tags_of(purpose="egress")
    address = vpc.Eip(
        "egress-address",
        name=zone.physical_name("egress", limit=64),
        publicip=vpc.EipPublicipArgs(type="5_bgp"),
        bandwidth=vpc.EipBandwidthArgs(
            share_type="PER",
            name=zone.physical_name("egress", limit=64),
            size=_EGRESS_MBIT,
            charge_mode="traffic",
        ),
        tags=tags,
        opts=options(provider),
    )
    gateway = nat.Gateway(
        "egress",
        name=zone.physical_name("egress", limit=64),
        spec="1",
        vpc_id=network,
        subnet_id=subnets[leaving[0].name],
        description="the way out of the zones that may leave",
        tags=tags,
        opts=options(provider),
    )
    return tuple(
        nat.SnatRule(
            f"egress-{item.name}",
            nat_gateway_id=gateway.id,
            subnet_id=subnets[item.name],
            floating_ip_id=address.id,
            opts=options(provider),
        )
        for item in leaving
    )
