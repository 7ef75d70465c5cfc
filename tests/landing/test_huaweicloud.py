"""The landing zone on Huawei Cloud, as its own SDK would register it."""

from __future__ import annotations

import sys
from dataclasses import replace
from importlib import import_module
from typing import Any

import pytest

from stacks.clouds.huaweicloud import HuaweiCloudSettings
from tests.landing import support
from tests.landing.support import EXCHANGE, EXTRANET, GENERAL, INTERNET, KUNPENG
from tests.landing.watched import values_of, watched
from tests.support.some import some
from wecityctl.errors import ConfigurationError
from wecityctl.model.city import City, Existing, Zone
from wecityctl.resource_graph import Recording

SETTINGS = HuaweiCloudSettings(("region-1-a", "region-1-b"), key_pair="ops")
OUTSIDE = {"huaweicloud:Vpc/eip:Eip", "huaweicloud:Nat/gateway:Gateway", "huaweicloud:Nat/snatRule:SnatRule"}
NETWORK = "huaweicloud:Vpc/vpc:Vpc"
SUBNET = "huaweicloud:Vpc/subnet:Subnet"
GROUP = "huaweicloud:Vpc/secgroup:Secgroup"
RULE = "huaweicloud:Vpc/secgroupRule:SecgroupRule"
CLUSTER = "huaweicloud:Cce/cluster:Cluster"
POOL = "huaweicloud:Cce/nodePool:NodePool"
BUCKET = "huaweicloud:Obs/bucket:Bucket"
KEY = "huaweicloud:Dew/key:Key"
GET_CLUSTER = "huaweicloud:Cce/getCluster:getCluster"


def city(*zones: Zone, sm: bool = False, **changes: Any) -> City:
    wanted = {zone.name: zone for zone in (INTERNET, EXTRANET, EXCHANGE, *zones)}
    cloud = support.cloud("huaweicloud", *zones, **{"settings": SETTINGS, "region": "cn-south-1", **changes})
    return support.city(cloud, sm=sm, zones=tuple(wanted.values()))


@pytest.fixture(scope="module")
def three_zones() -> Recording:
    return support.recorded(city(INTERNET, EXTRANET, EXCHANGE))


def test_three_zones_in_two_availability_zones(three_zones: Recording) -> None:
    support.check_snapshot("huaweicloud", three_zones)


@pytest.mark.slow
def test_the_sdk_knows_every_input(three_zones: Recording) -> None:
    assert support.unknown_inputs(three_zones) == []
    assert support.unknown_inputs(support.recorded(city(EXTRANET, sm=True))) == []


@pytest.mark.parametrize(
    "quiet",
    [
        city(EXTRANET),
        city(replace(EXTRANET, egress=True)),
        city(EXCHANGE, EXTRANET),
        city(replace(INTERNET, egress=False), EXTRANET),
        city(INTERNET, existing=Existing(network="vpc-1")),
    ],
    ids=["extranet", "extranet that says egress", "exchange", "internet without egress", "somebody else's network"],
)
def test_no_zone_that_may_leave_no_way_out(quiet: City) -> None:
    assert support.tokens(support.recorded(quiet)).isdisjoint(OUTSIDE)


def test_only_subnets_of_a_zone_that_may_leave_are_translated(three_zones: Recording) -> None:
    ways = support.by_type(three_zones, "huaweicloud:Nat/snatRule:SnatRule")
    assert {item.inputs["subnetId"] for item in ways.values()} == {"subnet-internet-id"}


@pytest.mark.parametrize("zones", [(EXTRANET,), (INTERNET,), (INTERNET, EXTRANET, EXCHANGE)])
def test_the_api_server_is_never_on_the_internet(zones: tuple[Zone, ...]) -> None:
    (cluster,) = support.by_type(support.recorded(city(*zones)), CLUSTER).values()
    assert "eip" not in cluster.inputs


def test_the_kubeconfig_is_the_clusters() -> None:
    found = watched(city(EXTRANET), outputs={CLUSTER: {"kubeConfigRaw": "private"}}).recording
    assert support.outputs_of(found).kubeconfig == "private"


def test_groups_begin_closed_and_hold_the_declared_flows_only(three_zones: Recording) -> None:
    groups = support.by_type(three_zones, GROUP)
    assert all(item.inputs["deleteDefaultRules"] for item in some(groups.values()))
    zones = {f"group-{name}-id" for name in ("internet", "extranet", "exchange")}
    rules = support.by_type(three_zones, RULE)
    found = {name for name, item in rules.items() if item.inputs["securityGroupId"] in zones}
    assert found == {
        "flow-exchange-from-internet-443",
        "flow-internet-to-exchange-443",
        "flow-extranet-from-exchange-443",
        "flow-exchange-to-extranet-443",
        "flow-extranet-from-exchange-8443",
        "flow-exchange-to-extranet-8443",
        "flow-internet-out",
    }
    opened = {name for name, item in rules.items() if item.inputs.get("remoteIpPrefix") == "0.0.0.0/0"}
    assert opened == {"flow-internet-out"}


def test_no_rule_is_without_another_side(three_zones: Recording) -> None:
    """To this vendor a rule that names nobody is one for everybody."""
    for item in some(support.by_type(three_zones, RULE).values()):
        assert bool(item.inputs.get("remoteGroupId")) != bool(item.inputs.get("remoteIpPrefix")), item.name


def test_nodes_in_a_subnet_that_exists_reach_their_control_plane_there() -> None:
    there = city(EXTRANET, existing=Existing("vpc-1", {"extranet": "subnet-1"}))
    seen = watched(there, outputs={SUBNET: {"cidr": "192.168.7.0/24"}})
    rule = support.by_type(seen.recording, RULE)["nodes-egress-control-extranet"].inputs
    assert (rule["remoteIpPrefix"], rule["ports"]) == ("192.168.7.0/24", "5443-5444,8445,9443")


def test_what_holds_state_is_protected(three_zones: Recording) -> None:
    assert {item.type for item in three_zones.resources if item.protect} == {NETWORK, SUBNET, CLUSTER, BUCKET, KEY}


def test_where_sm_is_required_keys_are_sm4_and_sm2() -> None:
    found = support.recorded(city(EXTRANET, sm=True))
    algorithms = {name: item.inputs["keyAlgorithm"] for name, item in support.by_type(found, KEY).items()}
    assert algorithms == {"key": "SM4", "signing-key": "SM2"}
    assert not {text for text in values_of(found) if "AES" in text}
    assert support.by_type(found, BUCKET)["bucket"].inputs["kmsKeyId"] == "key-id"


def test_objects_and_disks_are_encrypted_with_the_key(three_zones: Recording) -> None:
    bucket = support.by_type(three_zones, BUCKET)["bucket"].inputs
    assert (bucket["encryption"], bucket["sseAlgorithm"], bucket["kmsKeyId"]) == (True, "kms", "key-id")
    assert (bucket["acl"], bucket["versioning"]) == ("private", True)
    for pool in support.by_type(three_zones, POOL).values():
        disks = [pool.inputs["rootVolume"], *pool.inputs["dataVolumes"]]
        assert {disk["kmsKeyId"] for disk in disks} == {"key-id"}


def test_what_exists_is_read_and_not_managed() -> None:
    existing = Existing("vpc-1", {"extranet": "subnet-1"}, "cce-1")
    answers = {GET_CLUSTER: {"kubeConfigRaw": "private"}}
    seen = watched(city(EXTRANET, EXCHANGE, existing=existing), answers=answers)
    assert seen.reads == {(NETWORK, "vpc-1"), (SUBNET, "subnet-1")}
    assert seen.calls[GET_CLUSTER] == {"id": "cce-1"}
    assert support.tokens(seen.recording).isdisjoint({NETWORK, CLUSTER, POOL})
    assert {item.inputs["vpcId"] for item in support.by_type(seen.recording, SUBNET).values()} == {"vpc-1"}
    found = support.outputs_of(seen.recording)
    assert (found.network, found.subnets["extranet"], found.cluster) == ("vpc-1", "subnet-1", "cce-1")
    assert found.kubeconfig == "private"


@pytest.mark.parametrize(
    ("pools", "kind"),
    [
        ((GENERAL, KUNPENG), "VirtualMachine"),
        ((KUNPENG,), "ARM64"),
        ((GENERAL,), "VirtualMachine"),
        ((), "VirtualMachine"),
    ],
)
def test_a_cluster_of_arm_pools_alone_is_an_arm_cluster(pools: tuple[Any, ...], kind: str) -> None:
    (cluster,) = support.by_type(support.recorded(city(EXTRANET, pools=pools)), CLUSTER).values()
    assert cluster.inputs["clusterType"] == kind


def test_pods_are_on_the_network_that_enforces_policies(three_zones: Recording) -> None:
    (cluster,) = support.by_type(three_zones, CLUSTER).values()
    assert cluster.inputs["containerNetworkType"] == "overlay_l2"


def test_more_instance_types_are_further_groups_of_the_pool(three_zones: Recording) -> None:
    pool = support.by_type(three_zones, POOL)["pool-kunpeng"].inputs
    assert pool["flavorId"] == "arm.large"
    assert pool["extensionScaleGroups"] == [{"metadata": {"name": "arm-huge"}, "spec": {"flavor": "arm.huge"}}]


def test_an_unknown_region_leaves_the_name_servers_to_the_vendor() -> None:
    (subnet,) = support.by_type(support.recorded(city(EXTRANET, region="cn-nowhere-1")), SUBNET).values()
    assert not {"primaryDns", "secondaryDns"} & set(subnet.inputs)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"region": ""}, "region"),
        ({"settings": replace(SETTINGS, key_pair="")}, "huaweicloud.keyPair"),
        ({"pools": (replace(GENERAL, instance_types=()),)}, "pool general names no instanceTypes"),
        ({"pools": (replace(KUNPENG, architecture="loong64"),)}, "no loong64 nodes"),
    ],
)
def test_what_the_vendor_demands_is_asked_for(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        support.recorded(city(EXTRANET, **changes))


def test_a_missing_sdk_is_told_with_the_way_to_bring_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pulumi_huaweicloud", None)
    monkeypatch.delitem(sys.modules, "stacks.clouds.huaweicloud.landing", raising=False)
    with pytest.raises(ConfigurationError) as caught:
        import_module("stacks.clouds.huaweicloud.landing")
    assert caught.value.resolution == "pip install 'wecityctl[huaweicloud]'"
