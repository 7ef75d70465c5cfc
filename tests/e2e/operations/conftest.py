"""A small city on a real node with the operations platform: one city for these modules."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.files import CityFiles, app, document, hamlet
from tests.e2e.machine import Cluster, Machine, machine
from tests.e2e.operations.webhook import Webhook, webhook
from tests.support.real_node import require_real_node
from wecityctl.local.node.layout import Held
from wecityctl.local.node.network import Block

NAME = "anhe"
REAL = {
    "provider": "local",
    "region": "cn-hunan",
    "local": {"nodes": "real"},
    "pools": [
        {"name": "general", "architecture": "amd64", "nodes": 1, "cpu": "16", "memory": "64Gi", "storage": "1Ti"}
    ],
}


@pytest.fixture(scope="package")
def home() -> Iterator[Machine]:
    """The machine on which the city is."""
    with machine() as made:
        yield made


@pytest.fixture(scope="package")
def bare(home: Machine) -> CityFiles:
    """The city's files, of two tenants, and its cloud with a node that is up."""
    require_real_node()
    city = hamlet(home.root / NAME, NAME, REAL, tenants=())
    city.files["city.yaml"][-1]["spec"] = {"capabilities": [{"name": "gateway"}]}
    city.add(
        "city.yaml", document("Platform", "operations", {"capabilities": [{"name": "metrics"}, {"name": "alerts"}]})
    )
    quota = {"cpu": "2", "memory": "4Gi", "storage": "10Gi"}
    for tenant in ("parks", "roads"):
        title = {"title": tenant, "area": "digital-government", "quota": quota}
        watched = app(f"{tenant}-app", tenant, uses=("metrics",))
        # All pods end before new ones start, so that a broken version is down.
        watched["spec"]["components"][0] |= {"metrics": {}, "strategy": {"type": "recreate"}}
        city.files[f"{tenant}.yaml"] = [document("Tenant", tenant, title), watched]
    city.save()
    home.run("up", city, "--yes", "--only", "base", timeout=900)
    return city


@pytest.fixture(scope="package")
def sink(home: Machine, bare: CityFiles, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Webhook]:
    """Where alerts are sent: those of the tenant `parks` to `/parks`, all to `/city`."""
    spec = json.loads((home.state / "clouds" / f"{NAME}-main" / "node" / "hold.json").read_text())
    held = Held.load(Path(spec["run"]) / "node.json")
    assert held is not None
    with webhook(tmp_path_factory.mktemp("webhook"), held.pid, Block.parse(spec["block"]).node_ip) as server:
        bare.one("Tenant", "parks")["spec"]["alerts"] = {"webhook": f"{server.url}/parks"}
        next(bare.documents("City"))["spec"]["alerts"] = {"webhook": f"{server.url}/city"}
        bare.save()
        yield server


@pytest.fixture(scope="package")
def city(home: Machine, bare: CityFiles, sink: Webhook) -> CityFiles:
    """The city, brought up."""
    home.run("up", bare, "--yes", timeout=900)
    return bare


@pytest.fixture(scope="package")
def cluster(home: Machine, bare: CityFiles) -> Cluster:
    return Cluster(home.state / "clouds" / f"{NAME}-main" / "kubeconfig")
