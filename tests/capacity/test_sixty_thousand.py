"""The example of 60,000 CPUs is what its generator makes, and as large as it says."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from benchmarks.sixty_thousand import EXAMPLE, NAME, files, write
from stacks.catalogue import load_catalogue
from wecityctl.capacity.figures import declared_pools
from wecityctl.model.capacity import total
from wecityctl.model.city import City
from wecityctl.model.shares import demand_of
from wecityctl.spec import load_city

AREAS = {"digital-government", "city-governance", "city-decision-making", "industry-internet"}
PETABYTE = 10**15


def city_at(path: Path) -> City:
    return load_city(path, load_catalogue()).city


def test_the_committed_files_are_the_generated_ones() -> None:
    found = {path.name: path.read_text(encoding="utf-8") for path in EXAMPLE.iterdir()}
    assert found == files(), "run `python -m benchmarks.sixty_thousand`"


def test_it_is_as_large_as_it_says() -> None:
    city = city_at(EXAMPLE)
    assert len(city.clouds) == 4
    assert sum(pool.nodes for cloud in city.clouds for pool in cloud.pools) == 600
    capacity = total(pool.capacity for cloud in city.clouds for pool in declared_pools(cloud))
    assert capacity.cpu == 60_000 * 1000
    assert 4 * PETABYTE <= capacity.storage < 4.1 * PETABYTE
    assert {tenant.area for tenant in city.tenants} == AREAS
    asked = sum((demand_of(app).cpu for app in city.apps), Decimal(0))
    assert Decimal("0.70") < asked / 60_000 < Decimal("0.85")
    assert not [app.name for app in city.apps if app.cloud], "placement decides, not pins"


@pytest.mark.parametrize("parts", [2, 10])
def test_a_part_of_it_is_a_city_of_its_own(tmp_path: Path, parts: int) -> None:
    city = city_at(write(tmp_path, parts, f"{NAME}-part"))
    nodes = sum(pool.nodes for cloud in city.clouds for pool in cloud.pools)
    assert abs(nodes - 600 / parts) <= 6
    asked = sum((demand_of(app).cpu for app in city.apps), Decimal(0))
    assert Decimal("0.6") < asked / (nodes * 100) < Decimal("0.9")
    assert {tenant.area for tenant in city.tenants} == AREAS


def test_writing_removes_what_an_earlier_generator_left(tmp_path: Path) -> None:
    (tmp_path / "old.yaml").write_text("kind: City\n")
    write(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(files())
