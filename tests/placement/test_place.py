"""Where things stand, what moves, what is left to the files, and what nothing has to be searched for."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from decimal import ROUND_FLOOR, Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.placement import made_city
from stacks.catalogue import load_catalogue
from tests.placement.cities import CATALOGUE
from tests.stacks.cities import app, application, city
from tests.support.some import some
from wecityctl.errors import ConfigurationError
from wecityctl.model.city import (
    App,
    Autoscale,
    Capability,
    City,
    Cloud,
    Component,
    KubernetesSettings,
    PlacementRules,
    Platform,
    Pool,
    Prices,
    Resources,
    Use,
)
from wecityctl.model.outputs import Endpoint, PlatformOutputs, TenantOutputs, outputs_from_json, to_json
from wecityctl.operations.cloud_moves import moves_within, require_confirmed
from wecityctl.placement import InfeasiblePlacementError, Placement, place
from wecityctl.placement.current import CurrentPlacement, placement_from, placement_of
from wecityctl.placement.filters import REPLICAS, amount_text
from wecityctl.placement.measure import broken
from wecityctl.placement.problem import build_problem
from wecityctl.placement.supply import watched_groups
from wecityctl.plan import make_plan

ROOM = Pool("general", "amd64", 4, "8", "64Gi", "1Ti")
WEB = Component("web", "registry.example/app:1", resources=Resources("1", "1Gi"))
HERE = Cloud("here", "local", ("internet",), (ROOM,), Prices(cpu_hour="0.10"))
THERE = Cloud("there", "local", ("internet",), (ROOM,), Prices(cpu_hour="0.20"))
TWO = (HERE, THERE)


def plain(name: str, **changes: Any) -> App:
    return app(name, components=(WEB,), route=None, **changes)


def test_a_city_of_one_cloud_needs_no_solver() -> None:
    code = (
        "import sys; from pathlib import Path; from wecityctl.session import open_session;"
        "open_session(Path('examples/xingcheng')); sys.exit('ortools' in sys.modules)"
    )
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


def test_what_stands_stays_where_it_is_dearer() -> None:
    small = city(plain("code"), clouds=TWO, platforms=())
    assert place(small, CATALOGUE).apps == {("health", "code"): "here"}
    stands = Placement({}, {("health", "code"): "there"}, "there")
    again = place(small, CATALOGUE, stands)
    assert again.apps == {("health", "code"): "there"}
    assert again.moves == ()


def test_a_pod_on_each_node_is_paid_for_and_reserved_on_each() -> None:
    logs = Platform("operations", (Capability("operations", "logs", "logs"),))
    whole = city(clouds=(HERE,), platforms=(logs,))
    # The store asks for 100m, and a shipper on each of four nodes for 30m and 48 MiB.
    assert place(whole, load_catalogue()).cost_per_hour == Decimal("0.022")
    (supply,) = build_problem(whole, load_catalogue()).clouds
    assert (supply.pools[0].node["cpu"], supply.pools[0].total["memory"]) == (7970, 4 * (64 * 2**20 - 48 * 2**10))


def test_a_cloud_that_lost_some_room_loses_no_more_than_it_must() -> None:
    apps = (plain("large"), plain("one"), plain("two"))
    stands = Placement({}, {("health", item.name): "here" for item in apps}, "here")
    smaller = (replace(HERE, pools=(replace(ROOM, nodes=1, cpu="2"),)), THERE)
    found = place(city(*apps, clouds=smaller, platforms=()), CATALOGUE, stands)
    assert len(found.moves) == 1
    assert (found.moves[0].source, found.moves[0].target) == ("here", "there")
    assert not found.moves[0].has_data


def test_data_moves_only_when_nothing_else_helps() -> None:
    database = Platform("application", (Capability("application", "postgresql", "postgresql", storage="1Gi"),))
    users = [plain(f"app-{number}") for number in range(7)]
    stands = Placement({"postgresql": "here"}, {("health", f"app-{n}"): "here" for n in range(7)}, "here")
    smaller = (replace(HERE, pools=(replace(ROOM, nodes=1, cpu="500m"),)), THERE)
    tiny = [replace(user, components=(replace(WEB, resources=Resources("100m", "1Gi")),)) for user in users]
    found = place(city(*tiny, clouds=smaller, platforms=(database,)), CATALOGUE, stands)
    assert found.capabilities == {"postgresql": "here"}
    assert [move.subject.split()[0] for move in found.moves] == ["app"] * 3


def test_a_capability_with_data_says_so_when_it_moves() -> None:
    database = Capability("application", "postgresql", "postgresql", cloud="there")
    stands = Placement({"postgresql": "here"}, {}, "here")
    found = place(city(clouds=TWO, platforms=(Platform("application", (database,)),)), CATALOGUE, stands)
    assert [str(move) for move in found.moves] == [
        "capability postgresql moves from cloud here to cloud there: it is made anew on there and starts empty there; "
        "its volumes stay behind unless their deletion is asked for; on here it is deleted"
    ]


def test_moves_need_a_confirmation_in_the_stacks_they_touch() -> None:
    whole = city(plain("code", cloud="there"), plain("bus", tenant="transport"), clouds=TWO, platforms=())
    stands = Placement({}, {("health", "code"): "here", ("transport", "bus"): "here"}, "here")
    found = place(whole, CATALOGUE, stands)
    plan = make_plan(whole, CATALOGUE, found)
    assert moves_within(found.moves, plan) == found.moves
    assert moves_within(found.moves, plan.only(["transport"])) == ()
    require_confirmed(found.moves, "xc", confirmed=True)
    require_confirmed((), "xc", confirmed=False)
    with pytest.raises(ConfigurationError, match="from one cloud to another") as caught:
        require_confirmed(found.moves, "xc", confirmed=False)
    assert "app health/code moves from cloud here to cloud there" in caught.value.details
    assert "--confirm=xc" in caught.value.resolution


def test_stacks_get_the_clouds_and_nothing_that_changes_with_every_look() -> None:
    whole = city(plain("code"), clouds=TWO, platforms=())
    found = place(whole, CATALOGUE, explain=True)
    assert found.decisions
    assert make_plan(whole, CATALOGUE, found).placement == Placement(found.capabilities, found.apps, found.entry)


def test_outputs_tell_where_things_stand() -> None:
    endpoint = Endpoint("cache", "cache", "valkey", "platform-application", "cache", 6379, {})
    platform = placement_of(PlatformOutputs("application", "here", (endpoint,)), "2026-01-01T00:00:00Z")
    tenant = placement_of(TenantOutputs("health", "there", (), (), ("code",)), "2026-01-02T00:00:00Z")
    assert platform is not None
    assert tenant is not None
    assert placement_from([tenant, platform]) == Placement({"cache": "here"}, {("health", "code"): "there"}, "")
    assert placement_of(TenantOutputs("health", "there", (), ())) is None
    assert placement_of(None) is None
    assert placement_from([]) is None


def test_what_is_in_two_stacks_stands_in_the_later_one() -> None:
    old = CurrentPlacement("here", (), (("health", "code"),), "2026-01-01T00:00:00Z")
    new = CurrentPlacement("there", (), (("health", "code"),), "2026-01-02T00:00:00Z")
    for order in ([old, new], [new, old]):
        found = placement_from(order)
        assert found is not None
        assert found.apps == {("health", "code"): "there"}


def test_outputs_of_an_earlier_version_say_nothing_of_apps() -> None:
    outputs = TenantOutputs("health", "here", ("health-internet",), (), ("code",))
    data = to_json(outputs)
    assert outputs_from_json("tenant", data) == outputs
    del data["apps"]
    assert outputs_from_json("tenant", data) == replace(outputs, apps=None)
    with pytest.raises(ValueError, match="this version expects"):
        outputs_from_json("tenant", {**data, "more": 1})
    del data["cloud"]
    with pytest.raises(ValueError, match="this version expects"):
        outputs_from_json("tenant", data)


def test_cost_is_that_of_what_always_runs_and_room_is_kept_for_the_most() -> None:
    scaled = replace(WEB, autoscale=Autoscale(2, 28, 70))
    found = place(city(app("code", components=(scaled,), route=None), clouds=(HERE,), platforms=()), CATALOGUE)
    assert found.cost_per_hour == Decimal("0.2")
    over = replace(scaled, autoscale=Autoscale(2, 40, 70))
    with pytest.raises(InfeasiblePlacementError, match="cannot be placed"):
        place(city(app("code", components=(over,), route=None), clouds=(HERE,), platforms=()), CATALOGUE)


def test_a_suspended_app_keeps_its_room_and_costs_nothing() -> None:
    found = place(city(plain("code", stage="suspended"), clouds=TWO, platforms=()), CATALOGUE)
    assert found.apps == {("health", "code"): "here"}
    assert found.cost_per_hour == 0


def test_a_cloud_without_prices_draws_nothing() -> None:
    unpriced = replace(HERE, prices=None)
    found = place(city(plain("code"), clouds=(unpriced, THERE), platforms=()), CATALOGUE, explain=True)
    # As dear as the dearest, so the first of equals; its own cost is not known.
    assert found.cost_per_hour == Decimal("0.2")
    dearer = replace(THERE, name="dear", prices=Prices(cpu_hour="0.90"))
    found = place(city(plain("code"), clouds=(unpriced, THERE, dearer), platforms=()), CATALOGUE, explain=True)
    assert found.apps == {("health", "code"): "there"}


def test_the_entry_is_where_the_gateway_is_or_the_first_ingress_class() -> None:
    whole = city(app("code"), clouds=TWO, platforms=(application(),))
    pinned = replace(whole, apps=(replace(whole.apps[0], cloud="there"),))
    assert place(pinned, load_catalogue()).entry == "there"
    adopted = Cloud("own", "kubernetes", ("internet",), kubernetes=KubernetesSettings(ingress_class="nginx"))
    found = place(city(app("code"), clouds=(HERE, adopted), platforms=()), CATALOGUE)
    assert found.entry == "own"
    assert found.apps == {("health", "code"): "own"}


def test_an_app_shares_the_cloud_of_a_capability_that_cannot_be_reached_from_elsewhere() -> None:
    whole = city(app("code", uses=(Use("postgresql", "db"),), route=None), clouds=TWO, platforms=(application(),))
    pinned = replace(whole.platforms[0].capabilities[1], cloud="there")
    platform = replace(whole.platforms[0], capabilities=(pinned,))
    assert place(replace(whole, platforms=(platform,)), load_catalogue()).apps == {("health", "code"): "there"}


def test_groups_of_pools_are_closed_under_overlap() -> None:
    a, b, c = frozenset({0, 1}), frozenset({1, 2}), frozenset({3})
    assert set(watched_groups({a, b, c, frozenset()})) == {a, b, c, a | b}


@pytest.mark.slow
def test_a_large_city_is_placed_near_its_best_and_the_same_each_time() -> None:
    large = made_city(200)
    found = place(large, load_catalogue())
    problem = build_problem(large, load_catalogue())
    names = [cloud.name for cloud in problem.clouds]
    assignment = [names.index(found.cloud_of(item.key)) for item in problem.items]
    assert list(broken(problem, assignment)) == []
    assert found.gap <= 0.0005
    assert place(large, load_catalogue()) == found
    assert place(replace(large, apps=large.apps[::-1]), load_catalogue()).bare.apps == found.apps


@pytest.mark.slow
def test_one_app_more_in_a_large_city_moves_nothing() -> None:
    large = made_city(250)
    before = place(replace(large, apps=large.apps[:-1]), load_catalogue())
    after = place(large, load_catalogue(), before)
    assert after.moves == ()
    assert {key: after.apps[key] for key in before.apps} == dict(before.apps)


@pytest.mark.slow
def test_the_conflict_of_a_large_city_is_a_few_lines() -> None:
    large = made_city(200)
    smaller = {cloud.name: tuple(replace(pool, nodes=1, cpu="16") for pool in cloud.pools) for cloud in large.clouds}
    crowded = replace(large, clouds=tuple(replace(cloud, pools=smaller[cloud.name]) for cloud in large.clouds))
    with pytest.raises(InfeasiblePlacementError) as caught:
        place(crowded, load_catalogue())
    assert 1 < len(caught.value.conflict) < 20
    assert any(constraint.kind == "capacity" for constraint in caught.value.conflict)


def test_the_reason_for_a_group_that_is_together_counts_all_that_would_go() -> None:
    def member(name: str, group: str, colocations: tuple[str, ...] = ()) -> App:
        return plain(name, placement=PlacementRules(spread=group, affinity=colocations))

    whole = city(member("one", "g"), member("two", "g", ("one",)), clouds=TWO, platforms=())
    found = place(whole, CATALOGUE, explain=True)
    for decision in some(found.decisions):
        (refusal,) = decision.refused
        assert (decision.cloud, refusal.kind) == ("here", "cost")
        assert refusal.text == "0.2 CNY an hour dearer, with 1 more that must be with it"


def _conflict_texts(whole: City) -> list[str]:
    with pytest.raises(InfeasiblePlacementError) as caught:
        place(whole, CATALOGUE)
    return [constraint.text for constraint in caught.value.conflict]


def test_room_is_told_as_the_files_have_it_and_what_of_it_is_kept_free() -> None:
    def crowded(pool: Pool, **asked: Any) -> list[str]:
        component = replace(WEB, replicas=4, resources=Resources(**asked))
        return _conflict_texts(
            city(app("a", components=(component,), route=None), clouds=(replace(HERE, pools=(pool,)),), platforms=())
        )

    pool = Pool("general", "amd64", 4, "10", "64Gi", "1Ti", accelerators={"nvidia.com/gpu": 1})
    assert crowded(pool, cpu="9500m", memory="1Gi") == [
        "pool general of cloud here: 36 of 40 CPU can be filled (a tenth is left free where there are several nodes), "
        "and app health/a asks for 38 CPU"
    ]
    assert crowded(pool, cpu="1", memory="61000000Ki") == [
        "pool general of cloud here: 230.4Gi of 256Gi of memory can be filled (a tenth is left free where there are "
        "several nodes), and app health/a asks for 232.7Gi of memory"
    ]
    few = replace(pool, nodes=2, cpu="64")
    assert crowded(few, cpu="1", memory="1Gi", accelerators={"nvidia.com/gpu": 1}) == [
        "pool general of cloud here: there are 2 nvidia.com/gpu, and app health/a asks for 4 nvidia.com/gpu"
    ]


def test_a_replica_that_fits_on_no_node_is_told_the_largest() -> None:
    pool = Pool("general", "amd64", 4, "10", "64Gi", "1Ti", accelerators={"nvidia.com/gpu": 1})
    other = replace(pool, name="wide", cpu="8", memory="128Gi", accelerators={})
    clouds = (replace(HERE, pools=(pool, other)),)

    def texts(**asked: Any) -> str:
        component = replace(WEB, resources=Resources(**asked))
        return _conflict_texts(city(app("a", components=(component,), route=None), clouds=clouds, platforms=()))[0]

    assert texts(cpu="12", memory="1Gi").endswith("asks for 12 CPU and 1Gi of memory, and no node has more than 10 CPU")
    assert texts(cpu="9", memory="100Gi").endswith("asks for 9 CPU and 100Gi of memory, and no node has all of it")
    assert texts(cpu="1", memory="1Gi", accelerators={"nvidia.com/gpu": 2}).endswith(
        "a replica asks for 2 nvidia.com/gpu, and no node has more than 1 nvidia.com/gpu"
    )


@pytest.mark.parametrize(
    ("resource", "amount", "text"),
    [
        ("cpu", 3103500, "3103.5 CPU"),
        ("memory", 2147483750 * 1024**2, "2Ei of memory"),
        ("memory", 1536 * 1024, "1.5Gi of memory"),
        ("storage", 1000 * 1024, "1000Mi of storage"),
        ("memory", 0, "0Ki of memory"),
        ("nvidia.com/gpu", 2, "2 nvidia.com/gpu"),
    ],
)
def test_amounts_are_in_the_unit_that_suits_them(resource: str, amount: int, text: str) -> None:
    assert amount_text(resource, amount, ROUND_FLOOR) == text


def test_a_ring_is_told_link_by_link() -> None:
    order = ["d", "a", "g", "b", "h", "c"]
    links = dict(pairwise(order))
    apps = [
        plain(
            name,
            placement=PlacementRules(
                affinity=(links[name],) if name in links else (), anti_affinity=() if name in links else (order[0],)
            ),
        )
        for name in sorted(order)
    ]
    texts = _conflict_texts(city(*apps, clouds=TWO, platforms=()))
    assert len(texts) == len(order)
    ends = [tuple(word.removeprefix("health/") for word in text.split() if "health/" in word) for text in texts]
    assert all(ends[index][1] == ends[index + 1][0] for index in range(len(ends) - 1))


def test_replicas_larger_than_half_a_node_need_a_node_each() -> None:
    pool = Pool("general", "amd64", 8, "64", "640Gi", "1Ti")

    def asking(many: int) -> City:
        part = replace(WEB, replicas=many, resources=Resources("33", "1Gi"))
        return city(
            app("a", components=(part,), route=None), clouds=(replace(HERE, pools=(pool,)), THERE), platforms=()
        )

    assert place(asking(8), CATALOGUE).apps == {("health", "a"): "here"}
    texts = _conflict_texts(replace(asking(10), clouds=asking(10).clouds[:1]))
    assert texts == [
        "pool general of cloud here: its nodes hold 8 replicas of 33 CPU or more, and app health/a asks for 10 replicas"
    ]


def test_a_conflict_names_who_has_to_be_where_there_is_no_room() -> None:
    """Neither what is pinned elsewhere nor what could go elsewhere, but what follows something that cannot."""
    small = replace(HERE, pools=(Pool("general", "amd64", 1, "8", "64Gi", "1Ti"),))
    wide = replace(THERE, pools=(Pool("wide", "amd64", 9, "64", "640Gi", "1Ti"),))

    def asking(name: str, cloud: str = "", colocations: tuple[str, ...] = ()) -> App:
        part = replace(WEB, replicas=1, resources=Resources("5", "1Gi"))
        rules = PlacementRules(affinity=colocations)
        return app(name, components=(part,), route=None, cloud=cloud, placement=rules)

    apps = (asking("one", "here"), asking("two", colocations=("one",)), asking("three", "there"), asking("four"))
    with pytest.raises(InfeasiblePlacementError) as caught:
        place(city(*apps, clouds=(small, wide), platforms=()), CATALOGUE)
    (full,) = (item for item in caught.value.conflict if item.kind == "capacity")
    assert full.text.endswith("and app health/one and app health/two together ask for 10 CPU")
    assert full.subjects == ("cloud here", "app health/one", "app health/two")
    # Where all goes well, what is told of one thing names no other.
    roomy = replace(small, pools=(replace(small.pools[0], cpu="16"),))
    found = place(city(*apps, asking("five"), clouds=(roomy, wide), platforms=()), CATALOGUE, explain=True)
    told = [item for each in found.decisions for refusal in each.refused for item in refusal.constraints]
    capacity = [item.text for item in told if item.kind == "capacity"]
    assert capacity
    assert not [text for text in capacity if "app " in text or "may land" in text]


def _asking(cpu: str, memory: str, replicas: int, **accelerators: int) -> Component:
    return replace(WEB, replicas=replicas, resources=Resources(cpu, memory, accelerators))


def test_pods_that_fit_by_every_sum_and_not_side_by_side_go_elsewhere() -> None:
    """Two pods want most of a node's memory, and neither leaves the CPUs that the third wants."""
    nodes = replace(HERE, pools=(Pool("general", "amd64", 2, "4", "8Gi", "1Ti"),))
    apps = (
        app("memory", components=(_asking("1500m", "5Gi", 2),), route=None),
        app("compute", components=(_asking("3", "1Gi", 1),), route=None),
    )
    found = place(city(*apps, clouds=(nodes, THERE), platforms=()), CATALOGUE, explain=True)
    assert sorted(found.apps.values()) == ["here", "there"]
    (away,) = (decision for decision in found.decisions if decision.cloud == "there")
    (refusal,) = away.refused
    assert (refusal.cloud, refusal.kind) == ("here", "capacity")
    assert refusal.text.startswith("its nodes do not hold the pods side by side; cloud here")
    assert _conflict_texts(city(*apps, clouds=(nodes,), platforms=())) == [
        "cloud here holds only pods that fit on its nodes side by side: "
        "general has 2 nodes of 4 CPU, 8Gi of memory and 1Ti of storage; "
        "app health/compute and app health/memory do not"
    ]


def test_accelerators_are_packed_with_what_else_a_pod_wants() -> None:
    nodes = replace(HERE, pools=(Pool("gpu", "amd64", 2, "32", "128Gi", "1Ti", {}, {"gpu": 8}),))

    def fits(*parts: Component) -> bool:
        try:
            place(city(app("a", components=parts, route=None), clouds=(nodes,), platforms=()), CATALOGUE)
        except InfeasiblePlacementError:
            return False
        return True

    five, three = (replace(_asking("4", "8Gi", many, gpu=gpus), name=f"gpu-{gpus}") for gpus, many in ((5, 2), (3, 2)))
    assert fits(five, three)
    assert not fits(replace(five, replicas=3))
    assert not fits(five, replace(three, resources=Resources("4", "8Gi", {"gpu": 4})))
    # There are accelerators and CPUs enough, and none of the nodes has both left.
    wide = replace(_asking("22", "8Gi", 2), name="wide")
    assert fits(wide, replace(three, replicas=2, resources=Resources("6", "8Gi", {"gpu": 3})))
    assert not fits(wide, replace(three, replicas=1, resources=Resources("11", "8Gi", {"gpu": 3})))


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 8), st.integers(1, 2)), min_size=1, max_size=3),
    st.lists(st.tuples(st.integers(1, 8), st.integers(1, 3)), min_size=1, max_size=4),
)
def test_replicas_that_can_be_packed_are_never_too_many(
    nodes: list[tuple[int, int]], asked: list[tuple[int, int]]
) -> None:
    pools = tuple(Pool(f"p{n}", "amd64", many, str(cpu), "64Gi", "1Ti") for n, (cpu, many) in enumerate(nodes))
    apps = [
        app(f"a{n}", components=(replace(WEB, replicas=many, resources=Resources(str(cpu), "1Gi")),), route=None)
        for n, (cpu, many) in enumerate(asked)
    ]
    problem = build_problem(city(*apps, clouds=(replace(HERE, pools=pools),), platforms=()), CATALOGUE)
    counted = [room for room in problem.capacities if room.resource == REPLICAS]
    left = [cpu for cpu, many in nodes for _ in range(many)]
    replicas = sorted((cpu for cpu, many in asked for _ in range(many)), reverse=True)
    if counted:
        assert not _packs(left, replicas)


def _packs(left: list[int], replicas: list[int]) -> bool:
    """Whether the replicas fit on the nodes, each way tried."""
    if not replicas:
        return True
    first, rest = replicas[0], replicas[1:]
    return any(
        _packs([*left[:n], room - first, *left[n + 1 :]], rest)
        for n, room in enumerate(left)
        if room >= first and room not in left[:n]
    )
