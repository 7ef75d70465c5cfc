"""Routes at which people sign in, in recorded stacks: who has the clients' secrets, what waits for what, and who may
connect to whom."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest

from stacks.entry.sign_in import clients_of
from stacks.platforms.application.gateway.routes import render_routes
from stacks.platforms.sign_in_interface import CLAIM_HEADERS
from tests.stacks.cities import app, application, city, objects, one, record_city
from wecityctl.model.city import Capability, Entry, Route
from wecityctl.model.outputs import RouteTarget, TenantOutputs, outputs_from_json, to_json
from wecityctl.resource_graph import Recording

HOME = "platform-application"
SERVICES = application(*(Capability("application", name, name) for name in ("identity", "sign-in")))
ASKING = city(
    app("code", route=Route("code", sign_in="required")),
    app("maps", route=Route("maps", sign_in="optional")),
    app("open", route=Route("open")),
    platforms=(SERVICES,),
    entry=Entry(port=8443),
)


@pytest.fixture(scope="module")
def recorded() -> Mapping[str, Recording]:
    return record_city(ASKING)


def test_routes_say_who_signs_in(recorded: Mapping[str, Recording]) -> None:
    outputs = recorded["xc.tenant.health.main"].outputs
    assert isinstance(outputs, TenantOutputs)
    assert {route.app: route.sign_in for route in outputs.routes} == {
        "code": "required",
        "maps": "optional",
        "open": "",
    }
    # Outputs without it stay as they were.
    told = to_json(outputs)
    assert ["sign_in" in route for route in told["routes"]] == [True, True, False]
    assert outputs_from_json("tenant", told) == outputs


def test_clients_return_to_the_port_that_people_use_and_share_no_secret() -> None:
    routes = [RouteTarget("health", name, f"{name}.xc.example", "/", "x", name, 1, sign_in="required") for name in "ab"]
    found = clients_of(routes, ":8443", "root")
    assert [client.origin for client in found] == ["https://a.xc.example:8443", "https://b.xc.example:8443"]
    assert len({value for client in found for value in (client.secret, client.cookies)}) == 4
    assert found != clients_of(routes, ":8443", "another")


def test_no_app_has_a_secret_of_the_sign_in(recorded: Mapping[str, Recording]) -> None:
    for name in ("sign-in-clients", "identity-sign-in-clients"):
        assert one(recorded, "Secret", f"{HOME}/{name}").inputs["stringData"] == "[secret]"
    for item in objects(recorded):
        if str(item.inputs["metadata"].get("namespace", "")).startswith("health-"):
            assert "sign-in" not in json.dumps(item.inputs, default=str), item.name


def test_the_gateway_gets_its_routes_after_the_clients(recorded: Mapping[str, Recording]) -> None:
    (job,) = [item for item in objects(recorded, "Job") if item.name == f"{HOME}/sign-in-clients-job"]
    (routes,) = [item for item in objects(recorded, "ConfigMap") if item.name == "routes"]
    assert job.urn in routes.depends_on
    secrets = {
        one(recorded, "Secret", f"{HOME}/{name}").urn for name in ("sign-in-clients", "identity-sign-in-clients")
    }
    assert secrets <= set(job.depends_on)
    (container,) = job.inputs["spec"]["template"]["spec"]["containers"]
    # Nothing that is secret is in the manifest.
    assert {item["name"] for item in container["env"] if "value" in item} == {"HOST", "PORT", "AUTHORITY"}


def test_each_connects_to_whom_it_has_to_and_to_nobody_else(recorded: Mapping[str, Recording]) -> None:
    asked = one(recorded, "NetworkPolicy", f"{HOME}/sign-in-asked").inputs["spec"]
    peers = [rule["from"][0]["podSelector"]["matchLabels"] for rule in asked["ingress"]]
    names = [peer.get("app.kubernetes.io/name", peer.get("wecity.dev/provisions")) for peer in peers]
    assert names == ["gateway", "identity", "identity"]
    assert {port["port"] for rule in asked["ingress"] for port in rule["ports"]} == {8443}
    leaves = [
        item
        for item in objects(recorded, "NetworkPolicy")
        if item.inputs["spec"]["podSelector"].get("matchLabels", {}).get("app.kubernetes.io/name") == "sign-in"
        and "Egress" in item.inputs["spec"]["policyTypes"]
    ]
    assert [item.name for item in leaves] == [f"{HOME}/sign-in-to-users"]


def test_a_city_without_sign_in_has_nothing_of_it() -> None:
    plain = record_city(city(app("code")))
    assert not [item for item in objects(plain) if "sign-in" in item.name]
    assert "sign-in" not in json.dumps([item.inputs for item in objects(plain, "ConfigMap") if item.name == "routes"])


def test_a_route_that_asks_is_closed_where_nobody_answers() -> None:
    """The way to ask is not there, which nginx answers by an error and never by the app."""
    route = RouteTarget("health", "code", "code.xc.example", "/", "health-internet", "code", 80, sign_in="required")
    text = render_routes("xc.example", "xc", [route], tls=True)
    assert "auth_request /-/sign-in/code/asked;" in text
    assert "location = /-/sign-in/code/asked" not in text
    assert "auth_request" not in render_routes("xc.example", "xc", [replace(route, sign_in="")], tls=True)


def test_every_claim_is_set_for_every_route(recorded: Mapping[str, Recording]) -> None:
    conf = one(recorded, "ConfigMap", f"{HOME}/gateway-configuration").inputs["data"]["nginx.conf"]
    for name in CLAIM_HEADERS:
        assert conf.count(f"proxy_set_header {name} ") == 1
    # A location with a header of its own inherits none: none of an app's has one.
    (routes,) = [item for item in objects(recorded, "ConfigMap") if item.name == "routes"]
    for block in routes.inputs["data"]["routes.conf"].split("  location ")[1:]:
        # Nor does the length of a body get to the service, to which the body does not.
        if "proxy_pass_request_body off" in block:
            assert "proxy_set_header Content-Length '';" in block
        assert "proxy_set_header" not in block or block.startswith(("= /-/sign-in/", "^~ /auth/")), block
