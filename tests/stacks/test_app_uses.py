"""What uses of apps become: bindings, network policies on both sides and outputs, on one cloud and across clouds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from stacks.catalogue import load_catalogue
from tests.stacks.cities import WEB, app, city, objects, one, record_city
from wecityctl.errors import ConfigurationError
from wecityctl.inputs import Cluster
from wecityctl.interconnects import find_interconnects
from wecityctl.model.city import App, AppUse, City, Cloud, Component, Flow, Provided, Route, Use
from wecityctl.model.outputs import ProvidedAddress, TenantOutputs, UsedAddress, outputs_from_json, to_json
from wecityctl.model.provided import entries_of, uses_of
from wecityctl.placement import Placement
from wecityctl.plan import make_plan
from wecityctl.resource_graph import SECRET

API = Component("api", "catalogue:sample-app", ports={"http": 8080, "grpc": 9090})
CLUSTERS = {
    "north": Cluster("north", "KUBECONFIG", "admin", "uid-n", address="198.18.0.2", sources=("198.18.2.0/23",)),
    "south": Cluster("south", "KUBECONFIG", "admin", "uid-s", address="198.18.8.2", sources=("198.18.10.0/23",)),
}


def timetable(**changes: Any) -> App:
    provides = (Provided("api", port="http", to=("health/*",)), Provided("stream", port="grpc", to=("health/code",)))
    return app("timetable", "transport", components=(API,), route=None, provides=provides, **changes)


def code(**changes: Any) -> App:
    env = {"URL": "${timetable.uri}/next", "HOST": "${stream.host}"}
    uses = (AppUse("transport", "timetable", "timetable", "api"), AppUse("transport", "timetable", "stream", "stream"))
    return app("code", components=(replace(WEB, env=env),), app_uses=uses, **changes)


def labels(name: str, tenant: str, component: str = "") -> dict[str, str]:
    found = {"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": tenant}
    return {**found, **({"app.kubernetes.io/component": component} if component else {})}


def peer(namespace: str, pods: dict[str, str]) -> dict[str, Any]:
    named = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    return {"namespaceSelector": named, "podSelector": {"matchLabels": pods}}


def test_a_use_is_one_flow_that_both_sides_open() -> None:
    recorded = record_city(city(timetable(), code(), app("pass")))
    ports = [{"protocol": "TCP", "port": 8080}]
    leaves = one(recorded, "NetworkPolicy", "health-internet/code-to-timetable").inputs["spec"]
    assert leaves["podSelector"]["matchLabels"] == labels("code", "health")
    target = peer("transport-internet", labels("timetable", "transport", "api"))
    assert leaves["egress"] == [{"to": [target], "ports": ports}]
    arrives = one(recorded, "NetworkPolicy", "transport-internet/timetable-provides-api").inputs["spec"]
    assert arrives["podSelector"]["matchLabels"] == labels("timetable", "transport", "api")
    assert arrives["ingress"] == [{"from": [peer("health-internet", labels("code", "health"))], "ports": ports}]
    assert arrives["policyTypes"] == ["Ingress"]


def test_each_side_belongs_to_the_stack_of_its_tenant() -> None:
    recorded = record_city(city(timetable(), code()))
    places = {
        item.name: stack
        for stack, recording in recorded.items()
        for item in recording.resources
        if "timetable" in item.name and item.type.endswith(":NetworkPolicy")
    }
    assert places == {
        "health-internet/code-to-timetable": "xc.tenant.health.main",
        "transport-internet/timetable-provides-api": "xc.tenant.transport.main",
        "transport-internet/timetable-provides-stream": "xc.tenant.transport.main",
    }


def test_apps_that_use_each_other_do_not_wait_for_each_other() -> None:
    back = replace(timetable(), app_uses=(AppUse("health", "code", "code"),))
    plan = make_plan(city(back, replace(code(), provides=(Provided("web", to=("transport/*",)),))), load_catalogue())
    for tenant, other in (("health", "transport"), ("transport", "health")):
        assert f"xc.tenant.{other}.main" not in plan.stack(f"xc.tenant.{tenant}.main").depends_on


def test_what_nobody_uses_is_open_to_nobody() -> None:
    recorded = record_city(city(timetable()))
    assert not [item.name for item in objects(recorded, "NetworkPolicy") if "provides" in item.name]


def test_the_binding_has_the_address() -> None:
    recorded = record_city(city(timetable(), code()))
    secret = one(recorded, "Secret", "health-internet/code-binding-timetable").inputs
    host = "timetable-api.transport-internet.svc.cluster.local"
    assert secret["type"] == "servicebinding.io/app"
    assert secret["stringData"] == {
        "type": "app",
        "provider": "wecity",
        "host": host,
        "port": "8080",
        "uri": f"http://{host}:8080",
    }
    (runner,) = one(recorded, "Deployment", "health-internet/code-web").inputs["spec"]["template"]["spec"]["containers"]
    variables = {item["name"]: item for item in runner["env"]}
    assert variables["SERVICE_BINDING_ROOT"]["value"] == "/bindings"
    assert variables["BINDING_TIMETABLE_URI"]["valueFrom"]["secretKeyRef"]["name"] == "code-binding-timetable"
    assert {item["mountPath"] for item in runner["volumeMounts"]} >= {"/bindings/timetable", "/bindings/stream"}


def test_an_app_that_serves_tls_is_used_by_tls() -> None:
    provider = app("pass", "transport", route=Route("pass", tls=True), provides=(Provided("web", to=("health/code",)),))
    user = app("code", app_uses=(AppUse("transport", "pass", "pass"),))
    whole = city(provider, user)
    assert "service/authority" in make_plan(whole, load_catalogue()).stack("xc.tenant.health.main").secrets
    ((_, target),) = uses_of(whole, user)
    assert target.uri(target.host, target.port) == "https://pass-web.transport-internet.svc.cluster.local:8080"
    assert "ca.crt" in entries_of(target)
    # While the other app is suspended, the binding stays as it is.
    ((_, suspended),) = uses_of(city(replace(provider, stage="suspended"), user), user)
    assert suspended.is_tls
    # It has the authority's certificate, which comes from the secret store.
    assert one(record_city(whole), "Secret", "health-internet/code-binding-pass").inputs["stringData"] == SECRET


def test_within_a_namespace_a_use_names_no_other_namespace() -> None:
    """So that a tenant's deployer may write its policies."""
    user = app("fares", "transport", app_uses=(AppUse("transport", "timetable", "timetable", "api"),))
    recorded = record_city(city(timetable(), user))
    (rule,) = one(recorded, "NetworkPolicy", "transport-internet/fares-to-timetable").inputs["spec"]["egress"]
    assert rule["to"] == [{"podSelector": {"matchLabels": labels("timetable", "transport", "api")}}]
    (rule,) = one(recorded, "NetworkPolicy", "transport-internet/timetable-provides-api").inputs["spec"]["ingress"]
    assert rule["from"] == [{"podSelector": {"matchLabels": labels("fares", "transport")}}]


def test_the_outputs_tell_the_addresses() -> None:
    user = code(uses=(Use("postgresql", "db"),))
    recorded = record_city(city(timetable(), user))
    host = "timetable-api.transport-internet.svc.cluster.local"
    outputs = recorded["xc.tenant.transport.main"].outputs
    assert isinstance(outputs, TenantOutputs)
    assert outputs.provided == (
        ProvidedAddress("timetable", "api", host, 8080),
        ProvidedAddress("timetable", "stream", host, 9090),
    )
    assert outputs_from_json("tenant", to_json(outputs)) == outputs
    outputs = recorded["xc.tenant.health.main"].outputs
    assert isinstance(outputs, TenantOutputs)
    assert outputs.used == (
        UsedAddress("code", "db", "postgresql", "postgresql.platform-application.svc.cluster.local", 5432),
        UsedAddress("code", "timetable", "transport/timetable/api", host, 8080),
        UsedAddress("code", "stream", "transport/timetable/stream", host, 9090),
    )


def test_a_draft_uses_nothing() -> None:
    recorded = record_city(city(timetable(), code(stage="draft")))
    assert not [item.name for item in objects(recorded, "NetworkPolicy") if "provides" in item.name]


def two_clouds(*flows: Flow) -> City:
    whole = city(timetable(cloud="south"), code(cloud="north", data_class="L1"), platforms=())
    clouds = (Cloud("north", "local", ("internet",)), Cloud("south", "local", ("internet",)))
    return replace(whole, zones=whole.zones[:1], clouds=clouds, flows=flows)


CALLS = Flow("internet", "internet", (8080, 9090), "data-bureau", "timetables")


def test_across_clouds_a_use_goes_by_a_node_port() -> None:
    recorded = record_city(two_clouds(CALLS), CLUSTERS)
    values = one(recorded, "Secret", "health-internet/code-binding-timetable").inputs["stringData"]
    port = int(values["port"])
    assert (values["host"], values["uri"]) == ("198.18.8.2", f"http://198.18.8.2:{port}")
    service = one(recorded, "Service", "transport-internet/timetable-api-api-crossing").inputs["spec"]
    (found,) = service["ports"]
    assert (found["nodePort"], found["targetPort"]) == (port, "http")
    (leaves,) = one(recorded, "NetworkPolicy", "health-internet/code-to-timetable").inputs["spec"]["egress"]
    assert leaves == {"to": [{"ipBlock": {"cidr": "198.18.8.2/32"}}], "ports": [{"protocol": "TCP", "port": port}]}
    outputs = recorded["xc.tenant.transport.south"].outputs
    assert isinstance(outputs, TenantOutputs)
    assert (outputs.provided[0].external_host, outputs.provided[0].external_port) == ("198.18.8.2", port)
    arrives = one(recorded, "NetworkPolicy", "transport-internet/timetable-provides-api").inputs["spec"]["ingress"]
    assert arrives == [{"from": [{"ipBlock": {"cidr": "198.18.2.0/23"}}], "ports": [{"protocol": "TCP", "port": 8080}]}]


def test_without_a_flow_nothing_crosses_clouds() -> None:
    placement = Placement({}, {("transport", "timetable"): "south", ("health", "code"): "north"}, "north")
    with pytest.raises(ConfigurationError) as refused:
        find_interconnects(two_clouds(), load_catalogue(), placement)
    who = "app health/code on cloud north uses app transport/timetable on cloud south"
    wanted = "{from: internet, to: internet, ports: [8080]}"
    assert f"{who}: no declared flow lets it; it would be {wanted} in the City" in refused.value.details
