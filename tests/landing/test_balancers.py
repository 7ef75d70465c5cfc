"""Load balancers of the entry points: which a landing zone makes, how they stand, how a Service is put behind one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.landing import support
from tests.landing.support import EXCHANGE, EXTRANET, INTERNET, VENDORS
from tests.landing.watched import watched
from wecityctl.errors import ConfigurationError
from wecityctl.model.balancers import Balancer, balancers_of
from wecityctl.model.city import Capability, City, Cloud, Existing, KubernetesSettings, Platform, ProviderKind
from wecityctl.model.vendors import vendors
from wecityctl.policy.landing import balanced_zone, public_parts
from wecityctl.resource_graph import RecordedResource, Recording

BOTH = (Balancer("internet", public=True), Balancer("extranet", public=False))
TOKENS = {
    "alicloud": "alicloud:slb/applicationLoadBalancer:ApplicationLoadBalancer",
    "tencentcloud": "tencentcloud:Clb/instance:Instance",
    "huaweicloud": "huaweicloud:DedicatedElb/loadbalancer:Loadbalancer",
    "openstack": "openstack:loadbalancer/loadBalancer:LoadBalancer",
}
# What the cloud itself gives, and where each vendor says it.
OUTPUTS: dict[str, dict[str, dict[str, Any]]] = {
    "alicloud": {TOKENS["alicloud"]: {"address": "198.51.100.7"}},
    "tencentcloud": {TOKENS["tencentcloud"]: {"clbVips": ["198.51.100.7"]}},
    "huaweicloud": {
        TOKENS["huaweicloud"]: {"ipv4Address": "198.51.100.7"},
        "huaweicloud:Vpc/eip:Eip": {"address": "198.51.100.7"},
    },
    "openstack": {
        TOKENS["openstack"]: {"vipAddress": "198.51.100.7", "vipPortId": "port-1"},
        "openstack:networking/floatingIp:FloatingIp": {"address": "198.51.100.7"},
    },
}
GATEWAY = Platform("application", (Capability("application", "gateway", "gateway", is_entry=True),))


def made(provider: str, balancers: tuple[Balancer, ...] = BOTH, **changes: Any) -> Recording:
    base = support.cloud(provider, INTERNET, EXTRANET, EXCHANGE, **changes)  # type: ignore[arg-type]
    return support.recorded(support.city(base), balancers=balancers)


def balancer(found: Recording, provider: str, zone: str) -> RecordedResource:
    return support.by_type(found, TOKENS[provider])[f"balancer-{zone}"]


@pytest.mark.parametrize("provider", VENDORS)
def test_the_internets_is_public_and_an_extranets_internal(provider: ProviderKind) -> None:
    found = made(provider)
    assert support.unknown_inputs(found) == []
    public = {item.name for item, _ in public_parts(found) if "balancer" in item.name}
    assert public
    assert not [name for name in public if "extranet" in name]
    assert {zone for item in found.resources if (zone := balanced_zone(item))} >= {"internet", "extranet"}
    outputs = support.outputs_of(found)
    assert outputs.balancers == {zone: f"balancer-{zone}-id" for zone in ("internet", "extranet")}
    assert outputs.public_zones == ("internet",)


@pytest.mark.parametrize("provider", VENDORS)
def test_addresses_are_outputs(provider: ProviderKind) -> None:
    city = support.city(support.cloud(provider, INTERNET, EXTRANET))
    answers: dict[str, dict[str, Any]] = {"openstack:networking/getNetwork:getNetwork": {"name": "public"}}
    seen = watched(city, outputs=OUTPUTS[provider], answers=answers, balancers=BOTH)
    assert support.outputs_of(seen.recording).addresses == dict.fromkeys(("internet", "extranet"), "198.51.100.7")


@pytest.mark.parametrize("provider", VENDORS)
def test_without_balancers_nothing_is_open(provider: ProviderKind) -> None:
    found = made(provider, ())
    assert found.resources
    assert not [item.name for item in found.resources if "balancer" in item.name]


def test_on_tencent_cloud_the_balancers_group_alone_lets_people_in() -> None:
    found = made("tencentcloud")
    inputs = balancer(found, "tencentcloud", "internet").inputs
    assert (inputs["networkType"], inputs["loadBalancerPassToTarget"]) == ("OPEN", True)
    assert inputs["securityGroups"] == ["group-balancer-internet-id"]
    inside = balancer(found, "tencentcloud", "extranet").inputs
    assert (inside["networkType"], inside["subnetId"]) == ("INTERNAL", "subnet-extranet-id")
    sets = support.by_type(found, "tencentcloud:Security/groupRuleSet:GroupRuleSet")
    open_to_all = {
        name
        for name, item in sets.items()
        if any(rule.get("cidrBlock") == "0.0.0.0/0" for rule in item.inputs.get("ingresses") or ())
    }
    assert open_to_all == {"rules-balancer-internet", "rules-balancer-extranet"}
    assert {rule["port"] for rule in sets["rules-balancer-internet"].inputs["ingresses"]} == {"80", "443"}


def test_on_huawei_cloud_the_nodes_let_in_the_balancers_subnet_alone() -> None:
    found = made("huaweicloud")
    inputs = balancer(found, "huaweicloud", "internet").inputs
    assert (inputs["ipv4EipId"], inputs["availabilityZones"]) == (
        "balancer-address-internet-id",
        ["region-1-a", "region-1-b"],
    )
    assert "ipv4EipId" not in balancer(found, "huaweicloud", "extranet").inputs
    rules = support.by_type(found, "huaweicloud:Vpc/secgroupRule:SecgroupRule")
    subnets = support.by_type(found, "huaweicloud:Vpc/subnet:Subnet")
    for zone in ("internet", "extranet"):
        rule = rules[f"nodes-ingress-balancer-{zone}"].inputs
        assert (rule["ports"], rule["remoteIpPrefix"]) == ("30000-32767", subnets[f"subnet-{zone}"].inputs["cidr"])


def test_on_alibaba_cloud_the_internal_one_is_in_its_zones_subnet() -> None:
    found = made("alicloud")
    public, inside = (balancer(found, "alicloud", zone).inputs for zone in ("internet", "extranet"))
    assert (public["addressType"], "vswitchId" in public) == ("internet", False)
    assert (inside["addressType"], inside["vswitchId"]) == ("intranet", "subnet-extranet-id")


def test_on_openstack_the_floating_address_is_ours() -> None:
    found = made("openstack")
    assert balancer(found, "openstack", "extranet").inputs["vipSubnetId"] == "subnet-extranet-id"
    floating = support.by_type(found, "openstack:networking/floatingIp:FloatingIp")
    assert set(floating) == {"balancer-internet"}


def test_on_openstack_an_address_outside_takes_a_way_out() -> None:
    closed = replace(INTERNET, egress=False)
    base = support.city(support.cloud("openstack", closed), zones=(closed, EXTRANET, EXCHANGE))
    with pytest.raises(ConfigurationError, match="takes a router to the outside in zone internet"):
        support.recorded(base, balancers=(Balancer("internet", public=True),))


def city(*clouds: Cloud) -> City:
    return support.city(*clouds, platforms=(GATEWAY,))


@pytest.mark.parametrize("provider", VENDORS)
def test_people_reach_the_internet_and_extranets_and_nothing_else(provider: ProviderKind) -> None:
    base = support.cloud(provider, INTERNET, EXTRANET, EXCHANGE)
    assert balancers_of(city(base), "main", "main") == BOTH
    assert balancers_of(city(replace(base, balancers=("exchange",))), "main", "main") == (Balancer("exchange", False),)
    assert balancers_of(city(replace(base, balancers=())), "main", "main") == ()
    # All entry points are on one cloud; clusters of others, and ingress controllers, have their own way in.
    assert balancers_of(city(base, replace(base, name="there")), "main", "there") == ()
    assert balancers_of(city(replace(base, existing=Existing("net-1", {}, "c-1"))), "main", "main") == ()
    served = replace(base, kubernetes=KubernetesSettings(ingress_class="nginx"))
    assert balancers_of(city(served), "main", "main") == ()
    assert balancers_of(support.city(base), "main", "main") == ()


def test_every_vendor_has_its_annotation() -> None:
    assert all(vendor.balancers.annotation for vendor in vendors().values())
    annotations = vendors()["alicloud"].balancers.annotations
    assert "intranet" in annotations(False).values() and "internet" in annotations(True).values()
