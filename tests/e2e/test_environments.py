"""One city in two environments side by side, on simulated nodes: each has what its files say, and ends alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.files import SIMULATED, hamlet
from tests.e2e.machine import Cluster, Machine

pytestmark = pytest.mark.cluster

NAME = "twin"
OVERLAY = f"""\
kind: City
metadata: {{name: {NAME}-test}}
spec: {{domain: test.{NAME}.gov.example}}
---
kind: App
metadata: {{name: parks-app, tenant: parks}}
spec:
  components:
    web:
      replicas: 2
      env: {{MODE: "${{environment}}", FIXED: null}}
"""


def deployment(cluster: Cluster) -> tuple[int, dict[str, str]]:
    """The replicas and the plain variables of the app."""
    found = cluster.get("-n", "parks-internet", "deployment", "parks-app-web")
    (container,) = found["spec"]["template"]["spec"]["containers"]
    variables = {item["name"]: item["value"] for item in container["env"] if "value" in item}
    return found["spec"]["replicas"], {name: variables[name] for name in ("MODE", "FIXED") if name in variables}


def test_test_and_production_side_by_side(home: Machine, tmp_path: Path) -> None:
    files = hamlet(tmp_path / "city", NAME, SIMULATED)
    files.one("App", "parks-app")["spec"]["components"][0]["env"] = {"MODE": "${environment}", "FIXED": "yes"}
    city = files.save()
    (tmp_path / "city" / "environments").mkdir()
    (tmp_path / "city" / "environments" / "test.yaml").write_text(OVERLAY)
    clusters = {name: Cluster(home.state / "clouds" / f"{name}-main" / "kubeconfig") for name in (NAME, f"{NAME}-test")}

    home.run("up", city, "--yes", "--env", "test")
    assert home.clouds() == [f"{NAME}-test-main"], "production was not touched"
    home.run("up", city, "--yes")
    assert deployment(clusters[f"{NAME}-test"]) == (2, {"MODE": "test"})
    assert deployment(clusters[NAME]) == (1, {"MODE": "production", "FIXED": "yes"})

    preview = home.run("preview", city, "--env", "test", "--detailed-exitcode", "-o", "json")
    assert not preview.result()["has_changes"]
    status = home.run("status", city, "--env", "test", "-o", "json").json()
    assert status["city"] == f"{NAME}-test"
    for command in ("outputs", "history", "place"):
        assert f"{NAME}-test" in home.run(command, city, "--env", "test", "-o", "json").out

    refused = home.run("destroy", city, "--env", "test", f"--confirm={NAME}", code=2)
    assert f"{NAME}-test" in refused.err
    home.run("destroy", city, "--env", "test", "--delete-data", f"--confirm={NAME}-test")
    assert deployment(clusters[NAME]) == (1, {"MODE": "production", "FIXED": "yes"})
    assert not home.run("preview", city, "--detailed-exitcode", "-o", "json").result()["has_changes"]
