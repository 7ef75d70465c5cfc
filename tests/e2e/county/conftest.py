"""The county of the examples on a real node, with what more its apps are tested with: one city for these modules."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.county.apps import NAME, add_apps
from tests.e2e.files import CityFiles, read
from tests.e2e.machine import Cluster, Machine, machine
from tests.support.real_node import require_real_node

EXAMPLE = Path(__file__).parents[3] / "examples" / "county"


@pytest.fixture(scope="package")
def home() -> Iterator[Machine]:
    """The machine on which the county is."""
    with machine() as made:
        yield made


@pytest.fixture(scope="package")
def county(home: Machine) -> CityFiles:
    """The county, brought up from its files as they are."""
    require_real_node()
    place = home.root / "county"
    shutil.copytree(EXAMPLE, place)
    home.run("up", place, "--yes")
    return read(place)


@pytest.fixture(scope="package")
def city(home: Machine, county: CityFiles) -> CityFiles:
    """The same city with the tenant `parks`, whose apps have what the county's have not, and an object store."""
    add_apps(county)
    home.run("up", county.save(), "--yes")
    return county


@pytest.fixture(scope="package")
def cluster(home: Machine, county: CityFiles) -> Cluster:
    return Cluster(home.state / "clouds" / f"{NAME}-main" / "kubeconfig")
