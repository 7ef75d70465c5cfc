"""The landing zone on Tencent Cloud, as its own SDK would register it."""

from __future__ import annotations

import sys
from dataclasses import replace
from importlib import import_module
from typing import Any

import pytest

from stacks.clouds.tencentcloud import TencentCloudSettings
from tests.landing import support
from tests.landing.support import EXCHANGE, EXTRANET, GENERAL, INTERNET, KUNPENG
from tests.landing.watched import values_of, watched
from wecityctl.errors import ConfigurationError
from wecityctl.model.city import City, Existing, Network, PublicApi, Zone
from wecityctl.resource_graph import Recording

OUTSIDE = {
    "tencentcloud:Eip/instance:Instance",
    "tencentcloud:Nat/gateway:Gateway",
    "tencentcloud:Route/table:Table",
    "tencentcloud:Route/tableEntry:TableEntry",
}
NETWORK = "tencentcloud:Vpc/instance:Instance"
SUBNET = "tencentcloud:Subnet/instance:Instance"
RULES = "tencentcloud:Security/groupRuleSet:GroupRuleSet"
CLUSTER = "tencentcloud:Kubernetes/cluster:Cluster"
POOL = "tencentcloud:Kubernetes/nodePool:NodePool"
ENDPOINT = "tencentcloud:Kubernetes/clusterEndpoint:ClusterEndpoint"
ENCRYPTION = "tencentcloud:Kubernetes/encryptionProtection:EncryptionProtection"
BUCKET = "tencentcloud:Cos/bucket:Bucket"
KEY = "tencentcloud:Kms/key:Key"
CLAIMING_EXTRANET = replace(EXTRANET, egress=True)


def city(*zones: Zone, sm: bool = False, **changes: Any) -> City:
    wanted = {zone.name: zone for zone in (INTERNET, EXTRANET, EXCHANGE, *zones)}
    return support.city(support.cloud("tencentcloud", *zones, **changes), sm=sm, zones=tuple(wanted.values()))


@pytest.fixture(scope="module")
def three_zones() -> Recording:
    return support.recorded(city(INTERNET, EXTRANET, EXCHANGE))


def test_three_zones_in_two_availability_zones(three_zones: Recording) -> None:
    support.check_snapshot("tencentcloud", three_zones)


def test_the_sdk_knows_every_input(three_zones: Recording) -> None:
    assert support.unknown_inputs(three_zones) == []
    assert support.unknown_inputs(support.recorded(city(EXTRANET, sm=True))) == []


@pytest.mark.parametrize(
    "quiet",
    [
        city(EXTRANET),
        city(CLAIMING_EXTRANET),
        city(EXCHANGE, EXTRANET),
        city(replace(INTERNET, egress=False), EXTRANET),
        city(INTERNET, existing=Existing(network="vpc-1")),
    ],
    ids=["extranet", "extranet that says egress", "exchange", "internet without egress", "somebody else's network"],
)
def test_no_zone_that_may_leave_no_way_out(quiet: City) -> None:
    found = support.recorded(quiet)
    assert support.tokens(found).isdisjoint(OUTSIDE)
    assert not any("routeTableId" in item.inputs for item in found.resources)


def test_only_subnets_of_a_zone_that_may_leave_are_routed_out(three_zones: Recording) -> None:
    routed = {name for name, item in support.by_type(three_zones, SUBNET).items() if "routeTableId" in item.inputs}
    assert routed == {"subnet-internet", "subnet-internet-region-1-b"}
    (way_out,) = support.by_type(three_zones, "tencentcloud:Route/tableEntry:TableEntry").values()
    assert way_out.inputs["nextHub"] == "egress-id"


def test_the_nat_gateway_has_the_address() -> None:
    outputs = {"tencentcloud:Eip/instance:Instance": {"publicIp": "198.51.100.7"}}
    found = watched(city(INTERNET), outputs=outputs).recording
    assert found.resources
    (gateway,) = support.by_type(found, "tencentcloud:Nat/gateway:Gateway").values()
    assert gateway.inputs["assignedEipSets"] == ["198.51.100.7"]


@pytest.mark.parametrize("zones", [(EXTRANET,), (INTERNET,), (INTERNET, EXTRANET, EXCHANGE)])
def test_the_api_server_and_the_nodes_are_never_on_the_internet(zones: tuple[Zone, ...]) -> None:
    found = support.recorded(city(*zones))
    (endpoint,) = support.by_type(found, ENDPOINT).values()
    assert (endpoint.inputs["clusterInternet"], endpoint.inputs["clusterIntranet"]) == (False, True)
    (cluster,) = support.by_type(found, CLUSTER).values()
    assert not [name for name in cluster.inputs if name.startswith("clusterInternet")]
    for pool in support.by_type(found, POOL).values():
        assert pool.inputs["autoScalingConfig"]["publicIpAssigned"] is False
        assert pool.inputs["autoScalingConfig"]["internetMaxBandwidthOut"] == 0


def test_an_api_on_the_internet_has_an_access_list() -> None:
    outputs = {ENDPOINT: {"kubeConfig": "public", "kubeConfigIntranet": "private"}}
    found = watched(city(INTERNET, public_api=PublicApi(("203.0.113.0/24",))), outputs=outputs).recording
    endpoint = support.by_type(found, ENDPOINT)["endpoint"]
    assert (endpoint.inputs["clusterInternet"], endpoint.inputs["clusterInternetSecurityGroup"]) == (
        True,
        "group-api-id",
    )
    rules = support.by_type(found, RULES)["rules-api"]
    assert [(rule["cidrBlock"], rule["port"]) for rule in rules.inputs["ingresses"]] == [("203.0.113.0/24", "443")]
    assert rules.urn in endpoint.depends_on
    assert support.unknown_inputs(found) == []
    assert support.outputs_of(found).kubeconfig == "public"


def test_the_kubeconfig_is_that_of_the_private_endpoint() -> None:
    outputs = {ENDPOINT: {"kubeConfig": "public", "kubeConfigIntranet": "private"}}
    found = watched(city(EXTRANET), outputs=outputs).recording
    assert support.outputs_of(found).kubeconfig == "private"


def test_a_zone_without_flows_lets_nothing_in_or_out() -> None:
    """The vendor takes no empty set of rules, and a group without rules is closed."""
    found = support.recorded(replace(city(EXTRANET), flows=()))
    assert "group-extranet" in support.by_type(found, "tencentcloud:Security/group:Group")
    assert set(support.by_type(found, RULES)) == {"rules-nodes"}


def test_a_rule_for_everything_leaves_it_to_the_vendor_how_that_is_written(three_zones: Recording) -> None:
    rules = support.by_type(three_zones, RULES)["rules-internet"].inputs["egresses"]
    (way_out,) = (rule for rule in rules if rule.get("cidrBlock") == "0.0.0.0/0")
    assert not {"protocol", "port"} & set(way_out)


def test_nodes_in_a_subnet_that_exists_reach_their_control_plane_there() -> None:
    there = city(EXTRANET, existing=Existing("vpc-1", {"extranet": "subnet-1"}))
    seen = watched(there, outputs={SUBNET: {"cidrBlock": "192.168.7.0/24"}})
    rules = support.by_type(seen.recording, RULES)["rules-nodes"].inputs
    assert "192.168.7.0/24" in {rule.get("cidrBlock") for rule in rules["egresses"]}


def test_nothing_but_a_declared_way_out_is_open_to_everybody(three_zones: Recording) -> None:
    opened = [
        (item.name, direction, rule["description"])
        for item in support.by_type(three_zones, RULES).values()
        for direction in ("ingresses", "egresses")
        for rule in item.inputs[direction]
        if rule.get("cidrBlock") == "0.0.0.0/0"
    ]
    assert opened == [("rules-internet", "egresses", "the way out of internet")]


def test_what_holds_state_is_protected(three_zones: Recording) -> None:
    protected = {item.type for item in three_zones.resources if item.protect}
    assert protected == {NETWORK, SUBNET, CLUSTER, BUCKET, KEY}


def test_where_sm_is_required_nothing_is_encrypted_with_aes() -> None:
    found = support.recorded(city(INTERNET, EXTRANET, sm=True))
    assert support.by_type(found, KEY)["key"].inputs["keyUsage"] == "ASYMMETRIC_SIGN_VERIFY_SM2"
    assert support.by_type(found, BUCKET)["bucket"].inputs["encryptionAlgorithm"] == "SM4"
    assert ENCRYPTION not in support.tokens(found)
    assert values_of(found).isdisjoint({"ENCRYPT_DECRYPT", "AES256", "KMS"})
    for pool in support.by_type(found, POOL).values():
        assert pool.inputs["autoScalingConfig"]["dataDisks"][0]["encrypt"] is False


def test_elsewhere_secrets_objects_and_disks_are_encrypted(three_zones: Recording) -> None:
    (encryption,) = support.by_type(three_zones, ENCRYPTION).values()
    assert encryption.inputs["kmsConfiguration"] == {"keyId": "key-id", "kmsRegion": "region-1"}
    for pool in support.by_type(three_zones, POOL).values():
        assert pool.inputs["autoScalingConfig"]["dataDisks"][0]["encrypt"] is True


def test_what_exists_is_read_and_not_managed() -> None:
    existing = Existing("vpc-1", {"extranet": "subnet-1"}, "cls-1")
    clusters = "tencentcloud:Kubernetes/getClusters:getClusters"
    answer = {"lists": [{"kubeConfig": "public", "kubeConfigIntranet": "private"}]}
    seen = watched(city(EXTRANET, EXCHANGE, existing=existing), answers={clusters: answer})
    assert seen.reads == {(NETWORK, "vpc-1"), (SUBNET, "subnet-1")}
    assert seen.calls[clusters] == {"clusterId": "cls-1"}
    assert support.tokens(seen.recording).isdisjoint({NETWORK, CLUSTER, POOL, ENDPOINT, ENCRYPTION})
    assert {item.inputs["vpcId"] for item in support.by_type(seen.recording, SUBNET).values()} == {"vpc-1"}
    found = support.outputs_of(seen.recording)
    assert (found.network, found.subnets["extranet"], found.cluster) == ("vpc-1", "subnet-1", "cls-1")
    assert found.kubeconfig == "private"


def test_pools_have_images_of_their_architecture(three_zones: Recording) -> None:
    pools = support.by_type(three_zones, POOL)
    assert pools["pool-general"].inputs["nodeOs"] != pools["pool-kunpeng"].inputs["nodeOs"]
    assert pools["pool-kunpeng"].inputs["autoScalingConfig"]["backupInstanceTypes"] == ["arm.huge"]


def test_a_cluster_without_pools_has_no_endpoint_yet() -> None:
    found = support.recorded(city(EXTRANET, pools=()))
    assert ENDPOINT not in support.tokens(found)
    assert support.outputs_of(found).kubeconfig == ""


def test_credentials_of_the_environment_stay_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the state they would be secrets too many, and another administrator's would be a change."""
    for name in ("SECRET_ID", "SECRET_KEY", "SECURITY_TOKEN", "REGION"):
        monkeypatch.setenv(f"TENCENTCLOUD_{name}", f"my-{name}")
    (provider,) = support.by_type(support.recorded(city(EXTRANET)), "pulumi:providers:tencentcloud").values()
    assert provider.inputs == {"region": "region-1"}


def test_names_keep_to_the_vendors_limits() -> None:
    long = replace(GENERAL, name="a-pool-with-a-name-of-forty-characters-x")
    found = support.recorded(replace(city(EXTRANET, pools=(long,)), name="a-city-of-24-characters-"))
    (pool,) = support.by_type(found, POOL).values()
    assert len(pool.inputs["name"]) <= 25
    (bucket,) = support.by_type(found, BUCKET).values()
    assert len(bucket.inputs["bucket"]) <= 60
    assert bucket.inputs["bucket"].endswith("-1250000000")


def test_the_pods_range_holds_the_services_that_it_is_told_of() -> None:
    small = Network("10.8.0.0/16", services="172.21.0.0/28")
    (cluster,) = support.by_type(support.recorded(city(EXTRANET, network=small)), CLUSTER).values()
    assert cluster.inputs["clusterMaxServiceNum"] == 32


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"region": ""}, "region"),
        ({"settings": TencentCloudSettings((), app_id="1")}, "tencentcloud.availabilityZones"),
        ({"settings": TencentCloudSettings(("a",))}, "tencentcloud.appId"),
        ({"pools": (replace(GENERAL, instance_types=()),)}, "pool general names no instanceTypes"),
        ({"pools": (replace(KUNPENG, architecture="loong64"),)}, "no loong64 nodes"),
    ],
)
def test_what_the_vendor_demands_is_asked_for(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        support.recorded(city(EXTRANET, **changes))


def test_a_missing_sdk_is_told_with_the_way_to_bring_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tencentcloud_iac_pulumi", None)
    monkeypatch.delitem(sys.modules, "stacks.clouds.tencentcloud.landing", raising=False)
    with pytest.raises(ConfigurationError) as caught:
        import_module("stacks.clouds.tencentcloud.landing")
    assert caught.value.resolution == "pip install 'wecityctl[tencentcloud]'"
