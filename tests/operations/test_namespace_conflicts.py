"""The namespaces that are looked for beforehand are those that the stacks make."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stacks.catalogue import load_catalogue
from tests.stacks.cities import app, city, full_city, objects, record_city
from tests.stacks.test_crossings import CLUSTERS, two_clouds
from wecityctl.model.city import City, Cloud, Quota, Tenant
from wecityctl.operations.namespace_conflicts import namespaces
from wecityctl.plan import make_plan
from wecityctl.resource_graph import Recording


def made(recordings: dict[str, Recording], cloud: str) -> set[str]:
    here = {name: item for name, item in recordings.items() if name.endswith(f".{cloud}")}
    return {item.inputs["metadata"]["name"] for item in objects(here, "Namespace")}


def with_an_idle_tenant() -> City:
    whole = city(app("code"))
    idle = Tenant("idle", "idle", "digital-government", Quota("1", "1Gi", "1Gi"))
    return replace(whole, tenants=(*whole.tenants, idle), clouds=(*whole.clouds, Cloud("spare", "local", ("ex",))))


@pytest.mark.parametrize("whole", [full_city(), two_clouds(), with_an_idle_tenant()], ids=["full", "two", "idle"])
def test_the_names_are_those_that_are_made(whole: City) -> None:
    placement = make_plan(whole, load_catalogue()).placement
    one = next(iter(CLUSTERS.values()))
    recorded = record_city(whole, {cloud.name: replace(one, cloud=cloud.name) for cloud in whole.clouds})
    for cloud in whole.clouds:
        assert namespaces(whole, placement, cloud.name) == made(recorded, cloud.name), cloud.name
