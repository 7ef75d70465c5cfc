"""What the scheduler is told about pools: zone, domestic hardware, accelerators."""

from __future__ import annotations

from typing import Any

import pytest

from stacks.node_affinity import affinity, capability_affinity
from tests.capacity.objects import cloud, pool
from tests.stacks import cities
from wecityctl.model.city import (
    App,
    Capability,
    Cloud,
    Component,
    KubernetesSettings,
    LocalSettings,
    PlacementRules,
    Platform,
    Resources,
)
from wecityctl.model.naming import POOL_LABEL

ARCH = {"key": "kubernetes.io/arch", "operator": "In", "values": ["amd64"]}


def app(*, domestic: bool = False, zone: str = "internet", accelerators: dict[str, int] | None = None) -> App:
    part = Component("web", "x.example/y:1", resources=Resources(accelerators=accelerators or {}))
    return App("a", "t", "published", zone, "L1", (part,), placement=PlacementRules(domestic=domestic))


def required(made: Cloud, one: App) -> Any:
    found = affinity(made, one, one.components[0])
    assert found is not None
    return [
        term["matchExpressions"]
        for term in found["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    ]


def spared(made: Cloud, one: App) -> list[str]:
    found = affinity(made, one, one.components[0])
    assert found is not None
    wishes = found["nodeAffinity"].get("preferredDuringSchedulingIgnoredDuringExecution", [])
    names: list[str] = []
    for wish in wishes:
        (expression,) = wish["preference"]["matchExpressions"]
        assert (expression["key"], expression["operator"]) == (POOL_LABEL, "NotIn")
        names += expression["values"]
    return names


def only(*names: str) -> dict[str, object]:
    return {"key": POOL_LABEL, "operator": "In", "values": list(names)}


MIXED = cloud(
    pool("plain"),
    pool("hygon", domestic=True),
    pool("cards", accelerators={"nvidia.com/gpu": 4}),
    pool("inner", zones=("extranet",)),
)


def test_where_every_pool_will_do_the_architecture_is_all_that_is_asked() -> None:
    assert required(cloud(pool("one"), pool("two")), app()) == [[ARCH]]
    assert required(cloud(), app(domestic=True)) == [[ARCH]]


def test_domestic_apps_run_on_domestic_pools_alone() -> None:
    assert required(MIXED, app(domestic=True)) == [[ARCH, only("hygon")]]


def test_a_pool_of_one_zone_takes_the_apps_of_that_zone_alone() -> None:
    assert required(MIXED, app(zone="internet")) == [[ARCH, only("plain", "hygon", "cards")]]
    assert required(MIXED, app(zone="extranet")) == [[ARCH]]


def test_scarce_pools_are_left_to_those_who_need_them() -> None:
    assert spared(MIXED, app()) == ["hygon", "cards"]
    assert spared(MIXED, app(accelerators={"nvidia.com/gpu": 1})) == ["hygon"]
    assert spared(MIXED, app(domestic=True)) == []
    assert spared(cloud(pool("hygon", domestic=True)), app()) == [], "there is nothing else"


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({"maker": "hygon"}, [[ARCH, {"key": "maker", "operator": "In", "values": ["hygon"]}]]),
        ({}, [[ARCH]]),
    ],
)
def test_an_adopted_clusters_nodes_are_told_apart_by_the_pools_own_labels(
    labels: dict[str, str], expected: list[object]
) -> None:
    made = cloud(
        pool("plain"),
        pool("hygon", domestic=True, labels=labels),
        provider="kubernetes",
        kubernetes=KubernetesSettings(),
    )
    assert required(made, app(domestic=True)) == expected
    assert spared(made, app()) == []


@pytest.mark.parametrize(
    ("zone", "domestic", "expected"),
    [
        ("", False, [[ARCH]]),
        ("internet", False, [[ARCH, only("plain", "hygon", "cards")]]),
        ("extranet", False, [[ARCH]]),
        ("internet", True, [[ARCH, only("hygon")]]),
    ],
)
def test_a_capability_stays_on_the_pools_of_its_zone(zone: str, domestic: bool, expected: list[object]) -> None:
    store = Capability("application", "db", "postgresql", zone=zone, placement=PlacementRules(domestic=domestic))
    found = capability_affinity(MIXED, store, ("amd64",))
    assert found is not None
    required = found["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert [term["matchExpressions"] for term in required] == expected
    assert list(found["nodeAffinity"]) == ["requiredDuringSchedulingIgnoredDuringExecution"]


def test_one_real_node_stands_for_all_pools() -> None:
    made = cloud(pool("plain"), pool("hygon", domestic=True), local=LocalSettings("real"))
    assert required(made, app(domestic=True)) == [[ARCH]]


def test_stores_and_gateways_of_a_zone_are_registered_with_its_pools() -> None:
    zones = ("internet", "extranet", "ex")
    pools = (pool("outer", zones=("internet",)), pool("inner", zones=("extranet", "ex")))
    main = Cloud("main", "local", zones, pools, local=LocalSettings("simulated"))
    stores = (
        Capability("application", "postgresql", "postgresql", zone="extranet"),
        Capability("application", "gateway", "gateway", is_entry=True),
    )
    routed = cities.app("code", zone="extranet")
    recorded = cities.record_city(cities.city(routed, clouds=(main,), platforms=(Platform("application", stores),)))
    inner = [[ARCH, only("inner")]]
    for kind, name, expected in (
        ("StatefulSet", "platform-application-extranet/postgresql", inner),
        ("Deployment", "platform-application-extranet/gateway-extranet", inner),
        ("Deployment", "platform-application/gateway", [[ARCH]]),
    ):
        node_affinity = cities.one(recorded, kind, name).inputs["spec"]["template"]["spec"]["affinity"]["nodeAffinity"]
        terms = node_affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
        assert [term["matchExpressions"] for term in terms] == expected, name
