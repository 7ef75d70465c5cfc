"""The plan that all vendors share: ranges that hold still, rules, pools, names; what holds for every vendor."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from importlib import import_module
from ipaddress import IPv4Network
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stacks.base import landing
from tests.landing import support
from tests.landing.support import EXCHANGE, EXTRANET, INTERNET, VENDORS
from wecityctl.errors import ConfigurationError
from wecityctl.model.addresses import SHARES, NoSpaceError, pod_ranges, preferred_share, subnet_ranges, zone_ranges
from wecityctl.model.city import (
    Existing,
    Flow,
    Interconnect,
    Network,
    Pool,
    ProviderKind,
    Zone,
)
from wecityctl.policy.landing import is_public_endpoint, public_parts

SDKS = {
    "alicloud": "pulumi_alicloud",
    "huaweicloud": "pulumi_huaweicloud",
    "openstack": "pulumi_openstack",
    "tencentcloud": "tencentcloud_iac_pulumi",
}
ZONE_NAMES = st.from_regex(r"\A[a-z][a-z0-9-]{0,14}[a-z0-9]\Z")
NAMES = st.lists(ZONE_NAMES, min_size=1, max_size=12, unique=True)
NETWORKS = st.builds(
    lambda length, number: Network(str(IPv4Network((number >> (32 - length) << (32 - length), length)))),
    st.integers(8, 22),
    st.integers(0x0A000000, 0x0AFFFFFF),
)


@pytest.mark.slow
class TestRanges:
    @given(NETWORKS, NAMES)
    def test_are_disjoint_and_inside_the_network(self, network: Network, zones: list[str]) -> None:
        found = [IPv4Network(cidr) for quarter in range(4) for cidr in zone_ranges(network, zones, quarter).values()]
        assert len(found) == 4 * len(zones)
        assert all(cidr.subnet_of(IPv4Network(network.cidr)) for cidr in found)
        assert not any(one.overlaps(other) for one, other in combinations(found, 2))

    @given(NETWORKS, NAMES, ZONE_NAMES)
    def test_hold_still_when_a_zone_is_added_last(self, network: Network, zones: list[str], new: str) -> None:
        if new in zones:
            return
        before, after = zone_ranges(network, zones), zone_ranges(network, [*zones, new])
        assert {zone: after[zone] for zone in zones} == before

    @given(NETWORKS, NAMES, ZONE_NAMES, st.integers(0, 12))
    def test_hold_still_wherever_a_zone_is_added_that_wants_a_free_share(
        self, network: Network, zones: list[str], new: str, place: int
    ) -> None:
        before = zone_ranges(network, zones)
        alone = zone_ranges(network, [new])[new]
        if new in zones or alone in before.values():
            return
        after = zone_ranges(network, [*zones[:place], new, *zones[place:]])
        assert {zone: after[zone] for zone in zones} == before

    @given(NETWORKS, NAMES)
    def test_hold_still_when_the_order_changes_and_no_two_want_the_same(
        self, network: Network, zones: list[str]
    ) -> None:
        if len({preferred_share(zone) for zone in zones}) == len(zones):
            assert zone_ranges(network, zones) == zone_ranges(network, zones[::-1])

    def test_of_the_usual_zones_do_not_conflict(self) -> None:
        usual = ("internet", "extranet", "exchange")
        assert len({preferred_share(zone) for zone in usual}) == 3

    def test_that_the_file_pins_are_taken_as_they_are_and_kept_clear(self) -> None:
        free = zone_ranges(Network("10.8.0.0/16"), ["internet", "extranet"])
        pinned = Network("10.8.0.0/16", subnets={"extranet": free["internet"]})
        found = zone_ranges(pinned, ["internet", "extranet"])
        assert found["extranet"] == free["internet"]
        assert found["internet"] != free["internet"]

    def test_run_out_by_name(self) -> None:
        zones = [f"z{number}" for number in range(SHARES + 1)]
        with pytest.raises(NoSpaceError, match="no share left for zone z16"):
            zone_ranges(Network("10.8.0.0/16"), zones)
        with pytest.raises(NoSpaceError, match="too small"):
            zone_ranges(Network("10.8.0.0/23"), ["internet"])

    def test_of_a_further_availability_zone_leave_the_first_alone(self) -> None:
        one = support.cloud("alicloud", INTERNET, EXTRANET)
        one = replace(one, settings=replace(one.settings, availability_zones=("a",)))
        two = replace(one, settings=replace(one.settings, availability_zones=("a", "b")))
        assert set(subnet_ranges(one)) < set(subnet_ranges(two))

    def test_of_pods_are_quarters(self) -> None:
        assert pod_ranges(Network(pods="172.20.0.0/16"), 3) == ("172.20.0.0/18", "172.20.64.0/18", "172.20.128.0/18")


class TestRules:
    def test_are_the_declared_flows_and_the_way_out_only(self) -> None:
        city = support.city(support.cloud("alicloud", INTERNET, EXTRANET, EXCHANGE))
        names = [rule.name for rule in landing.plan_landing(city, "main").rules]
        assert names == [
            "exchange-from-internet-443",
            "internet-to-exchange-443",
            "extranet-from-exchange-443",
            "exchange-to-extranet-443",
            "extranet-from-exchange-8443",
            "exchange-to-extranet-8443",
            "internet-out",
        ]

    def test_are_made_once_where_two_flows_say_the_same(self) -> None:
        approved = ("data-bureau, " + 20 * "数据管理局", "police")
        twice = tuple(Flow("internet", "exchange", (443,), who, "test") for who in approved)
        city = support.city(support.cloud("alicloud", INTERNET, EXCHANGE), flows=twice)
        rules = landing.plan_landing(city, "main").rules
        assert [rule.name for rule in rules] == [
            "exchange-from-internet-443",
            "internet-to-exchange-443",
            "internet-out",
        ]
        assert "data-bureau" in rules[0].description and len(rules[0].description) == 100

    def test_name_the_ranges_of_a_zone_on_another_vendors_cloud(self) -> None:
        here = support.cloud("openstack", EXTRANET, pools=())
        there = support.cloud("alicloud", EXCHANGE, name="there", network=Network("10.9.0.0/16"), pools=())
        city = support.city(here, there)
        rules = landing.plan_landing(city, "main").rules
        ranges = {item.cidr for item in subnet_ranges(there)}
        assert {(rule.direction, rule.zone, rule.port) for rule in rules} == {
            ("ingress", "extranet", 443),
            ("ingress", "extranet", 8443),
        }
        assert {rule.cidr for rule in rules} == ranges
        assert len({rule.name for rule in rules}) == len(rules)

    def test_never_open_our_own_zones_because_ranges_overlap(self) -> None:
        here = support.cloud("openstack", EXTRANET, pools=())
        city = support.city(here, support.cloud("alicloud", EXCHANGE, name="there", pools=()))
        assert landing.plan_landing(city, "main").rules == ()

    def test_an_extranet_never_leaves_whatever_its_egress_says(self) -> None:
        bold = replace(EXTRANET, egress=True)
        city = support.city(support.cloud("alicloud", bold, pools=()), zones=(bold,), flows=())
        plan = landing.plan_landing(city, "main")
        assert plan.rules == () and plan.egress_subnets == ()

    def test_open_node_ports_to_what_crosses_clouds_by_a_declared_flow(self) -> None:
        flow = Flow("internet", "exchange", (6379,), "data-bureau", "test")
        here = support.cloud(
            "alicloud", INTERNET, interconnect=Interconnect("10.8.9.9", ("10.8.0.0/16", "172.20.0.0/16"))
        )
        there = support.cloud(
            "alicloud", EXCHANGE, name="there", interconnect=Interconnect("10.9.9.9", ("10.9.0.0/16",))
        )
        city = support.city(here, there, flows=(flow,))
        # An app's ports change no landing zone: those that there can be are let pass.
        reached = tuple(landing.interconnect_rules(city, there))
        assert [(rule.zone, rule.direction, rule.cidr, rule.ports) for rule in reached] == [
            ("exchange", "ingress", "10.8.0.0/16", (30000, 30085)),
            ("exchange", "ingress", "172.20.0.0/16", (30000, 30085)),
        ]
        reaching = landing.interconnect_rules(city, here)
        assert [(rule.zone, rule.direction, rule.cidr, rule.ports) for rule in reaching] == [
            ("internet", "egress", "10.9.9.9/32", (30000, 30085))
        ]
        planned = landing.plan_landing(city, "there").rules
        assert set(reached) <= set(planned) and len(planned) == len({rule.name for rule in planned})
        # Nothing in an extranet is offered to other clouds.
        inner = support.cloud("alicloud", EXTRANET, name="there", interconnect=there.interconnect)
        shut = support.city(here, inner, flows=(replace(flow, target="extranet"),))
        assert [*landing.interconnect_rules(shut, inner), *landing.interconnect_rules(shut, here)] == []

    @pytest.mark.parametrize("vendor", VENDORS)
    def test_write_the_ports_of_what_crosses_as_the_vendor_does(self, vendor: ProviderKind) -> None:
        flow = Flow("internet", "internet", (8080,), "data-bureau", "one entry point")
        clouds = [
            support.cloud(vendor, INTERNET, name=name, interconnect=Interconnect(f"10.{n}.9.9", (f"10.{n}.0.0/16",)))
            for n, name in ((8, "main"), (9, "there"))
        ]
        text = json.dumps([item.inputs for item in support.recorded(support.city(*clouds, flows=(flow,))).resources])
        assert "30000-30085" in text or "30000/30085" in text or ('"portRangeMin": 30000' in text and "30085" in text)


class TestPools:
    def test_carry_what_nodes_of_the_embedded_cloud_carry(self) -> None:
        pool = Pool("arm", "arm64", 1, "8", "16Gi", "100Gi", {"disk": "ssd"}, domestic=True)
        assert landing.node_labels(pool, ("internet",)) == {
            "disk": "ssd",
            "wecity.dev/pool": "arm",
            "wecity.dev/simulated": "false",
            "wecity.dev/zone": "internet",
            "wecity.dev/zone.internet": "true",
            "wecity.dev/domestic": "true",
        }
        assert "wecity.dev/zone" not in landing.node_labels(pool, ("internet", "extranet"))

    @pytest.mark.parametrize(
        ("zones", "homes"),
        [
            ((INTERNET, EXTRANET, EXCHANGE), ("extranet",)),
            ((INTERNET, EXCHANGE), ("exchange",)),
            ((INTERNET,), ("internet",)),
        ],
    )
    def test_live_in_the_strictest_of_their_zones(self, zones: tuple[Zone, ...], homes: tuple[str, ...]) -> None:
        assert landing.home_zones(zones) == homes


class TestNames:
    def test_stay_within_what_vendors_take(self) -> None:
        city = support.city(support.cloud("alicloud", INTERNET, name="c" * 40), name="n" * 40)
        plan = landing.plan_landing(city, "c" * 40)
        assert len(plan.bucket_name) <= 50 and len(plan.physical_name("x" * 60)) <= 63

    def test_buckets_of_two_cities_of_the_same_name_differ(self) -> None:
        one = support.city(support.cloud("alicloud", INTERNET))
        two = replace(one, domain="other.example")
        assert landing.plan_landing(one, "main").bucket_name != landing.plan_landing(two, "main").bucket_name


class TestKubeconfig:
    def test_is_what_kubectl_reads(self) -> None:
        found = json.loads(landing.kubeconfig_text("xc-main", "10.0.0.1:6443", "Q0E=", "Y2VydA==", "a2V5"))
        assert found["clusters"][0]["cluster"]["server"] == "https://10.0.0.1:6443"
        assert found["current-context"] == found["contexts"][0]["name"] == "xc-main"

    async def test_leaves_the_stack_as_a_secret(self) -> None:
        plan = landing.plan_landing(support.city(support.cloud("alicloud", INTERNET)), "main")
        ids = {subnet.name: f"{subnet.name}-id" for subnet in plan.subnets}
        found = landing.outputs(plan, kubeconfig="text", network="net", subnets=ids, cluster="c-1")
        assert await found["kubeconfig"].is_secret()
        assert found["subnets"] == {"internet": "internet-id"}

    def test_is_empty_while_a_part_is_missing(self) -> None:
        assert landing.kubeconfig_text("xc-main", "https://10.0.0.1", "Q0E=", None, "a2V5") == ""


@pytest.mark.parametrize("provider", VENDORS)
def test_a_missing_sdk_says_how_to_bring_it(provider: str, monkeypatch: pytest.MonkeyPatch) -> None:
    package = SDKS[provider]
    for name in [name for name in sys.modules if name == package or name.startswith(f"{package}.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, f"stacks.clouds.{provider}.landing", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigurationError) as caught:
        import_module(f"stacks.clouds.{provider}.landing")
    assert caught.value.resolution == f"pip install 'wecityctl[{provider}]'"


@pytest.mark.parametrize("provider", VENDORS)
@pytest.mark.parametrize("zones", [(INTERNET,), (INTERNET, EXCHANGE), (INTERNET, EXTRANET)])
def test_an_api_is_private_unless_the_file_says_who_may_reach_it(
    provider: ProviderKind, zones: tuple[Zone, ...]
) -> None:
    found = support.recorded(support.city(support.cloud(provider, *zones)))
    assert found.resources
    assert not [item.name for item, what in public_parts(found) if is_public_endpoint(what)]


ZONES = st.lists(
    st.sampled_from(
        [
            INTERNET,
            EXTRANET,
            EXCHANGE,
            Zone("inner", "internet"),
            Zone("bold", "government-extranet", egress=True),
            Zone("partner", "data-exchange", egress=True),
        ]
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda zone: zone.name,
)
WAYS_OUT = {"NatGateway", "EipAddress", "EipAssociation", "SnatEntry", "FloatingIp"}


@pytest.mark.slow
@pytest.mark.parametrize("provider", ["alicloud", "openstack"])
@settings(max_examples=12, deadline=None)
@given(zones=ZONES, wired=st.booleans())
def test_nothing_leads_outside_where_no_zone_may_leave(provider: str, zones: list[Zone], wired: bool) -> None:
    assert provider in VENDORS
    flows = tuple(
        Flow(one.name, other.name, (443,), "bureau", "test") for one, other in combinations(zones, 2) if wired
    )
    city = support.city(support.cloud(provider, *zones), zones=tuple(zones), flows=flows)  # type: ignore[arg-type]
    found = support.recorded(city)
    ways = {item.name for item in found.resources if item.type.rpartition(":")[2] in WAYS_OUT} | {
        item.name for item in found.resources if item.name.startswith("out")
    }
    assert bool(ways) == any(landing.may_leave(zone) for zone in zones)
    assert support.unknown_inputs(found) == []
    assert not [item for item in found.resources if "extranet" in item.name and item.name.startswith("out")]


GROUPS = {
    "alicloud": ("securityGroupId", "sourceSecurityGroupId"),
    "openstack": ("securityGroupId", "remoteGroupId"),
}


@pytest.mark.slow
@pytest.mark.parametrize("provider", ["alicloud", "openstack"])
@settings(max_examples=12, deadline=None)
@given(zones=ZONES, data=st.data())
def test_zones_are_joined_by_declared_flows_only(provider: str, zones: list[Zone], data: st.DataObject) -> None:
    pairs = [(one.name, other.name) for one in zones for other in zones if one != other]
    declared = data.draw(st.lists(st.sampled_from(pairs), unique=True) if pairs else st.just([]))
    flows = tuple(Flow(source, target, (443,), "bureau", "test") for source, target in declared)
    city = support.city(support.cloud(provider, *zones), zones=tuple(zones), flows=flows)  # type: ignore[arg-type]
    own, peer = GROUPS[provider]
    joined = {
        (item.inputs["direction" if provider == "openstack" else "type"], item.inputs[own], item.inputs[peer])
        for item in support.recorded(city).resources
        if peer in item.inputs and item.inputs[own] != item.inputs[peer]
    }
    assert joined == {("ingress", f"zone-{target}-id", f"zone-{source}-id") for source, target in declared} | {
        ("egress", f"zone-{source}-id", f"zone-{target}-id") for source, target in declared
    }


@pytest.mark.parametrize("provider", ["alicloud", "openstack"])
def test_what_exists_is_never_changed(provider: str) -> None:
    existing = Existing("net-1", {"internet": "sub-1"}, "cluster-1")
    base = support.cloud(provider, INTERNET, EXTRANET, existing=existing)  # type: ignore[arg-type]
    found = support.recorded(support.city(base))
    outputs = support.outputs_of(found)
    assert (outputs.network, outputs.cluster, outputs.subnets["internet"]) == ("net-1", "cluster-1", "sub-1")
    names = {item.name for item in found.resources}
    assert not names & {"network", "cluster", "subnet-internet", "nat", "out", "pods"}
    assert not [name for name in names if name.startswith("pool-")]


@pytest.mark.parametrize("provider", ["alicloud", "openstack"])
def test_a_cloud_without_pools_has_a_cluster_all_the_same(provider: str) -> None:
    found = support.recorded(support.city(support.cloud(provider, INTERNET, pools=())))  # type: ignore[arg-type]
    names = {item.name for item in found.resources}
    assert "cluster" in names and not [name for name in names if name.startswith("pool-")]


@pytest.mark.parametrize("provider", ["alicloud", "openstack"])
def test_what_holds_state_is_protected(provider: str) -> None:
    found = support.recorded(support.city(support.cloud(provider, INTERNET)))  # type: ignore[arg-type]
    kept = {item.name for item in found.resources if item.protect}
    assert {"network", "subnet-internet", "cluster", "bucket", "key"} <= kept


def test_the_check_of_inputs_finds_a_renamed_one_at_any_depth() -> None:
    found = support.recorded(support.city(support.cloud("alicloud", INTERNET)))
    pool = support.by_type(found, "alicloud:cs/nodePool:NodePool")["pool-general"]
    renamed = {**pool.inputs, "imageKind": "x", "dataDisks": [{"category": "cloud_essd", "gigabytes": 1}]}
    wrong = replace(found, resources=(replace(pool, inputs=renamed),))
    assert [item.rpartition(" ")[2] for item in support.unknown_inputs(wrong)] == ["dataDisks.gigabytes", "imageKind"]
