"""Routes and uses of apps that lead to a Service of the app's manifests: policies, addresses, certificates."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from stacks.catalogue import load_catalogue
from tests.spec.catalogue import CATALOGUE
from tests.stacks.cities import app, city, inputs_for, one, record_city
from tests.stacks.test_app_uses import CLUSTERS
from wecityctl.engine.secrets.certificate_names import wanted_names
from wecityctl.inputs import without_workloads
from wecityctl.model.city import App, AppUse, Cloud, Flow, Provided, Route
from wecityctl.model.outputs import RouteTarget, TenantOutputs, to_json
from wecityctl.model.registries import pod_template
from wecityctl.model.service_tls import app_certificate_key
from wecityctl.plan import make_plan
from wecityctl.policy.rules import rule
from wecityctl.spec import load_city

FILES = Path(__file__).parents[1] / "spec" / "valid" / "platform-with-manifests"
MANIFESTS = load_city(FILES, CATALOGUE).city.apps[0].manifests
OWN = {
    "app.kubernetes.io/name": "bus",
    "app.kubernetes.io/part-of": "transport",
    "app.kubernetes.io/component": "Manifest",
    "role": "queue",
}


def bus(**changes: Any) -> App:
    provides = (Provided("amqp", service="queue", port="amqp", to=("health/*",)),)
    route = Route("bus", service="queue", port="https")
    return app("bus", "transport", route=route, provides=provides, manifests=MANIFESTS, **changes)


def code() -> App:
    return app("code", app_uses=(AppUse("transport", "bus", "bus"),))


def outputs(recording: Any) -> TenantOutputs:
    found = recording.outputs
    assert isinstance(found, TenantOutputs)
    return found


def test_the_gateway_reaches_the_pods_behind_the_service_alone() -> None:
    recorded = record_city(city(bus()))
    (route,) = outputs(recorded["xc.tenant.transport.main"]).routes
    assert (route.service, route.port, route.pod_port, route.listens) == ("queue", 443, 8443, 8443)
    arrives = one(recorded, "NetworkPolicy", "transport-internet/bus-from-entry").inputs["spec"]
    assert arrives["podSelector"]["matchLabels"] == OWN
    assert [item["port"] for item in arrives["ingress"][0]["ports"]] == [8443]
    leaves = one(recorded, "NetworkPolicy", "platform-application/gateway-to-transport-bus").inputs["spec"]
    assert [item["port"] for item in leaves["egress"][0]["ports"]] == [8443]
    routes = one(recorded, "ConfigMap", "routes").inputs["data"]["routes.conf"]
    assert "set $upstream_0 queue.transport-internet.svc.cluster.local;" in routes
    assert "proxy_pass http://$upstream_0:443;" in routes


def test_outputs_of_routes_to_components_are_what_they_were() -> None:
    target = RouteTarget("health", "code", "code.xc.example", "/", "health-internet", "code-web", 8080)
    (found,) = to_json(TenantOutputs("health", "main", (), (target,)))["routes"]
    assert "pod_port" not in found


def test_a_use_leads_to_the_service() -> None:
    recorded = record_city(city(bus(), code()))
    host = "queue.transport-internet.svc.cluster.local"
    binding = one(recorded, "Secret", "health-internet/code-binding-bus").inputs["stringData"]
    assert (binding["host"], binding["port"], binding["uri"]) == (host, "5672", f"http://{host}:5672")
    leaves = one(recorded, "NetworkPolicy", "health-internet/code-to-bus").inputs["spec"]
    (target,) = leaves["egress"][0]["to"]
    assert target["podSelector"]["matchLabels"] == OWN
    arrives = one(recorded, "NetworkPolicy", "transport-internet/bus-provides-amqp").inputs["spec"]
    assert arrives["podSelector"]["matchLabels"] == OWN
    (provided,) = outputs(recorded["xc.tenant.transport.main"]).provided
    assert (provided.host, provided.port) == (host, 5672)


def test_the_certificate_is_of_the_service_and_pods_roll_with_it() -> None:
    secured = replace(bus(), route=Route("bus", service="queue", port="https", tls=True))
    whole = city(secured, code())
    plan = make_plan(whole, load_catalogue())
    names = wanted_names(plan, {})[app_certificate_key(secured)]
    assert names.hosts[0] == "queue.transport-internet.svc.cluster.local"
    recorded = record_city(whole)
    assert one(recorded, "Secret", "transport-internet/queue-tls")
    template = pod_template(one(recorded, "Deployment", "transport-internet/queue").inputs) or {}
    assert "wecity.dev/content" in template["metadata"]["annotations"]
    plain = pod_template(one(record_city(city(bus())), "Deployment", "transport-internet/queue").inputs) or {}
    assert "annotations" not in plain["metadata"]
    service = one(recorded, "Service", "transport-internet/queue").inputs["metadata"]
    assert "wecity.dev/certificate-ends" in service["annotations"]
    (route,) = outputs(recorded["xc.tenant.transport.main"]).routes
    assert route.tls


def test_across_clouds_there_is_a_node_port_for_each() -> None:
    clouds = tuple(Cloud(name, "local", ("internet",)) for name in ("north", "south"))
    flows = (Flow("internet", "internet", (5672, 8443), "bureau", "trial"),)
    far = replace(bus(), cloud="south")
    near = replace(code(), cloud="north")
    gateway = city(far, near).platforms[0]
    pinned = replace(gateway, capabilities=tuple(replace(item, cloud="north") for item in gateway.capabilities))
    recorded = record_city(city(far, near, clouds=clouds, flows=flows, platforms=(pinned,)), CLUSTERS)
    for name, port, pods in (("queue-crossing", 443, 8443), ("queue-amqp-crossing", 5672, 5672)):
        spec = one(recorded, "Service", f"transport-internet/{name}").inputs["spec"]
        assert spec["selector"] == OWN
        (found,) = spec["ports"]
        assert (found["port"], found["targetPort"]) == (port, pods)
        assert found["nodePort"]
    arrives = one(recorded, "NetworkPolicy", "transport-internet/bus-provides-amqp").inputs["spec"]
    assert "ipBlock" in arrives["ingress"][0]["from"][0]


def test_a_suspended_app_keeps_its_address() -> None:
    (route,) = outputs(record_city(city(bus(stage="suspended")))["xc.tenant.transport.main"]).routes
    assert route.is_suspended


def test_a_deployer_may_write_the_policies_of_both_sides() -> None:
    """Admission is of the base, which sees of manifests only what tells the port of the pods."""
    provider = replace(bus(), provides=(Provided("web", service="queue", port="https", to=("health/*",)),))
    whole = city(provider, code())
    whole = replace(whole, tenants=tuple(replace(item, deployers=("ci@xc.example",)) for item in whole.tenants))
    seen = without_workloads(inputs_for(make_plan(whole, load_catalogue()), "xc.base.main", {})).city
    provided = next(item for item in seen.apps if item.name == "bus")
    assert {item.kind for item in provided.manifests} == {"Service", "Deployment"}
    assert "image" not in str(provided.manifests)
    text = str(list(rule("network-fences").admission(seen, {})))
    assert "transport-internet/transport/bus health-internet/health/code 8443" in text
    assert "health-internet/health/code transport-internet/transport/bus 8443" in text
