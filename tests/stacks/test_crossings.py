"""Apps and what they use on different clouds: what both sides register, in which order, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from stacks.catalogue import load_catalogue
from tests.stacks.cities import app, city, objects, one, record_city
from tests.support.some import some
from wecityctl.errors import ConfigurationError
from wecityctl.inputs import Cluster
from wecityctl.interconnects import STATIC_PORTS, find_interconnects
from wecityctl.model.city import Capability, City, Cloud, Flow, Interconnect, LocalSettings, Platform, Route, Use
from wecityctl.model.outputs import InterconnectOutputs, PlatformOutputs, TenantOutputs, outputs_from_json, to_json
from wecityctl.placement import InfeasiblePlacementError, Placement, place
from wecityctl.plan import make_plan
from wecityctl.resource_graph import SECRET, UNKNOWN, Recording

CATALOGUE = load_catalogue()
TO_DATABASE = Flow("internet", "ex", (5432, 6379), "data-bureau", "berth records")
TO_APPS = Flow("internet", "internet", (8080,), "data-bureau", "one entry point")
CLUSTERS = {
    "north": Cluster("north", "KUBECONFIG", "admin", "uid-n", address="198.18.0.2", sources=("198.18.2.0/23",)),
    "south": Cluster("south", "KUBECONFIG", "admin", "uid-s", address="198.18.8.2", sources=("198.18.10.0/23",)),
}
BINDING = Use("postgresql", "db")


def capability(name: str, cloud: str, zone: str = "") -> Capability:
    return Capability("application", name, name, cloud=cloud, zone=zone, is_entry=name == "gateway")


def two_clouds(*flows: Flow, **changes: Any) -> City:
    """The gateway and two apps on `north`; the databases and an app on `south`."""
    base = city(
        app("harbour", tenant="ports", cloud="north", uses=(BINDING, Use("cache", "store"))),
        app("quiet", tenant="ports", cloud="north"),
        app("tide", tenant="ports", cloud="south", uses=(BINDING,), zone="ex", route=None),
        app("locks", tenant="waterways", cloud="south"),
    )
    zones = ("internet", "extranet", "ex")
    return replace(
        base,
        clouds=(Cloud("north", "local", zones), Cloud("south", "local", zones)),
        platforms=(
            Platform(
                "application",
                (
                    capability("gateway", "north"),
                    capability("postgresql", "south", "ex"),
                    capability("cache", "south", "ex"),
                ),
            ),
        ),
        flows=flows or (TO_DATABASE, TO_APPS),
        **changes,
    )


def with_interconnect(whole: City, **interconnects: Interconnect) -> City:
    """The clouds as adopted clusters, with what they say of how they reach each other."""
    return replace(
        whole,
        clouds=tuple(
            replace(cloud, provider="kubernetes", interconnect=interconnects.get(cloud.name, Interconnect()))
            for cloud in whole.clouds
        ),
    )


@pytest.mark.parametrize("is_encrypted", [True, False])
def test_important_data_crosses_between_clouds_where_the_protocol_encrypts_it(is_encrypted: bool) -> None:
    """Where nobody has pinned both ends, placement itself keeps it from interconnect in plain text."""
    whole = two_clouds()
    harbour = replace(
        whole.apps[0], data_class="L3", uses=(BINDING,), cloud="", route=Route("harbour", tls=is_encrypted)
    )
    gateway, database, cache = whole.platforms[0].capabilities
    parts = (gateway, replace(database, tls=is_encrypted), cache)
    whole = replace(whole, apps=(harbour,), platforms=(Platform("application", parts),))
    if is_encrypted:
        found = find_interconnects(whole, CATALOGUE, place(whole, CATALOGUE))
        assert len(found.uses) + len(found.routes) == 1
        assert found.in_the_clear(whole, CATALOGUE) == ()
    else:
        with pytest.raises(InfeasiblePlacementError) as refused:
            place(whole, CATALOGUE)
        assert any("crosses only between clouds" in item.text for item in refused.value.conflict)


@pytest.fixture(scope="module")
def across() -> dict[str, Recording]:
    return record_city(two_clouds(), CLUSTERS)


def test_what_crosses_has_a_stack_between_the_platform_and_the_tenant() -> None:
    plan = make_plan(two_clouds(), CATALOGUE)
    names = [stack.name for stack in plan.stacks]
    interconnect = plan.stack("xc.crossing.ports.south")
    assert interconnect.depends_on == ("xc.secrets", "xc.base.south", "xc.platform.application.south")
    assert interconnect.name in plan.stack("xc.tenant.ports.north").depends_on
    assert interconnect.name not in plan.stack("xc.tenant.ports.south").depends_on
    assert names.index("xc.platform.application.south") < names.index(interconnect.name)
    assert names.index(interconnect.name) < names.index("xc.tenant.ports.north")
    assert set(interconnect.secrets) == {"binding/ports/harbour/db", "binding/ports/harbour/store"}
    assert not [name for name in names if name.startswith("xc.crossing.waterways")]


def test_two_clouds_whose_apps_use_each_other_do_not_wait_for_each_other() -> None:
    whole = two_clouds(TO_DATABASE, TO_APPS, Flow("ex", "internet", (6379,), "data-bureau", "tides"))
    platforms = (
        Platform(
            "application",
            (
                capability("gateway", "north"),
                capability("postgresql", "south", "ex"),
                capability("cache", "north", "internet"),
            ),
        ),
    )
    tide = replace(whole.apps[2], uses=(Use("cache", "store"),))
    harbour = replace(whole.apps[0], uses=(BINDING,))
    whole = replace(whole, platforms=platforms, apps=(harbour, whole.apps[1], tide, whole.apps[3]))
    before: set[str] = set()
    for stack in make_plan(whole, CATALOGUE).stacks:
        assert set(stack.depends_on) <= before, stack
        before.add(stack.name)
    assert {"xc.crossing.ports.south", "xc.crossing.ports.north"} <= before


def test_a_capability_is_offered_to_other_clouds_on_one_fixed_node_port(across: dict[str, Recording]) -> None:
    service = one(across, "Service", "platform-application-ex/postgresql-crossing").inputs["spec"]
    (port,) = service["ports"]
    assert service["type"] == "NodePort"
    # Without it the caller's address is lost, and with it what the policy goes by.
    assert service["externalTrafficPolicy"] == "Local"
    assert port["targetPort"] == 5432
    assert port["nodePort"] in STATIC_PORTS
    outputs = across["xc.platform.application.south"].outputs
    assert isinstance(outputs, PlatformOutputs)
    found = {item.capability: (item.external_host, item.external_port) for item in outputs.endpoints}
    assert found["postgresql"] == ("198.18.8.2", port["nodePort"])
    assert outputs_from_json("platform", json.loads(json.dumps(to_json(outputs)))) == outputs


def test_a_capability_that_nobody_uses_from_elsewhere_has_no_node_port(across: dict[str, Recording]) -> None:
    names = {item.name for item in objects(across, "Service") if item.inputs["spec"].get("type") == "NodePort"}
    assert names == {
        "platform-application/entry",
        "platform-application-ex/postgresql-crossing",
        "platform-application-ex/cache-crossing",
        "waterways-internet/locks-web-crossing",
    }


def test_exactly_the_callers_cloud_is_let_in_on_the_capabilitys_own_port(across: dict[str, Recording]) -> None:
    policy = one(across, "NetworkPolicy", "crossing-ports-harbour-db").inputs
    assert policy["metadata"]["namespace"] == "platform-application-ex"
    assert policy["spec"] == {
        "podSelector": {
            "matchLabels": {
                "app.kubernetes.io/name": "postgresql",
                "app.kubernetes.io/component": "postgresql",
                "app.kubernetes.io/part-of": "application",
            }
        },
        "policyTypes": ["Ingress"],
        "ingress": [{"from": [{"ipBlock": {"cidr": "198.18.2.0/23"}}], "ports": [{"protocol": "TCP", "port": 5432}]}],
    }


def test_the_app_is_let_out_to_exactly_that_address_and_port(across: dict[str, Recording]) -> None:
    port = one(across, "Service", "platform-application-ex/postgresql-crossing").inputs["spec"]["ports"][0]["nodePort"]
    policy = one(across, "NetworkPolicy", "ports-internet/harbour-to-db").inputs["spec"]
    assert policy["egress"] == [
        {"to": [{"ipBlock": {"cidr": "198.18.8.2/32"}}], "ports": [{"protocol": "TCP", "port": port}]}
    ]
    assert not [item for item in objects(across, "NetworkPolicy") if "quiet-to" in item.name]


def test_the_binding_has_the_address_and_the_databases_are_made_where_they_are(across: dict[str, Recording]) -> None:
    binding = one(across, "Secret", "ports-internet/harbour-binding-db").inputs["stringData"]
    assert binding == SECRET or binding["host"] == "198.18.8.2"
    jobs = {
        item.name: stack for stack, recording in across.items() for item in recording.resources if ":Job" in item.type
    }
    made = {name: stack for name, stack in jobs.items() if "harbour" in name}
    assert made == {
        "crossing-ports-harbour-db": "xc.crossing.ports.south",
        "crossing-ports-harbour-store": "xc.crossing.ports.south",
    }
    # An app on the capability's own cloud goes on as before, under another name: moving one disturbs nothing.
    assert jobs["provision-ports-tide-db"] == "xc.tenant.ports.south"
    outputs = across["xc.crossing.ports.south"].outputs
    assert outputs == InterconnectOutputs("ports", "south", ("harbour/db", "harbour/store"))


def test_no_policy_has_a_peer_that_only_a_later_run_would_know(across: dict[str, Recording]) -> None:
    """What is unknown in a run is left out, and a selector without labels selects everybody."""
    for item in some(objects(across, "NetworkPolicy")):
        assert UNKNOWN not in json.dumps(item.inputs), item.name


def test_no_administrators_secret_leaves_its_cloud(across: dict[str, Recording]) -> None:
    for stack in ("xc.tenant.ports.north", "xc.entry"):
        text = json.dumps([dict(item.inputs) for item in across[stack].resources])
        assert "postgresql-admin" not in text
        assert "cache-admin" not in text
    secrets = make_plan(two_clouds(), CATALOGUE).stack("xc.tenant.ports.north").secrets
    assert not [name for name in secrets if name.endswith("/admin")]


def test_the_gateway_leads_to_an_app_on_another_cloud(across: dict[str, Recording]) -> None:
    service = one(across, "Service", "waterways-internet/locks-web-crossing").inputs["spec"]
    port = service["ports"][0]["nodePort"]
    outputs = across["xc.tenant.waterways.south"].outputs
    assert isinstance(outputs, TenantOutputs)
    assert [(item.external_host, item.external_port) for item in outputs.routes] == [("198.18.8.2", port)]
    routes = one(across, "ConfigMap", "routes").inputs["data"]["routes.conf"]
    assert "server_name locks.xc.example;" in routes
    assert f":{port};" in routes
    assert " 198.18.8.2;" in routes
    leaves = one(across, "NetworkPolicy", "platform-application/gateway-to-waterways-locks").inputs["spec"]["egress"]
    assert leaves == [{"to": [{"ipBlock": {"cidr": "198.18.8.2/32"}}], "ports": [{"protocol": "TCP", "port": port}]}]
    arrives = one(across, "NetworkPolicy", "waterways-internet/locks-from-entry").inputs["spec"]["ingress"]
    assert arrives == [{"from": [{"ipBlock": {"cidr": "198.18.2.0/23"}}], "ports": [{"protocol": "TCP", "port": 8080}]}]


def test_a_flow_within_a_zone_opens_nothing_between_its_tenants(across: dict[str, Recording]) -> None:
    assert not [item for item in objects(across, "NetworkPolicy") if "flow-internet-internet" in item.name]


def test_a_flow_to_a_zone_that_the_cloud_does_not_serve_opens_nothing_there() -> None:
    whole = two_clouds()
    first = replace(whole.clouds[0], zones=("internet", "extranet"))
    recorded = record_city(replace(whole, clouds=(first, whole.clouds[1])), CLUSTERS)
    assert not [item for item in recorded["xc.tenant.ports.north"].resources if "flow-" in item.name]
    assert [item for item in recorded["xc.tenant.ports.south"].resources if "flow-internet-ex" in item.name]


def test_where_the_callers_addresses_are_not_known_nobody_is_let_in() -> None:
    """A rule without peers would let in everybody."""
    lost = {**CLUSTERS, "north": replace(CLUSTERS["north"], sources=())}
    recorded = record_city(two_clouds(), lost)
    policy = one(recorded, "NetworkPolicy", "crossing-ports-harbour-db").inputs["spec"]
    assert "ingress" not in policy
    assert policy["policyTypes"] == ["Ingress"]


def test_adopted_clusters_say_themselves_how_they_reach_each_other() -> None:
    whole = with_interconnect(
        two_clouds(),
        north=Interconnect("10.1.0.9", ("10.1.0.0/24", "10.1.4.0/24")),
        south=Interconnect("10.2.0.9", ("10.2.0.0/24",), {"postgresql": 31432}),
    )
    recorded = record_city(whole, {name: replace(item, address="", sources=()) for name, item in CLUSTERS.items()})
    arrives = one(recorded, "NetworkPolicy", "crossing-ports-harbour-db").inputs["spec"]["ingress"][0]["from"]
    assert arrives == [{"ipBlock": {"cidr": "10.1.0.0/24"}}, {"ipBlock": {"cidr": "10.1.4.0/24"}}]
    leaves = one(recorded, "NetworkPolicy", "ports-internet/harbour-to-db").inputs["spec"]["egress"][0]
    assert leaves == {"to": [{"ipBlock": {"cidr": "10.2.0.9/32"}}], "ports": [{"protocol": "TCP", "port": 31432}]}


def placed(whole: City, entry: str = "north") -> Placement:
    """Everything where it is pinned: what a placement that knows nothing of interconnects would say."""
    return Placement(
        {item.name: item.cloud for item in whole.capabilities},
        {(item.tenant, item.name): item.cloud for item in whole.apps},
        entry,
    )


def refused(whole: City) -> str:
    with pytest.raises(ConfigurationError) as caught:
        find_interconnects(whole, CATALOGUE, placed(whole))
    return caught.value.details


def test_without_a_flow_the_refusal_names_the_one_that_is_missing() -> None:
    told = refused(two_clouds(replace(TO_DATABASE, ports=(5432,))))
    assert "app ports/harbour on cloud north uses cache on cloud south" in told
    assert "{from: internet, to: ex, ports: [6379]}" in told
    assert "postgresql" not in told
    assert "app waterways/locks on cloud south is routed from the entry point on north" in told
    assert "{from: internet, to: internet, ports: [8080]}" in told


def test_a_government_extranet_offers_nothing_to_other_clouds_whatever_flows_say() -> None:
    flows = (Flow("internet", "extranet", (5432,), "x", "y"), Flow("internet", "extranet", (8080,), "x", "y"))
    whole = two_clouds(TO_DATABASE, TO_APPS, *flows)
    inner = (
        capability("gateway", "north"),
        capability("postgresql", "south", "extranet"),
        capability("cache", "south", "ex"),
    )
    whole = replace(whole, platforms=(Platform("application", inner),))
    assert "in the government extranet extranet nothing is offered" in refused(whole)
    shared = (*inner[:1], capability("postgresql", "south"), inner[2])
    whole = two_clouds(TO_DATABASE, TO_APPS, *flows, Flow("extranet", "extranet", (5432,), "x", "y"))
    inside = tuple(replace(item, zone="extranet") if item.uses else item for item in whole.apps)
    told = refused(replace(whole, platforms=(Platform("application", shared),), apps=inside))
    assert "in the government extranet extranet nothing is offered" in told, "a store without a zone is in its user's"
    hidden = replace(two_clouds(TO_DATABASE, TO_APPS, *flows).apps[3], zone="extranet")
    whole = two_clouds(TO_DATABASE, TO_APPS, *flows)
    assert "in the government extranet extranet nothing" in refused(replace(whole, apps=(*whole.apps[:3], hidden)))


def test_an_adopted_cluster_that_says_nothing_of_addresses_is_refused() -> None:
    told = refused(with_interconnect(two_clouds(), north=Interconnect(address="10.1.0.9")))
    assert "cloud south says nowhere how other clouds reach its node ports: set spec.interconnect.address" in told
    assert (
        "cloud north says nowhere from which addresses it reaches other clouds: set spec.interconnect.sources" in told
    )


def test_an_embedded_node_reaches_its_like_alone() -> None:
    whole = two_clouds()
    adopted = with_interconnect(whole, south=Interconnect("10.2.0.9", ("10.2.0.0/24",))).clouds[1]
    told = refused(replace(whole, clouds=(whole.clouds[0], adopted)))
    assert "no way leads from cloud north to south" in told
    first = replace(whole.clouds[0], local=LocalSettings("simulated"))
    rehearsed = replace(whole, clouds=(first, adopted))
    assert find_interconnects(rehearsed, CATALOGUE, placed(rehearsed)).uses


def test_an_ingress_class_leads_to_its_own_cluster_only() -> None:
    whole = two_clouds()
    first, second = whole.clouds
    ingress = replace(first, kubernetes=replace(first.kubernetes, ingress_class="nginx"))
    without = Platform("application", whole.platforms[0].capabilities[1:])
    told = refused(replace(whole, clouds=(ingress, second), platforms=(without,)))
    assert "waterways/locks" in told
    assert "a gateway is needed" in told


def test_what_does_not_run_or_has_no_route_needs_no_flow() -> None:
    whole = two_clouds(Flow("internet", "ex", (443,), "x", "y"))
    idle = tuple(replace(item, stage="draft") for item in whole.apps)
    assert list(find_interconnects(replace(whole, apps=idle), CATALOGUE, placed(whole))) == []


def test_node_ports_stay_when_others_come_and_are_never_given_twice() -> None:
    first = find_interconnects(two_clouds(), CATALOGUE, placed(two_clouds()))
    whole = two_clouds()
    more = tuple(replace(whole.apps[3], name=f"locks-{number}", route=Route(f"locks-{number}")) for number in range(40))
    wider = replace(whole, apps=(*whole.apps, *more))
    second = find_interconnects(wider, CATALOGUE, placed(wider))
    assert len(set(second.ports.values())) == len(second.ports) == len(first.ports) + 40
    assert set(second.ports.values()) <= set(STATIC_PORTS)
    assert second.links() == {("north", "south"): tuple(sorted(second.ports.values()))}


def test_more_than_the_api_server_keeps_free_is_refused() -> None:
    whole = two_clouds()
    more = tuple(replace(whole.apps[3], name=f"locks-{number}", route=Route(f"locks-{number}")) for number in range(90))
    wider = replace(whole, apps=(*whole.apps, *more))
    with pytest.raises(ConfigurationError, match="more than 86"):
        find_interconnects(wider, CATALOGUE, placed(wider))
