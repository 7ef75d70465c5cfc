"""The whole example: every platform serves, nothing was restarted, and there is nothing to do for a second run."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.files import CityFiles
from tests.e2e.full.conftest import NAME
from tests.e2e.machine import Cluster, Machine
from wecityctl.local.node.cgroups import detect, processes
from wecityctl.model.quantity import parse_quantity

pytestmark = pytest.mark.node

DOMAINS = {"digital-government", "city-governance", "city-decision-making", "industry-internet"}
# What its page says at the most, with the control plane.
MOST_MEMORY = parse_quantity("6Gi")


def test_it_has_apps_of_all_domains_and_uses_each_capability(city: CityFiles) -> None:
    areas = {item["metadata"]["name"]: item["spec"]["area"] for item in city.documents("Tenant")}
    apps = list(city.documents("App"))
    assert {areas[item["metadata"]["tenant"]] for item in apps} == DOMAINS
    used = {item["metadata"]["name"]: set(_uses(item)) for item in apps}
    assert len(used) == 6
    assert min(len(each) for each in used.values()) >= 3, used
    there = {item["name"] for platform in city.documents("Platform") for item in platform["spec"]["capabilities"]}
    # Alerts are asked for by no app; the gateway serves all of them.
    assert there - {"alerts", "gateway"} == set.union(*used.values())


def _uses(app: dict[str, Any]) -> Iterator[str]:
    for use in app["spec"]["uses"]:
        yield use if isinstance(use, str) else use["capability"]
    if app["spec"]["route"].get("signIn"):
        yield "sign-in"


def test_everything_serves_and_nothing_was_restarted(home: Machine, city: CityFiles, cluster: Cluster) -> None:
    restarted = {
        f"{pod['metadata']['namespace']}/{pod['metadata']['name']}/{each['name']}": each["restartCount"]
        for pod in cluster.get("pods", "-A")["items"]
        for each in (*pod["status"]["containerStatuses"], *pod["status"].get("initContainerStatuses", ()))
        if each["restartCount"]
    }
    assert restarted == {}
    found = home.run("status", city, "-o", "json").json()
    assert {item["state"] for item in found["workloads"]} == {"ready"}
    assert {item["result"] for item in found["probes"]} == {"passed"}
    there = {item["name"] for platform in city.documents("Platform") for item in platform["spec"]["capabilities"]}
    assert {item["capability"] for item in found["probes"]} == there


def test_it_takes_no_more_memory_than_it_says(home: Machine, city: CityFiles) -> None:
    held = json.loads((home.state / "clouds" / f"{NAME}-main" / "node" / "hold.json").read_text())
    pods = processes(detect(), held["cgroup"])
    taken = sum(_memory_of(entry) for entry in Path("/proc").glob("[0-9]*") if _is_of(entry, pods, home.root))
    assert parse_quantity("2Gi") < taken < MOST_MEMORY, f"{taken / 1024**2:.0f} MiB"


def _is_of(entry: Path, pods: set[int], root: Path) -> bool:
    """Whether a process is one of the pods', or of the cluster's own, whose command lines name files below `root`."""
    with contextlib.suppress(OSError):
        return int(entry.name) in pods or str(root).encode() in (entry / "cmdline").read_bytes()
    return False


def _memory_of(entry: Path) -> int:
    """Bytes that a process takes, with its part of what it shares with others."""
    with contextlib.suppress(OSError):
        for line in (entry / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def test_a_second_up_has_nothing_to_do(home: Machine, city: CityFiles) -> None:
    assert f"nothing to change: {NAME} is as its files say" in home.run("up", city, "--yes").out
