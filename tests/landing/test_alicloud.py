"""The landing zone on Alibaba Cloud, as its own SDK would register it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from tests.landing import support
from tests.landing.support import EXCHANGE, EXTRANET, INTERNET
from tests.landing.watched import watched
from tests.support.some import some
from wecityctl.resource_graph import Recording

KUBERNETES = "alicloud:cs/managedKubernetes:ManagedKubernetes"
KEY_PAIRS = [
    ("alicloud", "alicloud:cs/nodePool:NodePool", ("keyName",)),
    ("tencentcloud", "tencentcloud:Kubernetes/nodePool:NodePool", ("autoScalingConfig", "keyIds")),
    ("huaweicloud", "huaweicloud:Cce/nodePool:NodePool", ("keyPair",)),
]
PRIVATE = "https://10.8.0.7:6443"


def test_three_zones_in_two_availability_zones() -> None:
    found = support.recorded(support.city(support.cloud("alicloud", INTERNET, EXTRANET, EXCHANGE)))
    assert support.unknown_inputs(found) == []
    support.check_snapshot("alicloud", found)


def test_an_extranet_alone_has_no_way_out_and_no_public_address() -> None:
    found = support.recorded(support.city(support.cloud("alicloud", EXTRANET)))
    cluster = support.by_type(found, KUBERNETES)["cluster"].inputs
    assert cluster["newNatGateway"] is False and cluster["slbInternetEnabled"] is False
    outside = {"alicloud:vpc/natGateway:NatGateway", "alicloud:ecs/eipAddress:EipAddress"}
    assert not support.tokens(found) & outside
    rules = support.by_type(found, "alicloud:ecs/securityGroupRule:SecurityGroupRule").values()
    assert not [
        rule for rule in rules if rule.inputs.get("cidrIp") == "0.0.0.0/0" and rule.inputs["policy"] == "accept"
    ]


def test_an_internet_zone_alone_has_pods_that_leave() -> None:
    found = support.recorded(support.city(support.cloud("alicloud", INTERNET)))
    # Still never the vendor's own NAT gateway, through which every subnet would leave.
    assert support.by_type(found, KUBERNETES)["cluster"].inputs["newNatGateway"] is False
    assert set(support.by_type(found, "alicloud:vpc/snatEntry:SnatEntry")) == {
        "out-subnet-internet",
        "out-subnet-internet-region-1-b",
        "out-pods-region-1-a",
        "out-pods-region-1-b",
    }


def test_nodes_come_after_the_ways_out_and_are_of_their_pools_architecture() -> None:
    found = support.recorded(support.city(support.cloud("alicloud", INTERNET)))
    pools = support.by_type(found, "alicloud:cs/nodePool:NodePool")
    ways = {item.urn for item in support.by_type(found, "alicloud:vpc/snatEntry:SnatEntry").values()}
    assert ways
    assert all(ways <= set(pool.depends_on) for pool in some(pools.values()))
    assert pools["pool-general"].inputs["imageType"] == "AliyunLinux3"
    assert pools["pool-kunpeng"].inputs["imageType"] == "AliyunLinux3Arm64"


def test_the_key_rotates_where_the_vendor_rotates_and_is_in_the_instance_that_the_file_names() -> None:
    base = support.cloud("alicloud", EXTRANET)

    def key(sm: bool = False, **changes: Any) -> Mapping[str, Any]:
        there = replace(base, settings=replace(base.settings, **changes))
        return support.by_type(support.recorded(support.city(there, sm=sm)), "alicloud:kms/key:Key")["key"].inputs

    plain = key()
    assert (plain["automaticRotation"], plain["rotationInterval"]) == ("Enabled", "365d")
    assert "dkmsInstanceId" not in plain
    assert key(kms_instance="kst-1")["dkmsInstanceId"] == "kst-1"
    for hardware in (key(kms_instance="kst-1", kms_hardware=True), key(sm=True)):
        assert hardware["protectionLevel"] == "HSM" and "automaticRotation" not in hardware


@pytest.mark.parametrize(("provider", "token", "path"), KEY_PAIRS)
def test_nodes_have_the_key_pair_that_the_file_names(provider: str, token: str, path: tuple[str, ...]) -> None:
    base = support.cloud(provider, EXTRANET)  # type: ignore[arg-type]
    settings = replace(base.settings, key_pair="ops-2")  # type: ignore[call-arg]
    found = support.recorded(support.city(replace(base, settings=settings)))
    for pool in some(support.by_type(found, token).values()):
        value: Any = pool.inputs
        for name in path:
            value = value[name]
        assert value in ("ops-2", ["ops-2"])
    assert support.unknown_inputs(found) == []


def test_sm_means_sm4_throughout_and_no_aes_anywhere() -> None:
    found = support.recorded(support.city(support.cloud("alicloud", EXTRANET), sm=True))
    key = support.by_type(found, "alicloud:kms/key:Key")["key"].inputs
    assert (key["keySpec"], key["protectionLevel"]) == ("Aliyun_SM4", "HSM")
    bucket = support.by_type(found, "alicloud:oss/bucket:Bucket")["bucket"].inputs
    assert bucket["serverSideEncryptionRule"]["kmsDataEncryption"] == "SM4"
    assert "aes" not in support.snapshot(found).lower()


def test_the_kubeconfig_is_made_of_the_clusters_address_and_credentials() -> None:
    both = {"apiServerInternet": "https://198.51.100.7:6443", "apiServerIntranet": PRIVATE}
    outputs = {
        KUBERNETES: {"connections": [both]},
        "alicloud:ecs/eipAddress:EipAddress": {"ipAddress": "203.0.113.9"},
        "alicloud:vpc/natGateway:NatGateway": {"snatTableIds": "stb-1"},
    }
    credential = "alicloud:cs/getClusterCredential:getClusterCredential"
    answers: dict[str, dict[str, Any]] = {
        credential: {"certificateAuthorities": [{"clusterCert": "Q0E=", "clientCert": "Yw==", "clientKey": "aw=="}]}
    }
    seen = watched(support.city(support.cloud("alicloud", INTERNET, EXTRANET)), outputs=outputs, answers=answers)
    assert seen.calls[credential]["clusterId"] == "cluster-id"
    assert _server(seen.recording) == PRIVATE
    leaving = watched(support.city(support.cloud("alicloud", INTERNET)), outputs=outputs, answers=answers).recording
    assert _server(leaving) == PRIVATE
    entry = support.by_type(leaving, "alicloud:vpc/snatEntry:SnatEntry")["out-subnet-internet"].inputs
    assert (entry["snatIp"], entry["snatTableId"]) == ("203.0.113.9", "stb-1")


def _server(found: Recording) -> str:
    return str(json.loads(support.outputs_of(found).kubeconfig)["clusters"][0]["cluster"]["server"])
