"""A small city on a real node with what the operations platform works on: one city for these modules."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.files import CityFiles, app, document, hamlet
from tests.e2e.machine import Cluster, Machine, machine
from tests.support.real_node import require_real_node

NAME = "anhe"
LOGS = {"capability": "logs", "as": "logs"}
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
    """The city's files, of two tenants."""
    require_real_node()
    city = hamlet(home.root / NAME, NAME, REAL, tenants=())
    platforms = city.files["city.yaml"]
    platforms[-1]["spec"] = {"capabilities": [{"name": "gateway"}]}
    platforms.append(document("Platform", "operations", {"capabilities": [{"name": "logs", "storage": "1Gi"}]}))
    quota = {"cpu": "2", "memory": "4Gi", "storage": "10Gi"}
    for tenant, uses in (("parks", (LOGS,)), ("roads", (LOGS,))):
        title = {"title": tenant, "area": "digital-government", "quota": quota}
        city.files[f"{tenant}.yaml"] = [document("Tenant", tenant, title), app(f"{tenant}-app", tenant, uses=uses)]
    return city.save()


@pytest.fixture(scope="package")
def city(home: Machine, bare: CityFiles) -> CityFiles:
    """The city, brought up."""
    home.run("up", bare, "--yes", timeout=900)
    return bare


@pytest.fixture(scope="package")
def cluster(home: Machine, bare: CityFiles) -> Cluster:
    return Cluster(home.state / "clouds" / f"{NAME}-main" / "kubeconfig")
