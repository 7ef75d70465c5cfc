"""No NetworkPolicy lets traffic pass between zones without a declared flow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import permutations

from wecityctl.model import naming
from wecityctl.model.city import City
from wecityctl.model.notification import NOTIFICATION
from wecityctl.model.words import some
from wecityctl.policy.data import store_users, zones_of
from wecityctl.policy.model import Finding, PolicyInput, Rule
from wecityctl.policy.objects import namespace_of, source_of
from wecityctl.policy.rules.through_exchange import joins
from wecityctl.policy.traffic import UNNUMBERED, Allowance, allowances

WHY = """\
Zones are the city's lines of defence: the internet zone is expected to be attacked, the government extranet holds the
departments' systems. Traffic from one to another is allowed only as a flow that the files declare with its ports, who
approved it and why. This rule works out from the NetworkPolicies that the stacks would register which zones they join,
and on which ports, and holds every one of them against the declared flows. So a policy that an app, a capability of a
partner or a mistake of ours brings along cannot open a way that nobody approved, and neither can a way out to the
world, which only a zone with egress may have; the target of backups, which the City declares with its addresses, is
for backup jobs alone, and the servers of channels for messages are for what sends by them. A store that names no zone
counts as in the zones of all apps that use it: where these are several, each needs a flow to the others with the
store's port."""


def check(policy_input: PolicyInput) -> Iterator[Finding]:
    """Policies that join zones without a flow, or lead out of a zone that has no egress."""
    flows = _declared(policy_input.city)
    egress = {zone.name for zone in policy_input.city.zones if zone.egress}
    leaving = {flow.source for flow in policy_input.city.flows}
    found = tuple(allowances(policy_input))
    for item in found:
        for zone in sorted(item.zones - {item.zone}):
            ports = _undeclared(item, flows.get(item.ends(zone), frozenset()))
            if ports:
                yield _joins(policy_input, item, zone, ports)
        if item.strangers:
            yield _meets_strangers(policy_input, item)
        if item.direction == "egress" and item.zone not in egress:
            if item.wide:
                yield _leads_out(policy_input, item)
            elif item.ranges and item.zone not in leaving and not _is_named(policy_input.city, item):
                yield _crosses(policy_input, item)
    yield from _both_open(policy_input, found, flows)
    yield from _shared_stores(policy_input, flows)


def _reaches_backups(city: City, item: Allowance) -> bool:
    """Whether it leads backup jobs of a platform, and no other pods, to the target of backups that the City names."""
    backup, spec = city.compliance.backup, item.policy.inputs.get("spec") or {}
    namespaces = {naming.platform_namespace(each.name, item.zone) for each in city.platforms}
    return (
        backup.is_taken
        and namespace_of(item.policy) in namespaces
        and set((spec.get("podSelector") or {}).get("matchLabels") or {}) == {naming.BACKS_UP_LABEL}
        and set(item.ranges) <= set(backup.addresses)
        and item.ports == frozenset([backup.host_and_port[1]])
    )


def _is_named(city: City, item: Allowance) -> bool:
    """Whether the City itself names where it leads, and for these pods alone."""
    return _reaches_backups(city, item) or _reaches_channels(city, item)


def _reaches_channels(city: City, item: Allowance) -> bool:
    """Whether it leads what sends messages to the servers of channels that the City names."""
    channels = city.notification.channels.values() if city.notification is not None else ()
    named = {address for each in channels for address in each.ranges}
    spec = item.policy.inputs.get("spec") or {}
    namespaces = {naming.platform_namespace(each.name, item.zone) for each in city.platforms}
    return (
        namespace_of(item.policy) in namespaces
        and ((spec.get("podSelector") or {}).get("matchLabels") or {}).get(naming.COMPONENT_LABEL) == NOTIFICATION
        and set(item.ranges) <= named
        and item.ports is not None
        and item.ports <= {each.host_and_port[1] for each in channels}
    )


def _declared(city: City) -> dict[tuple[str, str], frozenset[int]]:
    """The ports of the declared flows by (from, to)."""
    found: dict[tuple[str, str], frozenset[int]] = {}
    for flow in city.flows:
        ends = (flow.source, flow.target)
        found[ends] = found.get(ends, frozenset()) | frozenset(flow.ports)
    return found


def _undeclared(item: Allowance, declared: frozenset[int]) -> str:
    """The ports that the allowance opens and no flow declares, in words; empty when all are declared."""
    if item.ports is None:
        return "every port"
    extra = sorted(item.ports - declared)
    words = [f"port {', '.join(str(port) for port in extra if port > 0)}"] if any(port > 0 for port in extra) else []
    return " and ".join([*words, *(["a port known only by name"] if UNNUMBERED in extra else [])])


def _joins(policy_input: PolicyInput, item: Allowance, zone: str, ports: str) -> Finding:
    start, end = item.ends(zone)
    return _finding(
        policy_input,
        item,
        f"zone {start!r} reach zone {end!r} on {ports}; no flow says so",
        f"declare a flow from {start} to {end} with its ports, or take the policy out",
    )


def _finding(policy_input: PolicyInput, item: Allowance, lets: str, resolution: str) -> Finding:
    """A finding about the allowance's policy, which is named where the finding's subject is what it belongs to."""
    source = source_of(policy_input, item.policy)
    policy = "it" if source.document is None else f"NetworkPolicy {item.policy.name}"
    return Finding(source.subject, f"{policy} lets {lets}", resolution, item.stack, source.document, source.path)


def _meets_strangers(policy_input: PolicyInput, item: Allowance) -> Finding:
    verb, who = ("reach", "to") if item.direction == "egress" else ("be reached from", "from")
    where = "; ".join(item.strangers)
    return _finding(
        policy_input,
        item,
        f"zone {item.zone!r} {verb} namespaces that are not the city's: {where}",
        f"take the policy out; no flow can be declared {who} what the city does not have",
    )


def _leads_out(policy_input: PolicyInput, item: Allowance) -> Finding:
    return _finding(
        policy_input,
        item,
        f"pods of zone {item.zone!r} reach any address",
        "name the addresses, or give the zone egress: true where it may reach the world outside",
    )


def _crosses(policy_input: PolicyInput, item: Allowance) -> Finding:
    """Addresses are other clouds' ways in. Their ports are node ports, so only the zone can be held against flows."""
    where = ", ".join(item.ranges)
    return _finding(
        policy_input,
        item,
        f"zone {item.zone!r} reach {where}; no flow leads out of it",
        f"declare a flow from {item.zone} with its ports, or take the policy out",
    )


def _both_open(
    policy_input: PolicyInput, found: Iterable[Allowance], flows: dict[tuple[str, str], frozenset[int]]
) -> Iterator[Finding]:
    """Pairs of zones of which one lets its pods go anywhere and the other lets anybody in: together they are a way."""
    leaving = {(item.cloud, item.zone) for item in found if item.direction == "egress" and item.wide}
    for item in found:
        if item.direction != "ingress" or not item.wide:
            continue
        for cloud, zone in sorted(leaving):
            ports = _undeclared(item, flows.get((zone, item.zone), frozenset()))
            if cloud == item.cloud and zone != item.zone and ports:
                yield _joins(policy_input, item, zone, ports)


def _shared_stores(policy_input: PolicyInput, flows: dict[tuple[str, str], frozenset[int]]) -> Iterator[Finding]:
    """Stores without a zone that apps of several zones use: no policy shows that the zones meet there.

    What joins the internet and a government extranet takes no flow at all; rule through-exchange refuses it.
    """
    users, kinds = store_users(policy_input), {zone.name: zone.kind for zone in policy_input.city.zones}
    for platform in policy_input.city.platforms:
        for index, store in enumerate(platform.capabilities):
            zones, port = zones_of(users.get(store.name, ())), policy_input.catalogue[store.type].port
            pairs = (ends for ends in permutations(zones, 2) if not joins(kinds, *ends))
            missing = [ends for ends in pairs if port not in flows.get(ends, frozenset())]
            if missing and not store.zone:
                ways = some([f"{start} → {end}" for start, end in missing])
                yield Finding(
                    subject=f"capability {store.name}",
                    message=f"names no zone and is used from several; no flow says so on port {port}: {ways}",
                    resolution="name its zone, and declare a flow to it from each other zone of the apps that use it",
                    document=("Platform", platform.name),
                    path=("spec", "capabilities", index),
                )


def evidence(policy_input: PolicyInput) -> Iterator[str]:
    """The declared flows, as an assessor asks for them."""
    for flow in policy_input.city.flows:
        ports = ", ".join(map(str, flow.ports))
        yield f"{flow.source} → {flow.target} on {ports}: approved by {flow.approved_by}, {flow.reason}"


RULE = Rule(
    name="declared-flows",
    title="Between zones only declared flows 跨区流量须申报",
    why=WHY,
    check=check,
    controls=("8.1.3.1 边界防护", "8.1.3.2 访问控制"),
    evidence=evidence,
    of_objects=True,
)
