"""A city of 60,000 CPUs in 600 simulated nodes over four control planes: placed, scheduled and read as one platform.

The tests follow each other in this order. Speed is the benchmark's matter; here it only has to be a matter of seconds.
`make whole` brings the whole city up. `make test` takes a sixth of it: as many clouds, pools and kinds of apps, with a
sixth of the nodes and tenants, because the whole takes five minutes of both processors.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.sixty_thousand import CLOUDS, CPUS, write
from tests.e2e.machine import Cluster, Done, Machine
from tests.support.some import some
from wecityctl.model.quantity import parse_quantity

pytestmark = pytest.mark.cluster

NAME = "sixty"
PARTS = 1 if os.environ.get("WHOLE_CITY") else 6
NODES = 600 // PARTS
APPS = 200 // PARTS
SECONDS = 800.0
READ_SECONDS = 120.0
ZONES = {cloud.name: set(cloud.zones.split(", ")) for cloud in CLOUDS}
DOMESTIC = {cloud.name for cloud in CLOUDS if any(pool.domestic for pool in cloud.pools)}


@pytest.fixture(scope="module")
def city(home: Machine) -> Path:
    return write(home.root / "city", PARTS, NAME)


def documents(city: Path, kind: str) -> Iterator[dict[str, Any]]:
    for path in sorted(city.glob("*.yaml")):
        yield from (item for item in yaml.safe_load_all(path.read_text()) if item["kind"] == kind)


def in_seconds(home: Machine, *arguments: str | Path) -> Done:
    begun = time.monotonic()
    done = home.run(*arguments)
    assert time.monotonic() - begun < READ_SECONDS, arguments
    return done


def test_four_control_planes_side_by_side_take_the_whole_city(home: Machine, city: Path) -> None:
    done = home.run("up", city, "--yes", "-o", "json", timeout=SECONDS)
    outcomes = {item["outcome"] for item in done.result()["stacks"]}
    assert outcomes == {"succeeded"}, done.err[-4000:]
    assert home.clouds() == sorted(f"{NAME}-{cloud}" for cloud in ZONES)


def test_one_platform_is_seen_in_seconds(home: Machine, city: Path) -> None:
    seen = in_seconds(home, "clouds", city, "-o", "json").json()
    assert [cloud["figures"] for cloud in seen["clouds"]] == ["live"] * 4
    assert [cloud["health"] for cloud in seen["clouds"]] == ["ok"] * 4, seen
    assert [cloud["waiting"]["pods"] for cloud in seen["clouds"]] == [0] * 4
    total = seen["total"]
    assert total["nodes"] == {"ready": NODES, "total": NODES}
    assert total["capacity"]["cpu"] == NODES * CPUS
    assert total["capacity"]["storage_bytes"] > 4 * 10**15 // PARTS
    asked = sum(
        int(part["resources"]["cpu"]) * part["replicas"]
        for app in documents(city, "App")
        for part in app["spec"]["components"]
    )
    # The gateway asks for a little more.
    assert asked <= total["allocated"]["cpu"] < asked + 10
    assert 0.70 < total["allocated"]["cpu"] / (NODES * CPUS) < 0.85
    assert sum(part["capacity"]["cpu"] for part in total["architectures"].values()) == NODES * CPUS
    assert set(total["architectures"]) == {"amd64", "arm64"}
    assert 0.3 < total["domestic"]["cpu_share"] < 0.5
    text = home.run("clouds", city).out
    assert f"{NODES}/{NODES}" in text
    assert "信创" in text


def test_no_node_holds_more_than_it_has_and_kubectl_counts_the_same(home: Machine, city: Path) -> None:
    seen = home.run("clouds", city, "-o", "json").json()
    for cloud in some(seen["clouds"]):
        cluster = Cluster(home.state / "clouds" / f"{NAME}-{cloud['cloud']}" / "kubeconfig")
        nodes: dict[str, Decimal] = {}
        for pod in cluster.get("pods", "-A", "--field-selector=status.phase!=Succeeded")["items"]:
            requests = [item["resources"].get("requests", {}) for item in pod["spec"]["containers"]]
            cpu = sum((parse_quantity(each.get("cpu", "0")) for each in requests), Decimal(0))
            nodes[pod["spec"]["nodeName"]] = nodes.get(pod["spec"]["nodeName"], Decimal(0)) + cpu
        assert max(nodes.values()) <= CPUS
        assert sum(nodes.values()) == sum(Decimal(str(pool["allocated"]["cpu"])) for pool in cloud["pools"])


def test_every_workload_is_ready_where_it_may_be(home: Machine, city: Path) -> None:
    seen = in_seconds(home, "status", city, "-o", "json").json()
    assert not seen["unreachable"]
    apps = {
        (app["metadata"]["tenant"], f"{app['metadata']['name']}-web"): app["spec"] for app in documents(city, "App")
    }
    found = [item for item in seen["workloads"] if (item["part_of"], item["name"]) in apps]
    assert len(found) == len(apps) > APPS
    assert all(item["state"] == "ready" and item["simulated"] for item in seen["workloads"])
    for item in found:
        spec = apps[item["part_of"], item["name"]]
        assert spec["zone"] in ZONES[item["cloud"]]
        assert item["cloud"] in DOMESTIC or not spec.get("placement", {}).get("domestic")
        assert item["ready"] == item["wanted"] == spec["components"][0]["replicas"]
    assert {item["cloud"] for item in found} == set(ZONES)


def test_what_no_node_has_room_for_is_told_while_up_waits_and_afterwards(home: Machine, city: Path) -> None:
    """A node's worth of CPUs for one replica: a pool has that many left, but no node alone."""
    path = next(city.glob("*-statistics.yaml"))
    before = path.read_text()
    changed = list(yaml.safe_load_all(before))
    app = next(item for item in changed if item["metadata"]["name"] == "business")
    app["spec"]["components"][0] |= {"replicas": 1, "resources": {"cpu": str(CPUS), "memory": "300Gi"}}
    path.write_text(yaml.safe_dump_all(changed, allow_unicode=True))
    try:
        with home.running("up", city, "--yes", "--only", "statistics", "-o", "json") as up:
            assert up.stdout is not None
            assert any("Insufficient cpu" in line for line in up.stdout), "up ended without a word about it"
            up.send_signal(signal.SIGINT)
            up.communicate(timeout=120)
            assert up.returncode != 0
        seen = home.run("status", city, "-o", "json", code=4).json()
        waiting = [item for item in seen["workloads"] if item["state"] != "ready"]
        assert [(item["part_of"], item["name"]) for item in waiting] == [("statistics", "business-web")]
        assert "Insufficient cpu" in waiting[0]["reason"]
        assert "pods that wait for a node: 1 " in home.run("clouds", city).out
    finally:
        path.write_text(before)


def test_a_cloud_that_is_down_is_a_row_of_what_the_files_declare(home: Machine, city: Path) -> None:
    home.run("local", "stop", "--name", f"{NAME}-lakeside")
    seen = in_seconds(home, "clouds", city, "-o", "json").json()
    found = {cloud["cloud"]: cloud for cloud in seen["clouds"]}
    assert {name: cloud["figures"] for name, cloud in found.items()} == {
        **dict.fromkeys(ZONES, "live"),
        "lakeside": "declared",
    }
    assert found["lakeside"]["health"] == "not running"
    assert [pool["allocated"] for pool in found["lakeside"]["pools"]] == [None, None]
    assert seen["total"]["capacity"]["cpu"] == NODES * CPUS
    assert seen["total"]["capacity_read_live"]["cpu"] == NODES * CPUS * 3 // 4
    assert list(home.run("status", city, "-o", "json", code=4).json()["unreachable"]) == ["lakeside"]
