"""Which pool and zones a live node belongs to."""

from __future__ import annotations

import pytest

from tests.capacity.objects import cloud, node, pool
from wecityctl.capacity.attribution import pool_of, zones_of
from wecityctl.model.city import Cloud


def name_of(found: object) -> str:
    return str(getattr(found, "name", "-"))


@pytest.mark.parametrize(
    ("labels", "architecture", "cpu", "more", "expected"),
    [
        ({"wecity.dev/pool": "arm"}, "amd64", "8", {}, "arm"),
        ({"wecity.dev/pool": "unknown"}, "amd64", "8", {}, "small"),
        ({}, "amd64", "9", {}, "small"),
        ({}, "amd64", "60", {}, "large"),
        ({"disk": "fast"}, "amd64", "8", {}, "fast"),
        ({}, "amd64", "8", {"nvidia.com/gpu": "4"}, "cards"),
        ({}, "amd64", "8", {"nvidia.com/gpu": "1"}, "small"),
        ({}, "arm64", "64", {}, "arm"),
        ({}, "riscv64", "8", {}, "-"),
    ],
)
def test_a_node_belongs_to_the_pool_its_label_names_or_to_the_best_match(
    labels: dict[str, str], architecture: str, cpu: str, more: dict[str, str], expected: str
) -> None:
    made = cloud(
        pool("small"),
        pool("large", cpu="64", memory="256Gi"),
        pool("fast", labels={"disk": "fast"}),
        pool("cards", accelerators={"nvidia.com/gpu": 4}),
        pool("arm", architecture="arm64"),
    )
    memory = "256Gi" if int(cpu) > 32 else "32Gi"
    found = pool_of(node(architecture=architecture, cpu=cpu, memory=memory, labels=labels, more=more), made)
    assert name_of(found) == expected


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({"wecity.dev/zone": "extranet"}, ("extranet",)),
        ({"wecity.dev/zone": "elsewhere"}, ("internet", "extranet")),
        ({"wecity.dev/zone.extranet": "true", "wecity.dev/zone.internet": "true"}, ("internet", "extranet")),
        ({"wecity.dev/zone.extranet": "true", "wecity.dev/zone.internet": "false"}, ("extranet",)),
        # The vendor's own zones are data centres, not the city's.
        ({"topology.kubernetes.io/zone": "extranet"}, ("internet", "extranet")),
    ],
)
def test_zones_come_from_labels_else_from_the_files(labels: dict[str, str], expected: tuple[str, ...]) -> None:
    made: Cloud = cloud(pool())
    assert zones_of(node(labels=labels), made, made.pools[0]) == expected


def test_a_pools_zones_narrow_the_clouds() -> None:
    made = cloud(pool(zones=("extranet",)))
    assert zones_of(node(), made, made.pools[0]) == ("extranet",)
    assert zones_of(node(), made, None) == ("internet", "extranet")
