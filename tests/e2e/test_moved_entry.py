"""The gateway moves to another cloud: nothing of the entry stays on the old one. Two simulated clouds."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.files import SIMULATED, CityFiles, app, document, tenant
from tests.e2e.machine import Cluster, Machine

pytestmark = pytest.mark.cluster

NAME, SPACE = "quay", "platform-application"
# The platform's namespace stays, with the policy that closes it.
KINDS = "services,secrets,configmaps,jobs"


def test_nothing_of_the_entry_stays_on_its_old_cloud(home: Machine) -> None:
    gateway: dict[str, Any] = {"name": "gateway", "cloud": "east"}
    whole = {
        "domain": f"{NAME}.gov.example",
        "zones": [{"name": "internet", "kind": "internet"}],
        "images": {"source": "built", "architectures": ["amd64"]},
    }
    platform = document("Platform", "application", {"capabilities": [gateway]})
    clouds = [document("Cloud", name, {**SIMULATED, "zones": ["internet"]}) for name in ("east", "west")]
    benches = app("benches", "parks")
    del benches["spec"]["route"]
    benches["spec"]["cloud"] = "east"
    files = CityFiles(
        home.root / "city",
        {"city.yaml": [document("City", NAME, whole), *clouds, platform], "parks.yaml": [tenant("parks"), benches]},
    ).save()
    east, west = (Cluster(home.state / "clouds" / f"{NAME}-{name}" / "kubeconfig") for name in ("east", "west"))
    home.run("up", files, "--yes")
    assert "service/entry" in east.kubectl("get", KINDS, "-n", SPACE, "-o", "name")
    gateway["cloud"] = "west"
    files.save()
    done = home.run("up", files, "--yes", f"--confirm={NAME}")
    assert "forgotten" not in done.out + done.err
    assert "service/entry" in west.kubectl("get", KINDS, "-n", SPACE, "-o", "name")
    left = east.kubectl("get", KINDS, "-n", SPACE, "-o", "name", "--ignore-not-found").split()
    assert [name for name in left if name != "configmap/kube-root-ca.crt"] == []
    again = home.run("up", files, "--yes", "-o", "json")
    assert again.changes() == set()
