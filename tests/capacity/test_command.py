"""`wecityctl clouds` before anything runs: what the files declare, and its exit codes."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
import yaml

from tests.cli.program import wecityctl

CITY = """\
apiVersion: wecity.dev/v1alpha1
kind: City
metadata: {name: lakeview}
spec:
  domain: lakeview.gov.example
  zones: [{name: internet, kind: internet}]
---
apiVersion: wecity.dev/v1alpha1
kind: Cloud
metadata: {name: near}
spec:
  provider: local
  local: {nodes: simulated}
  zones: [internet]
  pools:
    - {name: arm, architecture: arm64, nodes: 3, cpu: "8", memory: 32Gi, storage: 100Gi, domestic: true,
       accelerators: {huawei.com/Ascend910: 2}}
  prices: {currency: CNY, cpuHour: "0.10", memoryGiBHour: "0.02", storageGiBMonth: "0.73"}
---
apiVersion: wecity.dev/v1alpha1
kind: Cloud
metadata: {name: far}
spec:
  provider: kubernetes
  kubernetes: {kubeconfig: nowhere.kubeconfig}
  zones: [internet]
  pools: [{name: big, architecture: amd64, nodes: 2, cpu: "64", memory: 256Gi, storage: 1Ti}]
"""


def city(directory: Path) -> Path:
    path = directory / "city.yaml"
    path.write_text(CITY)
    return path


@pytest.mark.program
def test_clouds_that_do_not_run_show_what_the_files_declare(tmp_path: Path) -> None:
    path = city(tmp_path)
    os.utime(path, (time.time() - 7200, time.time() - 7200))
    done = wecityctl("clouds", path, home=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert (
        "near internet arm 信创 arm64 3 ? / 24 ? ? ? / 96.0 GiB ? / 300 GiB ? / 4.62 CNY declared (simulated)" in lines
    )
    assert "far internet big amd64 2 ? / 128 ? ? ? / 512 GiB ? / 2.0 TiB – declared" in lines
    assert "all clouds 5 ? / 152 ? ? ? / 608 GiB ? / 2.3 TiB ? / 4.62 CNY" in lines
    assert "near: not running: figures are what the files declare, files of 2 h ago" in lines
    assert "huawei.com/Ascend910: ? of 6 allocated" in lines
    (far,) = [line for line in lines if line.startswith("far: unreachable")]
    assert "nowhere.kubeconfig" in far
    assert lines[-1] == "domestic 信创: 24 of 152 CPUs (16 %)"


@pytest.mark.slow
def test_programs_get_numbers_and_null_for_what_is_not_known(tmp_path: Path) -> None:
    done = wecityctl("clouds", city(tmp_path), "--cloud", "near", "-o", "json", home=tmp_path)
    said = json.loads(done.stdout)
    assert (done.returncode, said["format_version"], said["city"]) == (0, "1.0", "lakeview")
    (near,) = said["clouds"]
    assert (near["cloud"], near["figures"], near["reachable"], near["health"]) == (
        "near",
        "declared",
        False,
        "not running",
    )
    (pool,) = near["pools"]
    assert pool["capacity"] == {
        "cpu": 24.0,
        "memory_bytes": 96 * 1024**3,
        "storage_bytes": 300 * 1024**3,
        "accelerators": {"huawei.com/Ascend910": 6},
    }
    assert (pool["allocated"], pool["free"], pool["nodes"]) == (None, None, {"ready": None, "total": 3})
    assert pool["cost_per_hour"] == {"capacity": "4.6200", "allocated": None}
    assert said["total"]["domestic"]["cpu_share"] == 1.0


@pytest.mark.slow
def test_it_fails_only_when_no_cloud_could_be_read_and_with_that_clouds_code(tmp_path: Path) -> None:
    done = wecityctl("clouds", city(tmp_path), "--cloud", "far", home=tmp_path)
    assert done.returncode == 2
    assert "far" in done.stdout
    assert "Traceback" not in done.stderr


def test_an_unknown_cloud_is_told_with_those_there_are(tmp_path: Path) -> None:
    done = wecityctl("clouds", city(tmp_path), "--cloud", "middle", home=tmp_path)
    assert done.returncode == 2
    assert "'middle'" in done.stderr
    assert "near, far" in done.stderr


def test_a_city_that_cannot_be_placed_can_still_be_looked_at(tmp_path: Path) -> None:
    path = city(tmp_path)
    app = {
        "apiVersion": "wecity.dev/v1alpha1",
        "kind": "App",
        "metadata": {"name": "giant", "tenant": "parks"},
        "spec": {
            "stage": "published",
            "zone": "internet",
            "dataClass": "L1",
            "components": [
                {"name": "web", "image": "x.example/y:1", "resources": {"cpu": "999"}, "architectures": ["amd64"]}
            ],
        },
    }
    quota = {"cpu": "2000", "memory": "4Gi", "storage": "10Gi"}
    tenant = {
        "apiVersion": "wecity.dev/v1alpha1",
        "kind": "Tenant",
        "metadata": {"name": "parks"},
        "spec": {"title": "Parks", "area": "city-governance", "quota": quota},
    }
    path.write_text(CITY + "---\n" + yaml.safe_dump_all([tenant, app]))
    assert wecityctl("graph", path, home=tmp_path).returncode == 2
    assert wecityctl("clouds", path, home=tmp_path).returncode == 0
