"""Nodes as an API server answers them → the pools of a Cloud document."""

from __future__ import annotations

from typing import Any

import pytest

from wecityctl.importing.pools import ARCHITECTURE, INSTANCE_TYPE, REGION, ZONE, pools_of


def node(
    name: str,
    architecture: str = "amd64",
    cpu: str = "64",
    memory: str = "263000000Ki",
    storage: str = "500Gi",
    *,
    labels: dict[str, str] | None = None,
    taints: list[dict[str, str]] | None = None,
    allocatable: dict[str, str] | None = None,
    ready: bool = True,
    **spec: Any,
) -> dict[str, Any]:
    capacity = {"cpu": cpu, "memory": memory, "ephemeral-storage": storage, "pods": "110"}
    return {
        "metadata": {"name": name, "labels": {ARCHITECTURE: architecture, **(labels or {})}},
        "spec": {"taints": taints or [], **spec},
        "status": {
            "capacity": capacity,
            "allocatable": {**capacity, **(allocatable or {})},
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
        },
    }


def test_nodes_of_one_kind_are_one_pool_that_offers_what_the_least_of_them_has() -> None:
    found = pools_of(
        [
            node("a", memory="263000000Ki", allocatable={"cpu": "63500m", "memory": "260000000Ki"}),
            node("b", memory="263000512Ki", allocatable={"cpu": "63", "memory": "259000000Ki"}),
            node("c", memory="262900000Ki", allocatable={"cpu": "63900m", "memory": "261000000Ki"}),
        ]
    )
    (pool,) = found.pools
    assert (pool.name, pool.architecture, pool.nodes) == ("amd64-64c-251g", "amd64", 3)
    assert (pool.cpu, pool.memory, pool.storage) == ("63", "252929Mi", "500Gi")


@pytest.mark.parametrize(
    "other",
    [
        node("b", "arm64"),
        node("b", cpu="32"),
        node("b", memory="131000000Ki"),
        node("b", storage="2Ti"),
        node("b", labels={INSTANCE_TYPE: "ecs.g8y.large"}),
        node("b", labels={ZONE: "cn-hangzhou-h"}),
        node("b", allocatable={"nvidia.com/gpu": "8"}),
    ],
    ids=["architecture", "cpu", "memory", "storage", "instance type", "availability zone", "accelerator"],
)
def test_what_differs_makes_another_pool(other: dict[str, Any]) -> None:
    pools = pools_of([node("a"), other]).pools
    assert [pool.nodes for pool in pools] == [1, 1]
    assert len({pool.name for pool in pools}) == 2


def test_labels_of_vendors_become_fields() -> None:
    labels = {INSTANCE_TYPE: "SA5.LARGE8", ZONE: "ap-guangzhou-6", REGION: "ap-guangzhou", "disk": "ssd", "x.io/y": "z"}
    found = pools_of([node("a", labels=labels), node("b", labels={**labels, "owner": "ops"})])
    (pool,) = found.pools
    assert pool.instance_types == ("SA5.LARGE8",)
    assert pool.labels == {"disk": "ssd", ZONE: "ap-guangzhou-6"}
    assert found.region == "ap-guangzhou"


def test_labels_of_older_clusters_are_understood() -> None:
    old = {
        "beta.kubernetes.io/instance-type": "c3",
        "failure-domain.beta.kubernetes.io/zone": "az1",
        "failure-domain.beta.kubernetes.io/region": "r1",
    }
    found = pools_of([node("a", labels=old)])
    assert (found.pools[0].instance_types, found.pools[0].labels[ZONE], found.region) == (("c3",), "az1", "r1")


def test_two_regions_are_none() -> None:
    assert pools_of([node("a", labels={REGION: "r1"}), node("b", labels={REGION: "r2"})]).region == ""


def test_the_vendors_name_of_a_pool_is_kept_and_told_apart_by_zone() -> None:
    name = {"cce.cloud.com/cce-nodepool": "Kunpeng_Pool"}
    found = pools_of(
        [
            node("a", labels={**name, ZONE: "az1"}),
            node("b", labels={**name, ZONE: "az2"}),
            node("c", cpu="8", labels=name),
        ]
    )
    assert sorted(pool.name for pool in found.pools) == ["kunpeng-pool", "kunpeng-pool-az1", "kunpeng-pool-az2"]


def test_equal_names_are_numbered() -> None:
    found = pools_of([node("a", labels={INSTANCE_TYPE: "x"}), node("b", labels={INSTANCE_TYPE: "y"})])
    assert [pool.name for pool in found.pools] == ["amd64-64c-251g", "amd64-64c-251g-2"]


def test_accelerators_are_those_that_compute() -> None:
    found = pools_of(
        [
            node(
                "a",
                allocatable={
                    "huawei.com/Ascend910": "8",
                    "tke.cloud.tencent.com/eni-ip": "20",
                    "aliyun/member-eni": "30",
                    "hugepages-1Gi": "0",
                    "nvidia.com/gpu": "0",
                },
            )
        ]
    )
    assert found.pools[0].accelerators == {"huawei.com/Ascend910": 8}
    assert found.pools[0].name == "amd64-64c-251g-8-ascend910"


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (
            node("a", taints=[{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}]),
            "it has the taint node-role.kubernetes.io/control-plane",
        ),
        (node("a", unschedulable=True), "it is cordoned"),
        (node("a", "riscv64"), "its architecture is riscv64"),
        (node("a", labels={"kubernetes.io/os": "windows"}), "it runs windows"),
        (node("a", ""), "its architecture is not known"),
    ],
)
def test_nodes_that_take_no_pods_are_left_out_with_the_reason(item: dict[str, Any], reason: str) -> None:
    found = pools_of([item])
    assert (found.pools, found.left_out) == ((), {"a": reason})


@pytest.mark.parametrize(
    "taint",
    [
        {"key": "nvidia.com/gpu", "effect": "NoSchedule"},
        {"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"},
        {"key": "team", "effect": "PreferNoSchedule"},
    ],
)
def test_taints_that_pods_get_past_leave_nodes_in(taint: dict[str, str]) -> None:
    assert pools_of([node("a", taints=[taint])]).pools


def test_what_a_reader_should_know_is_remarked() -> None:
    found = pools_of([node("a"), node("b", ready=False)])
    assert found.remarks["amd64-64c-251g"] == ("1 of 2 not ready when this was read",)
    bare = pools_of([node("a", storage="0")])
    assert bare.pools[0].storage == "1Mi"
    assert "no ephemeral-storage" in bare.remarks[bare.pools[0].name][0]


def test_only_loongson_is_domestic_by_itself() -> None:
    found = pools_of([node("a", "loong64"), node("b", "arm64")])
    assert {pool.architecture: pool.domestic for pool in found.pools} == {"loong64": True, "arm64": False}


def test_the_order_of_nodes_does_not_matter() -> None:
    nodes = [node(f"n{number}", cpu=str(8 + number % 3), memory=f"{100 + number % 2}Gi") for number in range(12)]
    assert pools_of(nodes) == pools_of(list(reversed(nodes)))
