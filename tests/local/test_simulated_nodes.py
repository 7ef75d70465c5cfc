"""Simulated nodes: what the pools declare, and what has to change when the declaration does."""

from __future__ import annotations

import copy
from dataclasses import replace
from importlib import resources
from typing import Any

import pytest
import yaml

from wecityctl.local.simulated.nodes import declared, plan
from wecityctl.local.spec import CloudSpec, PoolSpec

GENERAL = PoolSpec("general", nodes=3, cpu="64", memory="256Gi", storage="2Ti", labels={"disk.example/kind": "ssd"})
GPU = PoolSpec("gpu", "arm64", 1, "96", "1Ti", "4Ti", ("extranet",), accelerators={"vendor.example/npu": 8})
SPEC = CloudSpec("lab", "simulated", ("internet", "extranet"), (GENERAL, GPU))
VERSION = "v1.36.3"


def test_nodes_are_as_the_pools_say() -> None:
    nodes = declared(SPEC, VERSION)
    assert [node["metadata"]["name"] for node in nodes] == ["general-0", "general-1", "general-2", "gpu-0"]
    gpu = nodes[3]
    assert gpu["status"]["capacity"] == {
        "cpu": "96",
        "memory": "1Ti",
        "ephemeral-storage": "4Ti",
        "pods": "110",
        "vendor.example/npu": "8",
    }
    assert gpu["status"]["allocatable"] == gpu["status"]["capacity"]
    assert gpu["metadata"]["labels"] == {
        "kubernetes.io/arch": "arm64",
        "kubernetes.io/os": "linux",
        "kubernetes.io/hostname": "gpu-0",
        "wecity.dev/pool": "gpu",
        "wecity.dev/simulated": "true",
        "wecity.dev/zone": "extranet",
        "wecity.dev/zone.extranet": "true",
        "topology.kubernetes.io/zone": "extranet",
    }
    assert gpu["spec"]["taints"] == [{"key": "wecity.dev/simulated", "value": "true", "effect": "NoSchedule"}]


def test_zones_take_turns_and_addresses_differ() -> None:
    nodes = declared(SPEC, VERSION)
    assert [node["metadata"]["labels"]["wecity.dev/zone"] for node in nodes[:3]] == ["internet", "extranet", "internet"]
    assert len({node["status"]["addresses"][0]["address"] for node in nodes}) == 4


def test_a_pool_cannot_disguise_its_nodes() -> None:
    pool = replace(GENERAL, labels={"wecity.dev/simulated": "false", "kubernetes.io/hostname": "x"})
    labels = declared(replace(SPEC, pools=(pool,)), VERSION)[0]["metadata"]["labels"]
    assert labels["wecity.dev/simulated"] == "true"
    assert labels["kubernetes.io/hostname"] == "general-0"


def test_a_cloud_of_real_nodes_has_none() -> None:
    assert declared(replace(SPEC, nodes="real"), VERSION) == ()


def _live() -> list[dict[str, Any]]:
    """The declared nodes as an API server gives them back: quantities in its own form, more labels and taints."""
    nodes = copy.deepcopy(list(declared(SPEC, VERSION)))
    for node in nodes:
        node["status"]["capacity"]["cpu"] += "000m"
        node["metadata"]["labels"]["added.example/by"] = "somebody"
        node["spec"]["taints"].append({"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"})
    return nodes


def test_nothing_to_do_is_nothing() -> None:
    assert not plan(declared(SPEC, VERSION), _live())


def test_more_and_fewer_nodes() -> None:
    spec = replace(SPEC, pools=(replace(GENERAL, nodes=4),))
    done = plan(declared(spec, VERSION), _live())
    assert [node["metadata"]["name"] for node in done.created] == ["general-3"]
    assert done.deleted == ("gpu-0",)
    # The zone of a node depends on its number alone: the others are as they were.
    assert not done.patched


def test_a_pool_that_grows_takes_no_address_of_another() -> None:
    live = _live()
    done = plan(declared(replace(SPEC, pools=(replace(GENERAL, nodes=5), GPU)), VERSION), live)
    new = [node["status"]["addresses"][0]["address"] for node in done.created]
    assert len(new) == 2
    assert len({*new, *(node["status"]["addresses"][0]["address"] for node in live)}) == 6


def test_a_change_of_a_pool_is_a_patch_of_its_nodes() -> None:
    pools = (replace(GENERAL, cpu="32", labels={"disk.example/kind": "hdd"}), replace(GPU, accelerators={}))
    done = plan(declared(replace(SPEC, pools=pools), VERSION), _live())
    assert not done.created
    assert not done.deleted
    main, status = done.patched["general-0"]
    assert main == {"metadata": {"labels": {"disk.example/kind": "hdd"}}}
    assert status["capacity"]["cpu"] == "32"
    _, status = done.patched["gpu-0"]
    assert status["capacity"]["vendor.example/npu"] is None
    assert status["allocatable"]["vendor.example/npu"] is None


def test_a_label_that_left_the_pool_is_removed_and_others_labels_stay() -> None:
    done = plan(declared(replace(SPEC, pools=(replace(GENERAL, labels={}), GPU)), VERSION), _live())
    assert done.patched["general-0"][0]["metadata"]["labels"] == {"disk.example/kind": None}
    assert "gpu-0" not in done.patched


def test_zones_that_left_are_removed() -> None:
    done = plan(declared(replace(SPEC, zones=("internet",)), VERSION), _live())
    labels = done.patched["general-1"][0]["metadata"]["labels"]
    assert labels["wecity.dev/zone"] == "internet"
    assert labels["wecity.dev/zone.extranet"] is None


def test_a_taint_that_somebody_removed_comes_back_beside_the_others() -> None:
    live = _live()
    live[0]["spec"]["taints"] = [{"key": "other.example/taint", "effect": "NoExecute"}]
    (patch,) = plan(declared(SPEC, VERSION), live).patched.values()
    keys = [taint["key"] for taint in patch[0]["spec"]["taints"]]
    assert keys == ["other.example/taint", "wecity.dev/simulated"]


@pytest.mark.parametrize("kind,count", [("Node", 2), ("Pod", 3)])
def test_the_stages_are_documents_kwok_can_read(kind: str, count: int) -> None:
    text = resources.files("wecityctl.local.simulated").joinpath("stages.yaml").read_text()
    options, *documents = yaml.safe_load_all(text)
    assert (options["apiVersion"], options["kind"]) == ("config.kwok.x-k8s.io/v1alpha1", "KwokConfiguration")
    assert all(each["apiVersion"] == "kwok.x-k8s.io/v1alpha1" and each["kind"] == "Stage" for each in documents)
    assert len([each for each in documents if each["spec"]["resourceRef"]["kind"] == kind]) == count
