"""The entry stack: configures the entry points with the routes of the tenants, and exposes them to the outside.

There is one entry point for each zone with routes, and it serves the apps of that zone only. Routes come from the
outputs of tenants' stacks; a tenant without outputs has no routes yet. On a cluster with its own ingress class, Ingress
objects replace the gateways' configuration.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pulumi

from stacks import network_policies, pods
from stacks.entry import sign_in as signing_in
from stacks.objects import Manifest, Scope, open_scope, unknown
from stacks.pem import certificates_of, key_of
from stacks.platforms import tls
from stacks.platforms.entry_interface import EntryInterface, entry_interface
from stacks.stack_references import KnownEndpoint, entry_endpoint, landing_outputs
from wecityctl.inputs import StackInputs
from wecityctl.model import naming
from wecityctl.model.balancers import Balancer, balancer_of
from wecityctl.model.entries import (
    AUTHORITY_KEY,
    ENTRY_SERVICE,
    EntryPoint,
    certificate_key,
    entry_points,
    ingress_class_of,
    speaks_tls,
    zone_of,
)
from wecityctl.model.naming import NAME_LABEL, PART_OF_LABEL
from wecityctl.model.outputs import EntryOutputs, RouteTarget, TenantOutputs, to_json
from wecityctl.model.service_tls import SERVICE_AUTHORITY_KEY


def run(inputs: StackInputs) -> dict[str, Any]:
    """Register the entry points of the city and return the stack's outputs."""
    city, cloud = inputs.city, inputs.city.cloud(inputs.stack.cloud)
    scope = open_scope(inputs, "entry", "entry")
    routes, complete = collect_routes(inputs)
    outputs = EntryOutputs(city.domain, (), 0, inputs.cluster.simulated if inputs.cluster else False)
    if inputs.cluster and inputs.cluster.ingress_class:
        served = [(route, ingress_class_of(city, cloud, zone_of(city, route))) for route in routes]
        # A cluster's own ingress controller has no page for suspended apps.
        scope.add_all([ingress(route, name) for route, name in served if name and not route.is_suspended])
        return to_json(
            replace(outputs, hosts=_hosts([route for route, name in served if name and not route.is_suspended]))
        )
    main, *others = [
        {"zone": entry.gateway.zone, "hosts": _hosts(own), "node_port": _serve(scope, entry, own, complete)}
        for entry in entry_points(city)
        for own in [[route for route in routes if zone_of(city, route) in entry.zones]]
    ]
    return {
        **to_json(replace(outputs, tls=speaks_tls(city, cloud), authority=inputs.secrets.get(AUTHORITY_KEY, ""))),
        **{key: main[key] for key in ("hosts", "node_port")},
        "others": others,
    }


def collect_routes(inputs: StackInputs) -> tuple[tuple[RouteTarget, ...], bool]:
    """The routes of all tenants with outputs, sorted by host and longest path first; and whether all tenants have
    some.
    """
    tenants = [outputs for outputs in inputs.upstream.values() if isinstance(outputs, TenantOutputs)]
    found = [route for outputs in tenants for route in outputs.routes]
    complete = all(outputs is not None for outputs in inputs.upstream.values())
    return tuple(sorted(found, key=lambda route: (route.host, -len(route.path), route.path))), complete


def _hosts(routes: Sequence[RouteTarget]) -> tuple[str, ...]:
    return tuple(sorted({route.host for route in routes}))


def _serve(scope: Scope, entry: EntryPoint, routes: Sequence[RouteTarget], complete: bool) -> pulumi.Output[int]:
    """Register network policies and configuration of one entry point, and a Job that waits until all pods use it.

    Returns the node port; 0 behind a load balancer.
    """
    inputs = scope.inputs
    city, gateway, namespace = inputs.city, entry.gateway.name, entry.namespace
    known = entry_endpoint(inputs, entry)
    flows = scope.add_all([*gateway_flows(entry, known, routes)])
    key = certificate_key(city, city.cloud(inputs.stack.cloud), entry)
    interface = entry_interface(inputs.catalogue[entry.gateway.type])
    # People sign in at the main entry point: the addresses to which they return are its own.
    own = signing_in.sign_in(inputs) if entry.is_main and key else None
    text = interface.render(
        city.domain,
        city.name,
        routes,
        tls=bool(key),
        sign_in=own.service if own else None,
        trusted_proxies=[item for zone in entry.zones for item in city.entry.trusted_proxies.get(zone, ())],
    )
    authority = _authority(inputs, interface, routes, always=own is not None)
    content = pods.content_digest({"routes": text, **authority})
    data: dict[str, Any] = {"routes.conf": text, "digest": content, **authority}
    before, ends = list(flows), dict[str, pulumi.Output[str]]()
    if key:
        certificate = _certificate(inputs, key)
        data |= {
            "certificate": certificate["digest"],
            "digest": pulumi.Output.concat(content, "-", certificate["digest"]),
        }
        before.append(scope.add(pods.secret(namespace, interface.tls_secret(gateway), certificate)))
        ends = tls.ends(inputs, key)
    if pulumi.runtime.is_dry_run() and not complete:
        data |= {"routes.conf": unknown(), "digest": unknown()}
    balancer = balancer_of(city, inputs.stack.cloud, entry)
    balanced = _at_balancer(inputs, balancer, bool(key)) if balancer else {}
    service = scope.add(_service(namespace, known, balanced, ends))
    node_port = service.spec.apply(_node_port) if balancer is None else pulumi.Output.from_input(0)
    if own is not None:
        before += signing_in.register(scope, own, entry, known, routes, node_port)
    configuration = scope.after(*before).add(
        pods.config_map(namespace, interface.config_map(gateway), data), name="routes" if entry.is_main else ""
    )
    scope.after(configuration).add_all([*loading(inputs, entry, known, content, data["digest"])])
    return node_port


def _authority(
    inputs: StackInputs, interface: EntryInterface, routes: Sequence[RouteTarget], *, always: bool
) -> dict[str, str]:
    """The CA certificates with which the gateway verifies apps that serve TLS, and where people sign in (`always`);
    empty if there are none of them."""
    text = inputs.secrets.get(SERVICE_AUTHORITY_KEY, "")
    return {interface.authority: text} if text and (always or any(route.tls for route in routes)) else {}


def _certificate(inputs: StackInputs, key: str) -> dict[str, pulumi.Input[str]]:
    """The data of an entry point's Secret: the certificate chain, the private key, and a digest of the certificate."""
    value = inputs.secrets.get(key)
    if value is None:
        return {"tls.crt": unknown(secret=True), "tls.key": unknown(secret=True), "digest": unknown()}
    chain = certificates_of(value)
    private = key_of(value)
    digest = hashlib.sha256(chain.encode()).hexdigest()[:16]
    return {"tls.crt": pulumi.Output.secret(chain), "tls.key": pulumi.Output.secret(private), "digest": digest}


def _service(
    namespace: str, known: KnownEndpoint, balanced: Manifest, annotations: Mapping[str, pulumi.Output[str]]
) -> Manifest:
    """The Service for access from outside: a node port, or with `balanced`, what a load balancer needs.

    The traffic policy `Local` keeps the client's address, which is logged and passed to apps.
    """
    metadata = balanced.get("metadata", {})
    if annotations:
        metadata = {**metadata, "annotations": {**metadata.get("annotations", {}), **annotations}}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": ENTRY_SERVICE, "namespace": namespace, **metadata},
        "spec": {
            "type": "NodePort",
            "externalTrafficPolicy": "Local",
            "selector": known.pod_labels,
            "ports": [_port("http", _PORT)],
            **balanced.get("spec", {}),
        },
    }


def _port(name: str, number: int) -> Manifest:
    return {"name": name, "port": number, "targetPort": "http", "protocol": "TCP"}


def _at_balancer(inputs: StackInputs, balancer: Balancer, tls: bool) -> Manifest:
    """What the Service needs in order to use the load balancer that the landing zone created.

    The gateway accepts TLS and plain HTTP, which it redirects to HTTPS, on one port.
    """
    vendor, provisioned = inputs.city.cloud(inputs.stack.cloud).vendor, landing_outputs(inputs)
    assert vendor is not None, "only landing zones have balancers"
    known = provisioned.balancers.get(balancer.zone) if provisioned is not None else None
    annotations = {
        vendor.balancers.annotation: known or unknown(),
        **vendor.balancers.annotations(balancer.public),
    }
    ports = [_port("http", _PORT), *([_port("https", _TLS_PORT)] if tls else [])]
    return {"metadata": {"annotations": annotations}, "spec": {"type": "LoadBalancer", "ports": ports}}


def gateway_flows(entry: EntryPoint, known: KnownEndpoint, routes: Sequence[RouteTarget]) -> Iterator[Manifest]:
    """Yield network policies: from the gateway to each routed app only, and for a zone's own gateway, from anywhere in.

    The main gateway's platform allows its incoming traffic; it gets one policy for each app.
    """
    gateway, namespace = entry.gateway.name, entry.namespace
    leaves = [(route, _leaves(route)) for route in routes if not route.is_suspended]
    if entry.is_main:
        for route, rule in leaves:
            name = naming.fit(f"{gateway}-to-{route.tenant}-{route.app}")
            yield network_policies.policy(namespace, name, known.pod_labels, egress=[rule])
        return
    arrives = [network_policies.from_anywhere([known.port])]
    yield network_policies.policy(
        namespace, gateway, known.pod_labels, ingress=arrives, egress=[rule for _, rule in leaves]
    )


def _leaves(route: RouteTarget) -> Manifest:
    if route.external_host:
        return network_policies.to_outside(route.external_host, route.external_port)
    labels = {NAME_LABEL: route.app, PART_OF_LABEL: route.tenant}
    ports = sorted({route.listens, route.canary.port if route.canary is not None else route.listens})
    return network_policies.to_peer(network_policies.pods_of(route.namespace, labels), ports)


def loading(
    inputs: StackInputs, entry: EntryPoint, known: KnownEndpoint, content: str, digest: pulumi.Input[str]
) -> Iterator[Manifest]:
    """Yield a Job that succeeds when the gateway serves these routes, so that `up` ends when they can be used.

    `content` is part of the Job's name. `digest`, which also covers the certificate, is what the gateway must answer.
    """
    namespace, kind = entry.namespace, inputs.catalogue[entry.gateway.type]
    interface = entry_interface(kind)
    labels = {f"{naming.LABEL_PREFIX}/checks": "entry"}
    target = {"podSelector": {"matchLabels": known.pod_labels}}
    yield network_policies.policy(
        namespace, "entry-check", labels, egress=[network_policies.to_peer(target, [known.port])]
    )
    runner = pods.container(
        "check",
        known.image,
        command=["/bin/bash", "-c", interface.check],
        env=[
            {"name": "HOST", "value": known.host},
            # The gateway of a single zone has only the Service for access from outside.
            {"name": "PORT", "value": pulumi.Output.from_input(known.port if entry.is_main else _PORT).apply(str)},
            {"name": "DIGEST", "value": digest},
            {"name": "ANSWERS", "value": str(2 * (entry.gateway.replicas or 1))},
        ],
        requests={"cpu": "10m", "memory": "32Mi"},
    )
    spec = pods.pod(
        [runner],
        cluster=inputs.cluster,
        user=interface.user,
        architectures=kind.architectures_in(inputs.city.images.architectures),
        restart="Never",
    )
    yield {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": f"entry-routes-{content[:10]}", "namespace": namespace},
        "spec": {
            "backoffLimit": 1,
            "activeDeadlineSeconds": 300,
            "template": pods.template({**labels}, spec),
        },
    }


def ingress(route: RouteTarget, ingress_class: str) -> Manifest:
    """The route as an Ingress for the cluster's own controller."""
    backend = {"service": {"name": route.service, "port": {"number": route.port}}}
    path = {"path": route.path, "pathType": "Prefix", "backend": backend}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": route.app, "namespace": route.namespace},
        "spec": {"ingressClassName": ingress_class, "rules": [{"host": route.host, "http": {"paths": [path]}}]},
    }


# The port, within the cluster, of the Service for access from outside.
_PORT = 80
_TLS_PORT = 443


def _node_port(spec: Any) -> int:
    return int(spec["ports"][0].get("nodePort") or spec["ports"][0].get("node_port") or 0)
