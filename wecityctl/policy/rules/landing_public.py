"""A landing zone without an internet zone has no way to or from the internet."""

from __future__ import annotations

from collections.abc import Iterator

from wecityctl.model.city import City, Cloud
from wecityctl.policy.landing import balanced_zone, is_open_to_all, is_public_endpoint, landing_zones, public_parts
from wecityctl.policy.model import Finding, PolicyInput, Rule

WHY = """\
In a government extranet there is no public load balancer, address or NAT: what has one can be scanned, attacked and
used to carry data out, whatever the network policies inside the cluster say. Vendors make such things unasked; one
makes a NAT gateway and puts the API server of a new cluster on the internet unless told otherwise. The rule reads what
the landing zone would create: none of it may be public where no zone of the cloud is open to the internet or may reach
out. The API server has a public address only where the file asks for one with an access list, and where the cloud
carries internet zones alone: with an extranet or an exchange zone the way to it is a private one. A zone of the
extranet that asks for egress is refused for the same reason."""


def check(policy_input: PolicyInput) -> Iterator[Finding]:
    """Public parts of landing zones that may have none, and extranets that ask for a way out."""
    city = policy_input.city
    for index, zone in enumerate(city.zones):
        if zone.kind == "government-extranet" and zone.egress:
            yield Finding(
                subject=f"zone {zone.name}",
                message=f"zone {zone.name!r} is a government extranet and asks for a way out",
                resolution="take egress out; what has to pass goes through a data-exchange zone",
                document=("City", city.name),
                path=("spec", "zones", index, "egress"),
            )
    for cloud, recording in landing_zones(policy_input):
        kinds = {city.zone(name).kind for name in cloud.zones}
        inner = {name for name in cloud.zones if city.zone(name).kind != "internet"}
        for item, what in public_parts(recording):
            endpoint = is_public_endpoint(what)
            if endpoint and kinds == {"internet"} and is_open_to_all(recording, item):
                yield Finding(
                    subject=f"cloud {cloud.name}",
                    message=f"{item.name} ({item.type}) has {what}, and everybody may reach it",
                    resolution="name who may reach it under publicApi.allowFrom, or leave publicApi out",
                    stack=recording.stack,
                    document=("Cloud", cloud.name),
                    path=("spec", "provider"),
                )
            elif is_closed(city, cloud) or (endpoint and kinds != {"internet"}) or balanced_zone(item) in inner:
                yield Finding(
                    subject=f"cloud {cloud.name}",
                    message=f"{item.name} ({item.type}) has {what}, and the cloud carries {', '.join(cloud.zones)}",
                    resolution="leave it out of the landing zone, or move the zones apart to clouds of their own",
                    stack=recording.stack,
                    document=("Cloud", cloud.name),
                    path=("spec", "zones"),
                )


def is_closed(city: City, cloud: Cloud) -> bool:
    """Whether no zone of the cloud faces the internet or may reach it."""
    zones = [city.zone(name) for name in cloud.zones]
    return not any(zone.kind == "internet" or (zone.egress and zone.kind != "government-extranet") for zone in zones)


def evidence(policy_input: PolicyInput) -> Iterator[str]:
    """The landing zones that were looked at and are closed."""
    for cloud, recording in landing_zones(policy_input):
        if is_closed(policy_input.city, cloud) and not any(True for _ in public_parts(recording)):
            yield f"landing zone {cloud.name}: no public address, NAT or API endpoint"


RULE = Rule(
    name="landing-public",
    title="No way to the internet for a landing zone of the extranet 政务外网落地区不通公网",
    why=WHY,
    check=check,
    controls=("8.1.3.1 边界防护", "8.1.2.1 网络架构"),
    evidence=evidence,
    applies=lambda city: any(cloud.has_landing_zone for cloud in city.clouds),
    enforced="elsewhere",
)
