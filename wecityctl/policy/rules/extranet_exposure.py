"""A government extranet is reached through its own entry point alone: no external address or gateway, and no node port
or load balancer but that of the entry point."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from wecityctl.model.city import City
from wecityctl.model.entries import ENTRY_SERVICE, entry_of
from wecityctl.model.naming import ZONE_LABEL, stack_name
from wecityctl.policy.admission import MANAGE, Validation, in_city, may, policy, quote, resources
from wecityctl.policy.findings import about
from wecityctl.policy.model import Finding, Manifest, PolicyInput, Rule
from wecityctl.policy.objects import labels_of, name_of, namespace_of
from wecityctl.resource_graph import RecordedResource, Recording

NAME = "extranet-exposure"

WHY = """\
The government extranet carries the departments' own systems. One Service of type LoadBalancer is enough to put such a
system on the internet, past the single entry point, the data-exchange zone and everything that is logged and
inspected there. What citizens are to reach has a route in the files, which the entry point serves; objects that open
a way of their own are refused, whoever makes them."""
# Kinds that open a listener of their own or route traffic to pods, with their plurals, by API group: those of Gateway
# API and of widely used ingress controllers. Kinds of others are unknown here and not restricted.
_GATEWAYS: Mapping[str, Mapping[str, str]] = {
    "gateway.networking.k8s.io": {"Gateway": "gateways", "ListenerSet": "listenersets"},
    "gateway.networking.x-k8s.io": {"XListenerSet": "xlistenersets"},
    "networking.istio.io": {"Gateway": "gateways"},
}
_ROUTES: Mapping[str, Mapping[str, str]] = {
    "gateway.networking.k8s.io": {
        f"{name}Route": f"{name.lower()}routes" for name in ("HTTP", "GRPC", "TLS", "TCP", "UDP")
    },
    "networking.istio.io": {"VirtualService": "virtualservices"},
    "traefik.io": {f"IngressRoute{name}": f"ingressroute{name.lower()}s" for name in ("", "TCP", "UDP")},
    "projectcontour.io": {"HTTPProxy": "httpproxies"},
    "k8s.nginx.org": {
        "VirtualServer": "virtualservers",
        "VirtualServerRoute": "virtualserverroutes",
        "TransportServer": "transportservers",
    },
    "route.openshift.io": {"Route": "routes"},
    "configuration.konghq.com": {"TCPIngress": "tcpingresses", "UDPIngress": "udpingresses"},
}
_GATEWAY_KINDS = tuple(sorted({kind for kinds in _GATEWAYS.values() for kind in kinds}))
_ROUTE_KINDS = tuple(sorted({kind for kinds in _ROUTES.values() for kind in kinds}))
_INNER = ("ClusterIP", "ExternalName")


def check(policy_input: PolicyInput) -> Iterable[Finding]:
    """Recorded objects in an extranet that open it. Routes of apps are the entry stack's, and nobody else's."""
    zones = extranets(policy_input.city)
    inside = {
        name_of(item) for _, item in policy_input.objects("Namespace") if labels_of(item).get(ZONE_LABEL) in zones
    }
    for recording, item in policy_input.objects("Service", "Ingress", *_GATEWAY_KINDS, *_ROUTE_KINDS):
        if namespace_of(item) not in inside:
            continue
        kind, spec = str(item.inputs["kind"]), item.inputs.get("spec") or {}
        fault = ""
        if _is_entry(policy_input, recording, item):
            continue
        if kind == "Service" and spec.get("type", "ClusterIP") not in _INNER:
            fault = f"type {spec['type']} opens a government extranet"
        elif kind == "Service" and spec.get("externalIPs"):
            fault = "an external address opens a government extranet"
        elif kind in _GATEWAY_KINDS or (kind in ("Ingress", *_ROUTE_KINDS) and not recording.stack.endswith(".entry")):
            fault = f"a {kind} opens a government extranet past the city's single entry point"
        if fault:
            resolution = "serve it through a route of its app, or from a data-exchange zone with a declared flow"
            yield about(policy_input, recording.stack, item, fault, resolution)


def _is_entry(policy_input: PolicyInput, recording: Recording, item: RecordedResource) -> bool:
    """Whether it is the node port of an extranet's own entry point, or its balancer, as the entry stack makes it."""
    spec = item.inputs.get("spec") or {}
    made = recording.stack == stack_name(policy_input.city.name, "entry") and item.inputs.get("kind") == "Service"
    named = set((item.inputs.get("metadata") or {}).get("annotations") or ()) & set(_balancers(policy_input.city))
    balanced = spec.get("type") == "LoadBalancer" and bool(named)
    plain = (spec.get("type") == "NodePort" or balanced) and not spec.get("externalIPs")
    return made and plain and name_of(item) == ENTRY_SERVICE and namespace_of(item) in _entries(policy_input.city)


def _entries(city: City) -> tuple[str, ...]:
    """The namespaces of the extranets' own entry points."""
    found = (entry_of(city, zone) for zone in extranets(city))
    return tuple(sorted({entry.namespace for entry in found if entry is not None}))


def _balancers(city: City) -> tuple[str, ...]:
    """The annotations by which a Service names a balancer that a landing zone has made: an extranet's are internal."""
    zones = set(extranets(city))
    found = {item.vendor for item in city.clouds if zones & set(item.zones)}
    return tuple(sorted(vendor.balancers.annotation for vendor in found if vendor is not None))


def extranets(city: City) -> tuple[str, ...]:
    """The city's zones that are government extranets."""
    return tuple(zone.name for zone in city.zones if zone.kind == "government-extranet")


def _outside(city: City) -> str:
    """What the Service of an extranet's entry point may be: a node port, or at a balancer that is there already."""
    kind, balancers = "dyn(object).spec.?type.orValue('')", _balancers(city)
    if not balancers:
        return f"{kind} == 'NodePort'"
    named = f"{quote(balancers)}.exists(key, key in dyn(object).metadata.?annotations.orValue({{}}))"
    return f"({kind} == 'NodePort' || ({kind} == 'LoadBalancer' && {named}))"


def admission(city: City, _: Mapping[str, str]) -> Iterator[Manifest]:
    """The same in the cluster; nothing where there is no extranet."""
    zones = extranets(city)
    if not zones:
        return
    yield from policy(
        city,
        NAME,
        [
            resources("", "services"),
            resources("networking.k8s.io", "ingresses"),
            *(
                resources(group, *kinds.values(), versions=["*"])
                for table in (_GATEWAYS, _ROUTES)
                for group, kinds in table.items()
            ),
        ],
        [
            Validation(
                f"object.kind != 'Service' || dyn(object).spec.?type.orValue('ClusterIP') in {quote(_INNER)}"
                f" || ({_outside(city)} && request.name == {quote(ENTRY_SERVICE)}"
                f" && request.namespace in {quote(_entries(city))} && {may(city, MANAGE)})",
                "a government extranet zone has no load balancer and no node port; serve it through a route of its app",
            ),
            Validation(
                "object.kind != 'Service' || size(dyn(object).spec.?externalIPs.orValue([])) == 0",
                "a government extranet zone has no external address; serve it through a route of its app",
            ),
            Validation(
                f"!(object.kind in {quote(_GATEWAY_KINDS)})",
                "a government extranet zone has no gateway of its own; serve it through a route of its app",
            ),
            Validation(
                f"object.kind in {quote(['Service', *_GATEWAY_KINDS])} || {may(city, MANAGE)}",
                "what a government extranet zone serves is declared in the city's files; give the app a route there",
            ),
        ],
        match=in_city(city, zones),
    )


RULE = Rule(
    name=NAME,
    title="Nothing public in an extranet 政务外网不对外暴露",
    why=WHY,
    check=check,
    controls=("8.1.3.1 边界防护", "8.1.3.2 访问控制"),
    admission=admission,
    applies=lambda city: bool(extranets(city)),
    of_objects=True,
)
