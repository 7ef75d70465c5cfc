"""The network of a landing zone on Tencent Cloud: VPC, the zones' subnets and security groups, NAT gateway."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pulumi

from stacks.base import landing
from stacks.base.landing import LandingZone, options
from stacks.base.vpc import Identifiers, Network

with landing.needs_sdk("tencentcloud"):
    from tencentcloud_iac_pulumi import eip, nat, route, security, subnet, vpc


@dataclass(frozen=True, slots=True)
class _WayOut:
    """The route table of the subnets with egress, and its default route."""

    table: route.Table
    entry: route.TableEntry


def make_network(zone: LandingZone, provider: pulumi.ProviderResource) -> Network:
    """Register the network. Existing parts are only read."""
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
    made = {item.name: _subnet(zone, provider, network, way_out, item) for item in zone.subnets}
    groups = {item.name: _group(zone, provider, item.name).id for item in zone.zones}
    return Network(
        network,
        subnets={name: item.id for name, item in made.items()},
        # An existing subnet may have another range than the planned one.
        ranges={item.name: made[item.name].cidr_block if item.existing else item.cidr for item in zone.subnets},
        groups=groups,
        rules=tuple(rules for item in zone.zones for rules in _rules(zone, provider, item.name, groups)),
        ways_out=(way_out.entry,) if way_out is not None else (),
    )


def _subnet(
    zone: LandingZone,
    provider: pulumi.ProviderResource,
    network: pulumi.Input[str],
    way_out: _WayOut | None,
    item: landing.Subnet,
) -> subnet.Instance:
    if item.existing:
        return subnet.Instance.get(f"subnet-{item.name}", item.existing, opts=options(provider))
    leaves = way_out is not None and item in zone.egress_subnets
    return subnet.Instance(
        f"subnet-{item.name}",
        name=zone.physical_name(item.name, limit=60),
        vpc_id=network,
        availability_zone=item.availability_zone,
        cidr_block=item.cidr,
        is_multicast=False,
        route_table_id=way_out.table.id if way_out is not None and leaves else None,
        tags=zone.tags_of(zone=item.zone),
        opts=options(provider, protect=True),
    )


def _egress(zone: LandingZone, provider: pulumi.ProviderResource, network: pulumi.Input[str]) -> _WayOut | None:
    """The egress of the network; `None` if no zone has egress."""
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


def _group(zone: LandingZone, provider: pulumi.ProviderResource, name: str) -> security.Group:
    """A security group without rules, which denies all traffic."""
    return security.Group(
        f"group-{name}",
        name=zone.physical_name(name, limit=60),
        description=f"zone {name} of {zone.city.name}: declared flows only",
        tags=zone.tags_of(zone=name),
        opts=options(provider),
    )


def _rules(
    zone: LandingZone, provider: pulumi.ProviderResource, name: str, groups: Identifiers
) -> tuple[security.GroupRuleSet, ...]:
    """All rules of a zone's group as one set, so that a rule added by hand is detected as drift and removed.

    The vendor accepts no empty set: a group without rules denies everything anyway.
    """
    rules = zone.rules_of(name)
    if not rules:
        return ()
    incoming = [
        security.GroupRuleSetIngressArgs(**_passing(rule, groups)) for rule in rules if rule.direction == "ingress"
    ]
    outgoing = [
        security.GroupRuleSetEgressArgs(**_passing(rule, groups)) for rule in rules if rule.direction == "egress"
    ]
    made = security.GroupRuleSet(
        f"rules-{name}",
        security_group_id=groups[name],
        ingresses=incoming,
        egresses=outgoing,
        opts=options(provider),
    )
    return (made,)


def _passing(rule: landing.Rule, groups: Identifiers) -> dict[str, Any]:
    side = {"source_security_id": groups[rule.peer]} if rule.peer else {"cidr_block": rule.cidr}
    protocol = "" if rule.protocol == "any" else rule.protocol
    return accept(rule.description, protocol=protocol, ports=landing.ports_text(rule), **side)


def accept(why: str, *, protocol: str = "", ports: str = "", **side: pulumi.Input[str]) -> dict[str, Any]:
    """A rule that allows traffic. Without protocol and ports (`443`, `30000-30085`) it applies to all traffic."""
    named = {"protocol": protocol.upper(), "port": ports} if protocol else {}
    return {"action": "ACCEPT", "description": why, **named, **side}
