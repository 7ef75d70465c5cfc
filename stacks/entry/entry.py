"""The single entry point: routes rendered from the outputs of the tenants that are up, and the way in from outside.

A tenant that has no outputs yet has no routes yet. On a cluster with an ingress class of its own, Ingress objects take
the place of the gateway's routes.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from typing import Any

import pulumi

from wecityctl.inputs import StackInputs
from wecityctl.model import naming
from wecityctl.model.city import Capability
from wecityctl.model.outputs import EntryOutputs, RouteTarget, TenantOutputs, to_json
from wecityctl.stacks import network, pods
from wecityctl.stacks.objects import KubernetesObject, Manifest, Scope, open_scope, unknown
from wecityctl.stacks.platforms.application.gateway import routes_config_map
from wecityctl.stacks.upstream import KnownEndpoint, endpoint


def run(inputs: StackInputs) -> dict[str, Any]:
    """Register the entry point of the city."""
    scope = open_scope(inputs, "entry", "entry")
    routes, complete = collect_routes(inputs)
    hosts = tuple(sorted({route.host for route in routes}))
    ingress_class = inputs.cluster.ingress_class if inputs.cluster else ""
    if ingress_class:
        scope.add_all([ingress(route, ingress_class) for route in routes])
        return _outputs(inputs, hosts, 0)
    gateway = next(item for item in inputs.city.capabilities if item.type == "gateway")
    service = _serve(scope, gateway, routes, complete)
    return _outputs(inputs, hosts, service.spec.apply(_node_port))


def collect_routes(inputs: StackInputs) -> tuple[tuple[RouteTarget, ...], bool]:
    """The routes of all tenants that are up, by host and longest path; and whether every tenant has spoken."""
    tenants = [outputs for outputs in inputs.upstream.values() if isinstance(outputs, TenantOutputs)]
    found = [route for outputs in tenants for route in outputs.routes]
    complete = all(outputs is not None for outputs in inputs.upstream.values())
    return tuple(sorted(found, key=lambda route: (route.host, -len(route.path), route.path))), complete


def _serve(scope: Scope, gateway: Capability, routes: Sequence[RouteTarget], complete: bool) -> KubernetesObject:
    """The routes' flows and configuration, then the wait until every gateway pod has taken them over."""
    inputs = scope.inputs
    known = endpoint(inputs, gateway.name)
    namespace = naming.platform_namespace(gateway.platform, gateway.zone)
    flows = scope.add_all([*gateway_flows(namespace, gateway.name, known, routes)])
    text = render_routes(inputs.city.domain, inputs.city.name, routes)
    digest = pods.content_digest({"routes": text})
    data: dict[str, Any] = {"routes.conf": text, "digest": digest}
    if pulumi.runtime.is_dry_run() and not complete:
        data = {"routes.conf": unknown(), "digest": unknown()}
    configuration = scope.after(*flows).add(
        pods.config_map(namespace, routes_config_map(gateway.name), data), name="routes"
    )
    service = scope.add(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "entry", "namespace": namespace},
            "spec": {
                "type": "NodePort",
                "selector": known.pod_labels,
                "ports": [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}],
            },
        }
    )
    scope.after(configuration).add_all([*loading(inputs, namespace, gateway, known, digest)])
    return service


def gateway_flows(
    namespace: str, gateway: str, known: KnownEndpoint, routes: Sequence[RouteTarget]
) -> Iterator[Manifest]:
    """One flow from the gateway to each routed app, and nothing else."""
    for route in routes:
        target = network.pods_of(
            route.namespace, {"app.kubernetes.io/name": route.app, "app.kubernetes.io/part-of": route.tenant}
        )
        leaves = (
            network.to_outside(route.external_host, route.external_port)
            if route.external_host
            else network.to_peer(target, [route.port])
        )
        yield network.policy(
            namespace, naming.fit(f"{gateway}-to-{route.tenant}-{route.app}"), known.pod_labels, egress=[leaves]
        )


def loading(
    inputs: StackInputs, namespace: str, gateway: Capability, known: KnownEndpoint, digest: str
) -> Iterator[Manifest]:
    """A Job that succeeds when the gateway serves these routes: `up` ends when citizens can use them."""
    labels = {f"{naming.LABEL_PREFIX}/checks": "entry"}
    target = {"podSelector": {"matchLabels": known.pod_labels}}
    yield network.policy(namespace, "entry-check", labels, egress=[network.to_peer(target, [known.port])])
    yield network.policy(
        namespace,
        "entry-checked",
        known.pod_labels,
        ingress=[network.from_peer({"podSelector": {"matchLabels": labels}}, [known.port])],
    )
    runner = pods.container(
        "check",
        known.image,
        command=["/bin/bash", "-c", CHECK],
        env=[
            {"name": "HOST", "value": known.host},
            {"name": "PORT", "value": pulumi.Output.from_input(known.port).apply(str)},
            {"name": "DIGEST", "value": digest},
            {"name": "ANSWERS", "value": str(2 * (gateway.replicas or 1))},
        ],
        requests={"cpu": "10m", "memory": "32Mi"},
    )
    spec = pods.pod(
        [runner],
        cluster=inputs.cluster,
        user=101,
        architectures=inputs.city.images.architectures,
        restart="Never",
    )
    yield {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": f"entry-routes-{digest[:10]}", "namespace": namespace},
        "spec": {
            "backoffLimit": 1,
            "activeDeadlineSeconds": 300,
            "template": pods.template({**labels}, spec),
        },
    }


def render_routes(domain: str, city: str, routes: Sequence[RouteTarget]) -> str:
    """nginx's servers. Names resolve when they are used, so a Service that is away breaks its own route alone."""
    blocks = [_index(domain, city, routes)]
    for host in sorted({route.host for route in routes}):
        locations = "".join(_location(route, number) for number, route in enumerate(routes) if route.host == host)
        blocks.append(f"server {{\n  listen 8080;\n  server_name {host};\n{locations}}}\n")
    return "".join(blocks)


def ingress(route: RouteTarget, ingress_class: str) -> Manifest:
    """The route as an Ingress of the cluster's own controller."""
    backend = {"service": {"name": route.service, "port": {"number": route.port}}}
    path = {"path": route.path, "pathType": "Prefix", "backend": backend}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": route.app, "namespace": route.namespace},
        "spec": {"ingressClassName": ingress_class, "rules": [{"host": route.host, "http": {"paths": [path]}}]},
    }


# nginx reads no text of more than 4096 bytes. Source: NGX_CONF_BUFFER.
_NGINX_TEXT = 3500

# As many answers in a row as there are gateway pods, twice over: each answer comes from one of them. The images have no
# HTTP client, but bash can open a connection.
CHECK = r"""set -u
ask() {
  exec 3<>"/dev/tcp/$HOST/$PORT" || return 1
  printf 'GET /-/routes HTTP/1.0\r\nHost: check\r\n\r\n' >&3
  timeout 2 tail -n 1 <&3
  exec 3>&-
}
seen=0
for attempt in $(seq 1 500); do
  if [ "$(ask 2> /dev/null)" = "$DIGEST" ]; then seen=$((seen + 1)); else seen=0; sleep 0.5; fi
  [ "$seen" -ge "$ANSWERS" ] && exit 0
done
echo "the gateway does not serve routes $DIGEST; see the log of its container loader" >&2
exit 1
"""


def _location(route: RouteTarget, number: int) -> str:
    upstream = route.external_host or f"{route.service}.{route.namespace}.svc.cluster.local"
    return (
        f"  location {route.path} {{\n"
        f"    set $upstream_{number} {upstream};\n"
        f"    proxy_pass http://$upstream_{number}:{route.external_port or route.port};\n"
        "    proxy_http_version 1.1;\n"
        "    proxy_set_header Host $host;\n"
        "    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n"
        "    proxy_set_header X-Forwarded-Proto $scheme;\n"
        "    proxy_set_header Upgrade $http_upgrade;\n"
        "    proxy_set_header Connection $connection_upgrade;\n"
        "    proxy_connect_timeout 5s;\n"
        "  }\n"
    )


def _index(domain: str, city: str, routes: Sequence[RouteTarget]) -> str:
    """The page at the city's own domain: one entry point for everything a citizen needs."""
    items = "".join(f"<li><a href=//{route.host}{route.path}>{html.escape(route.app)}</a>" for route in routes)
    page = f"<!doctype html><meta charset=utf-8><title>{city}</title><h1>{city}</h1><ul>{items}</ul>"
    parts = [page[start : start + _NGINX_TEXT] for start in range(0, len(page), _NGINX_TEXT)]
    answer = f"return 200 '{page}';"
    if len(parts) > 1:
        names = "".join(f"$index_{number}" for number in range(len(parts)))
        answer = "".join(f"set $index_{number} '{part}'; " for number, part in enumerate(parts))
        answer += f'return 200 "{names}";'
    return (
        f"server {{\n  listen 8080;\n  server_name {domain};\n  default_type text/html;\n"
        f"  location = / {{ {answer} }}\n}}\n"
    )


def _node_port(spec: Any) -> int:
    return int(spec["ports"][0].get("nodePort") or spec["ports"][0].get("node_port") or 0)


def _outputs(inputs: StackInputs, hosts: tuple[str, ...], node_port: Any) -> dict[str, Any]:
    simulated = inputs.cluster.simulated if inputs.cluster else False
    return {**to_json(EntryOutputs(inputs.city.domain, hosts, 0, simulated)), "node_port": node_port}
