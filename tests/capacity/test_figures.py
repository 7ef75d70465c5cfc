"""From nodes, pods and claims to figures, without a cluster."""

from __future__ import annotations

from decimal import Decimal

from tests.capacity.objects import Object, claim, cloud, container, node, pod, pool
from wecityctl.capacity.figures import Tally, declared_pools, node_figures, pool_figures, troubles
from wecityctl.model.capacity import Amounts, CityFigures, CloudFigures, PoolFigures
from wecityctl.model.city import Cloud

GIB = 1024**3


def figures(
    made: Cloud, nodes: list[Object], *, pods: tuple[Object, ...] = (), claims: tuple[Object, ...] = ()
) -> tuple[PoolFigures, ...]:
    tally = Tally()
    tally.add_claims(claims)
    tally.add_pods(pods)
    return pool_figures(node_figures(nodes, tally, made), made)


def test_what_pods_ask_for_is_taken_from_their_nodes() -> None:
    pods = (
        pod(container("1500m", "3Gi")),
        pod(container("500m", "1Gi", **{"ephemeral-storage": "2Gi"}), on="n1"),
        pod(container("4"), phase="Succeeded"),
        pod(container("4"), phase="Failed"),
    )
    (found,) = figures(cloud(pool()), [node(), node("n1")], pods=pods)
    assert (found.nodes, found.ready, found.pods) == (2, 2, 2)
    assert found.capacity == Amounts(16000, 64 * GIB, 200 * GIB)
    assert found.allocated == Amounts(2000, 4 * GIB, 2 * GIB)
    assert found.free == Amounts(14000, 60 * GIB, 198 * GIB)


def test_a_volume_counts_once_where_a_pod_uses_it() -> None:
    tally = Tally()
    tally.add_claims([claim("data", "10Gi", bound="12Gi"), claim("left", "5Gi")])
    tally.add_pods([pod(container("1"), claim="data"), pod(container("1"), claim="data", on="n1", name="q")])
    found = {item.name: item.allocated.storage for item in node_figures([node(), node("n1")], tally, cloud(pool()))}
    assert found == {"n0": 12 * GIB, "n1": 0}
    assert tally.storage_by_node() == {"n0": 12 * GIB, "": 5 * GIB}


def test_nothing_is_free_where_no_pod_may_go() -> None:
    nodes = [
        node("ok"),
        node("down", ready="Unknown"),
        node("cordoned", cordoned=True),
        node("control", taints=({"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"},)),
        node("preferred", taints=({"key": "x", "effect": "PreferNoSchedule"},)),
    ]
    (found,) = figures(cloud(pool()), nodes)
    assert (found.nodes, found.ready) == (5, 4)
    assert found.free is not None
    assert (found.capacity.cpu, found.free.cpu) == (40000, 16000)


def test_the_mark_of_simulated_nodes_keeps_nobody_away_from_them() -> None:
    taint = {"key": "wecity.dev/simulated", "effect": "NoSchedule"}
    (simulated,) = figures(cloud(pool()), [node(labels={"wecity.dev/simulated": "true"}, taints=(taint,))])
    assert simulated.simulated
    assert simulated.free == simulated.capacity
    (real,) = figures(cloud(pool()), [node(taints=(taint,))])
    assert real.free == Amounts()


def test_an_overcommitted_node_takes_nothing_from_its_neighbour() -> None:
    (found,) = figures(cloud(pool()), [node(), node("n1")], pods=(pod(container("9")),))
    assert found.free is not None
    assert found.free.cpu == 8000


def test_rows_are_by_zone_pool_and_architecture_in_the_order_of_the_files() -> None:
    made = cloud(pool("b"), pool("a", architecture="arm64", domestic=True))
    nodes = [
        node("stray", architecture="riscv64"),
        node("a0", architecture="arm64", labels={"wecity.dev/pool": "a", "wecity.dev/zone": "extranet"}),
        node("b1", labels={"wecity.dev/pool": "b", "wecity.dev/zone": "extranet"}),
        node("b0", labels={"wecity.dev/pool": "b", "wecity.dev/zone": "internet"}),
    ]
    found = figures(made, nodes)
    assert [(item.pool, item.zones, item.architecture, item.domestic) for item in found] == [
        ("b", ("internet",), "amd64", False),
        ("b", ("extranet",), "amd64", False),
        ("a", ("extranet",), "arm64", True),
        ("", ("internet", "extranet"), "riscv64", False),
    ]


def test_accelerators_are_counted_by_their_names() -> None:
    pods = (pod(container("1", **{"nvidia.com/gpu": "3"})),)
    more = {"nvidia.com/gpu": "4", "hugepages-2Mi": "0", "attachable-volumes-x": "20"}
    (found,) = figures(cloud(pool()), [node(more=more)], pods=pods)
    assert found.capacity.accelerators == {"nvidia.com/gpu": 4}
    assert found.allocated is not None
    assert found.free is not None
    assert (found.allocated.accelerators, found.free.accelerators) == ({"nvidia.com/gpu": 3}, {"nvidia.com/gpu": 1})


def test_costs_follow_the_rate_card() -> None:
    (found,) = figures(cloud(pool()), [node()], pods=(pod(container("2", "10Gi")),))
    assert found.allocated_cost == Decimal("0.40")
    # 8 CPUs, 32 GiB, and 100 GiB at 0.73 a month of 730 hours.
    assert found.capacity_cost == Decimal("0.8") + Decimal("0.64") + Decimal("0.1")
    (free_of_charge,) = figures(cloud(pool(), prices=None), [node()])
    assert free_of_charge.capacity_cost is None


def test_what_the_files_declare_says_nothing_of_what_is_used() -> None:
    (found,) = declared_pools(cloud(pool(nodes=3, accelerators={"x.example/card": 2}, zones=("extranet",))))
    assert (found.source, found.nodes, found.ready, found.zones) == ("declared", 3, None, ("extranet",))
    assert found.capacity == Amounts(24000, 96 * GIB, 300 * GIB, {"x.example/card": 6})
    assert (found.allocated, found.free, found.pods) == (None, None, None)


def test_pods_without_a_node_say_what_they_ask_for_and_why_they_wait() -> None:
    message = (
        "0/2 nodes are available: 2 Insufficient cpu. no new claims to deallocate, preemption: 0/2 nodes are available"
    )
    status = {"conditions": [{"type": "PodScheduled", "status": "False", "message": message}]}
    tally = Tally()
    tally.add_pods([pod(container("32"), on="", phase="Pending", status=status) for _ in range(3)])
    found = tally.waiting_pods
    assert (found.pods, found.requests.cpu) == (3, 96000)
    assert found.reasons == {"unschedulable: 0/2 nodes are available: 2 Insufficient cpu.": 3}


def test_troubles_name_the_nodes_that_have_them() -> None:
    nodes = [
        node("a", ready="Unknown"),
        node("b", conditions=({"type": "MemoryPressure", "status": "True"},)),
        node("c"),
        node("d", cordoned=True),
    ]
    assert troubles(node_figures(nodes, Tally(), cloud(pool()))) == (
        "1 of 4 nodes: not ready: Kubelet (a)",
        "1 of 4 nodes: MemoryPressure (b)",
        "1 of 4 nodes: cordoned (d)",
    )


def test_the_city_is_the_sum_of_what_is_known() -> None:
    live_cloud = cloud(pool("d", domestic=True, architecture="arm64"))
    live = figures(live_cloud, [node(architecture="arm64")], pods=(pod(container("2")),))
    away = declared_pools(cloud(pool(nodes=1, cpu="24")))
    city = CityFigures(
        "x",
        (
            CloudFigures("one", "local", "", "live", "ok", live, currency="CNY"),
            CloudFigures("two", "local", "", "declared", "unreachable", away, currency="USD"),
        ),
    )
    assert city.total.allocated is not None
    assert (city.total.capacity.cpu, city.total.known.cpu, city.total.allocated.cpu) == (32000, 8000, 2000)
    assert city.by_architecture["amd64"].allocated is None
    assert (city.domestic.capacity.cpu, city.domestic.nodes) == (8000, 1)
    assert {name: part.capacity.cpu for name, part in city.by_architecture.items()} == {"amd64": 24000, "arm64": 8000}
    assert set(city.total.capacity_cost) == {"CNY", "USD"}
    assert city.total.allocated_cost == {"CNY": Decimal("0.2")}
