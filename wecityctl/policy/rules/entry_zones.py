"""A zone's apps are reached from outside through that zone's own entry point, and from no other."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from wecityctl.model.city import City
from wecityctl.model.entries import entry_of, gateway_of, main_zones
from wecityctl.model.naming import COMPONENT_LABEL, TENANT_LABEL, ZONE_LABEL
from wecityctl.policy.admission import Validation, in_city, policy, quote, resources
from wecityctl.policy.findings import about
from wecityctl.policy.model import Finding, Manifest, PolicyInput, Rule
from wecityctl.policy.objects import cloud_of, namespace_of
from wecityctl.policy.traffic import NAMESPACE_LABEL, Namespaces, holds, is_name_server, namespaces
from wecityctl.resource_graph import UNKNOWN, RecordedResource

NAME = "entry-zones"

WHY = """\
Who serves an app decides who can reach it. A gateway that serves the internet and the government extranet 政务外网 at
one address puts the departments' systems on the internet, past the data-exchange zone and without any declared flow;
the zone in the files is then a word. Each zone with routes therefore has an entry point of its own, in a namespace of
the zone and at a node port of its own, and what is behind another entry point opens nothing to it. From the internet an
extranet's app is reached through an app of the data-exchange zone and the declared flows to it and from it. Neither a
flag nor a waiver lifts this rule."""
_RESOLUTION = "take it out; routes of a zone are served by the zone's own entry point, which needs no such policy"


def check(policy_input: PolicyInput) -> Iterable[Finding]:
    """Recorded policies and Ingresses that let the entry point of one zone reach pods of another."""
    city = policy_input.city
    known, places = namespaces(policy_input), _places(city)
    for recording, item in policy_input.objects("NetworkPolicy") if places else ():
        here = known[cloud_of(policy_input, recording)]
        for message in (*_lets_in(city, here, places, item), *_lets_out(city, here, places, item)):
            yield about(policy_input, recording.stack, item, message, _RESOLUTION)
    yield from _ingresses(policy_input, known)


def _ingresses(policy_input: PolicyInput, known: Mapping[str, Namespaces]) -> Iterator[Finding]:
    """Ingresses whose class serves another entry point's zones too, by the files or by what else is recorded."""
    city = policy_input.city
    found = []
    serves: dict[tuple[str, str], set[str]] = {}
    for recording, item in policy_input.objects("Ingress"):
        cloud = cloud_of(policy_input, recording)
        name = str((item.inputs.get("spec") or {}).get("ingressClassName") or "")
        if zone := known[cloud].zone(namespace_of(item)):
            found.append((recording, item, cloud, name, zone))
            serves.setdefault((cloud, name), set()).add(_first_zone(city, zone))
    for recording, item, cloud, name, zone in found:
        declared = {_first_zone(city, each) for each in _class_zones(city, (cloud,)).get(name, ())}
        strangers = (declared or serves[cloud, name]) - {_first_zone(city, zone)}
        if zone in _others(city) and (not name or name in _main_classes(city)):
            who = f"ingress class {name!r}" if name else "the cluster's default ingress class"
            message = f"{who} serves zone {zone!r} and the main entry point's zones"
        elif name and strangers:
            message = f"ingress class {name!r} serves zone {zone!r} and zone {min(strangers)!r}"
        else:
            continue
        yield about(policy_input, recording.stack, item, message, "name a class under zoneIngressClasses of the Cloud")


def _first_zone(city: City, zone: str) -> str:
    """The zone that stands for all that the entry point of `zone` serves."""
    return main_zones(city)[0] if zone in main_zones(city) else zone


def _class_zones(city: City, clouds: Collection[str]) -> Mapping[str, tuple[str, ...]]:
    """The zones that each ingress class serves by the files, on any of these clouds."""
    found: dict[str, set[str]] = {}
    for settings in (cloud.kubernetes for cloud in city.clouds if cloud.name in clouds):
        found.setdefault(settings.ingress_class, set()).update(main_zones(city))
        for zone, name in settings.zone_ingress_classes.items():
            found.setdefault(name, set()).add(zone)
    return {name: tuple(sorted(zones)) for name, zones in sorted(found.items()) if name}


def _places(city: City) -> Mapping[str, tuple[str, ...]]:
    """The namespaces of all the entry points that the city may have, each with the zones that it serves."""
    found = (entry_of(city, zone.name) for zone in city.zones)
    return {entry.namespace: entry.zones for entry in found if entry is not None}


def _others(city: City) -> tuple[str, ...]:
    """The zones that the main entry point does not serve."""
    return tuple(zone.name for zone in city.zones if zone.name not in main_zones(city))


def _main_classes(city: City) -> tuple[str, ...]:
    """The ingress classes that serve the main entry point's zones."""
    return tuple(sorted({cloud.kubernetes.ingress_class for cloud in city.clouds} - {""}))


def _lets_in(
    city: City, here: Namespaces, places: Mapping[str, tuple[str, ...]], item: RecordedResource
) -> Iterator[str]:
    """What a policy in a zone that the main entry point does not serve lets in."""
    zone, component = here.zone(namespace_of(item)), _component(city)
    if zone not in _others(city):
        return
    for rule in (item.inputs.get("spec") or {}).get("ingress") or ():
        peers = rule.get("from") or ()
        if not peers and namespace_of(item) not in places:
            yield f"lets everybody reach zone {zone!r}, entry points of other zones among them"
        for peer in peers:
            for place, zones in places.items():
                if (
                    zone not in zones
                    and _is_gateway(peer.get("podSelector"), component)
                    and _selects(here, peer, place)
                ):
                    yield f"lets the entry point of zone {zones[0]!r} reach zone {zone!r}"


def _lets_out(
    city: City, here: Namespaces, places: Mapping[str, tuple[str, ...]], item: RecordedResource
) -> Iterator[str]:
    """The zones of others that a policy beside a gateway lets it reach."""
    zones, spec = places.get(namespace_of(item), ()), item.inputs.get("spec") or {}
    component = _component(city)
    if not zones or not _is_gateway(spec.get("podSelector"), component):
        return
    for rule in spec.get("egress") or ():
        for peer in rule.get("to") or ():
            selector = peer.get("namespaceSelector")
            found = here.zones(selector) if isinstance(selector, Mapping) and not is_name_server(peer) else None
            for other in sorted((found or frozenset()) - set(zones)):
                yield f"lets the entry point of zone {zones[0]!r} reach zone {other!r}"


def _selects(here: Namespaces, peer: Mapping[str, Any], place: str) -> bool:
    selector = peer.get("namespaceSelector")
    return isinstance(selector, Mapping) and here.selects(selector, place)


def _is_gateway(selector: Any, component: str) -> bool:
    """Whether a gateway's pods may be meant: no selector, or none that names another component or leaves theirs out."""
    labels, expressions = ((selector or {}).get(key) or {} for key in ("matchLabels", "matchExpressions"))
    if isinstance(labels, Mapping) and labels.get(COMPONENT_LABEL, component) not in (component, UNKNOWN):
        return False
    about_it = (item for item in expressions if isinstance(item, Mapping) and item.get("key") == COMPONENT_LABEL)
    return all(holds(item, {COMPONENT_LABEL: component}) for item in about_it)


def _component(city: City) -> str:
    """The label `component` of the entry points' pods: the type of the gateway. Empty for a city without one."""
    gateway = gateway_of(city)
    return gateway.type if gateway is not None else ""


def _other_pods(component: str) -> str:
    """Of a peer `p`, in CEL: its pods are no gateway's."""
    own = quote(component)
    return (
        f"p.?podSelector.?matchLabels[?{quote(COMPONENT_LABEL)}].orValue({own}) != {own}"
        f" || p.?podSelector.?matchExpressions.orValue([]).exists(e, e.key == {quote(COMPONENT_LABEL)} && ("
        f"e.operator == 'DoesNotExist' || (e.operator == 'In' && !({own} in e.?values.orValue([])))"
        f" || (e.operator == 'NotIn' && {own} in e.?values.orValue([]))))"
    )


# Of a peer `p`: its namespaces are tenants', and no gateway runs in these.
_TENANTS = (
    f"{quote(TENANT_LABEL)} in p.namespaceSelector.?matchLabels.orValue({{}})"
    " || p.namespaceSelector.?matchExpressions.orValue([])"
    f".exists(e, e.key == {quote(TENANT_LABEL)} && e.operator in ['Exists', 'In'])"
)


def admission(city: City, _: Mapping[str, str]) -> Iterator[Manifest]:
    """The same at the far end, in the namespaces of the zones that the main entry point does not serve."""
    others = _others(city)
    if not others:
        return
    here = f"namespaceObject.metadata.labels[{quote(ZONE_LABEL)}]"
    classes = _class_zones(city, [cloud.name for cloud in city.clouds])
    validations = [
        Validation(
            f"object.kind != 'Ingress' || !(dyn(object).spec.?ingressClassName.orValue('') in"
            f" {quote(['', *_main_classes(city)])})",
            "this zone is not served by the main entry point's ingress class; name the zone's own",
        )
    ]
    if classes:
        name = "dyn(object).spec.?ingressClassName.orValue('')"
        validations.append(
            Validation(
                f"object.kind != 'Ingress' || {_map(classes)}[?{name}].orValue([{here}]).exists(z, z == {here})",
                "this ingress class serves another zone; name the zone's own",
            )
        )
    places = _places(city)
    if places:
        own = {zone: place for place, zones in places.items() for zone in zones}
        ingress = "object.kind != 'NetworkPolicy' || dyn(object).spec.?ingress.orValue([])"
        named = f"p.namespaceSelector.?matchLabels[?{quote(NAMESPACE_LABEL)}].orValue('')"
        entries = quote(sorted(places))
        zone = f"p.namespaceSelector.?matchLabels[?{quote(ZONE_LABEL)}].orValue('')"
        mine = f"{_map(own)}[?{here}].orValue('')"
        validations += [
            Validation(
                f"{ingress}.all(r, size(r.?from.orValue([])) > 0 || request.namespace in {entries})",
                "nothing in this zone is open to everybody; an app is served by the zone's own entry point",
            ),
            Validation(
                f"{ingress}.all(r, r.?from.orValue([]).all(p, !has(p.namespaceSelector)"
                f" || {zone} == {here} || {_other_pods(_component(city))} || {_TENANTS}"
                f" || ({named} != '' && (!({named} in {entries}) || {named} == {mine}))))",
                "another zone's entry point does not reach this zone; give the app a route, which its own zone serves",
            ),
        ]
    yield from policy(
        city,
        NAME,
        [resources("networking.k8s.io", "networkpolicies", "ingresses")],
        validations,
        match=in_city(city, others),
        waivable=False,
    )


def _map(values: Mapping[str, str | tuple[str, ...]]) -> str:
    """A map of strings, or of lists of them, as a literal of CEL."""
    return "{" + ", ".join(f"{quote(key)}: {quote(value)}" for key, value in sorted(values.items())) + "}"


def evidence(policy_input: PolicyInput) -> Iterator[str]:
    """Which entry point serves which zones."""
    for place, zones in _places(policy_input.city).items():
        yield f"zone {', '.join(zones)}: the entry point in namespace {place}"


RULE = Rule(
    name=NAME,
    title="Each zone has its own entry point 分区入口",
    why=WHY,
    check=check,
    veto=True,
    controls=("8.1.3.1 边界防护", "8.1.3.2 访问控制"),
    admission=admission,
    evidence=evidence,
    applies=lambda city: bool(_others(city)) and (gateway_of(city) is not None or bool(_main_classes(city))),
    of_objects=True,
)
