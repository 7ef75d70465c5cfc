"""Small cities by chance, and every placement of one: what the solver's answers are held against."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import product

from hypothesis import strategies as st

from wecityctl.model.catalogue import Binding, CapabilityType, CapabilityUse, Pods, Port
from wecityctl.model.city import (
    App,
    Capability,
    City,
    Cloud,
    Compliance,
    Component,
    Flow,
    Images,
    PlacementRules,
    Platform,
    Pool,
    Prices,
    Quota,
    Resources,
    Route,
    Tenant,
    Use,
    Zone,
)
from wecityctl.placement.conflict import constraints_of
from wecityctl.placement.measure import Score, broken, score
from wecityctl.placement.model import Constraint, Placement
from wecityctl.placement.problem import Assignment, Problem


def _type(name: str, port: int, *, requires: tuple[str, ...] = ()) -> CapabilityType:
    storage = "1Gi" if name == "postgresql" else ""
    return CapabilityType(
        name,
        "application",
        name,
        ("plain",),
        "MIT",
        "tests:none",
        (Port("http", port),),
        (),
        (Pods(storage=storage, max_replicas=8),),
        Binding("http"),
        tuple(CapabilityUse(item, item) for item in requires),
        entry=name == "gateway",
    )


CATALOGUE = {
    item.name: item
    for item in (
        _type("gateway", 8080),
        _type("postgresql", 5432),
        _type("cache", 6379),
        _type("identity", 8443, requires=("postgresql",)),
    )
}
ZONES = (Zone("internet", "internet"), Zone("office", "internet"))
FLOWS = (
    Flow("internet", "internet", (5432,), "bureau", "test"),
    Flow("office", "internet", (6379,), "bureau", "test"),
    Flow("internet", "office", (8080,), "bureau", "test"),
)

pools = st.builds(
    lambda number, arch, nodes, cpu, zones, domestic, gpu, disk: Pool(
        f"p{number}", arch, nodes, str(cpu), f"{cpu}Gi", disk, {}, {"gpu": gpu} if gpu else {}, zones, domestic
    ),
    st.integers(0, 0),
    st.sampled_from(["amd64", "arm64"]),
    st.integers(1, 2),
    st.integers(1, 6),
    st.sampled_from([(), ("internet",), ("office",)]),
    st.booleans(),
    st.sampled_from([0, 0, 2, 3]),
    st.sampled_from(["1536Mi", "1Ti"]),
)


@st.composite
def clouds(draw: st.DrawFn) -> tuple[Cloud, ...]:
    found = []
    for number in range(draw(st.integers(1, 3))):
        own = draw(st.lists(pools, max_size=2))
        prices = draw(st.sampled_from([None, Prices(cpu_hour="0.1"), Prices(cpu_hour="0.3", memory_gib_hour="0.01")]))
        zones = draw(st.sampled_from([("internet", "office"), ("internet",), ("office", "internet")]))
        found.append(
            Cloud(
                f"c{number}",
                draw(st.sampled_from(["local", "local", "kubernetes"])),
                zones,
                tuple(Pool(f"p{i}", *_rest(pool)) for i, pool in enumerate(own)),
                prices,
                region=draw(st.sampled_from(["", "here", "there"])),
            )
        )
    return tuple(found)


def _rest(pool: Pool) -> tuple[object, ...]:
    return (
        pool.architecture,
        pool.nodes,
        pool.cpu,
        pool.memory,
        pool.storage,
        pool.labels,
        pool.accelerators,
        pool.zones,
        pool.domestic,
    )


@st.composite
def rules(draw: st.DrawFn) -> PlacementRules:
    names = st.lists(st.sampled_from(["a0", "a1", "t/a2", "cache"]), max_size=1).map(tuple)
    return PlacementRules(
        draw(st.integers(0, 9)) == 0,
        draw(names) if draw(st.booleans()) else (),
        draw(names) if draw(st.booleans()) else (),
        draw(st.sampled_from(["", "", "g"])),
    )


@st.composite
def cities(draw: st.DrawFn, *, most: int = 4) -> City:
    """A city of at most three clouds, three capabilities and `most` apps, with all constraints that there are."""
    over = draw(clouds())
    pins = st.sampled_from(["", "", "", "", *(cloud.name for cloud in over)])
    kinds = draw(st.lists(st.sampled_from(sorted(CATALOGUE)), max_size=3, unique=True))
    if "identity" in kinds and "postgresql" not in kinds:
        kinds.append("postgresql")
    capabilities = tuple(
        Capability("application", kind, kind, zone=draw(st.sampled_from(["", "internet"])), cloud=draw(pins))
        for kind in kinds
    )
    usable = [kind for kind in kinds if kind != "gateway"]
    apps = []
    for number in range(draw(st.integers(1, most))):
        uses = draw(st.lists(st.sampled_from(usable), max_size=2, unique=True)) if usable else []
        apps.append(
            App(
                f"a{number}",
                "t",
                draw(st.sampled_from(["published", "published", "reviewed", "draft"])),
                draw(st.sampled_from(["internet", "internet", "office"])),
                draw(st.sampled_from(["L1", "L2", "L3"])),
                (_component(draw),),
                tuple(Use(name, name) for name in uses),
                route=Route(f"a{number}") if draw(st.integers(0, 3)) == 0 else None,
                cloud=draw(pins),
                placement=draw(rules()),
            )
        )
    return City(
        "xc",
        "xc.example",
        ZONES,
        over,
        (Platform("application", capabilities),) if capabilities else (),
        (Tenant("t", "t", "digital-government", Quota("100", "1Ti", "1Ti")),),
        tuple(apps),
        Compliance(regions=draw(st.sampled_from([(), (), ("here",)]))),
        draw(st.sampled_from([(), FLOWS])),
        Images(architectures=("amd64", "arm64")),
    )


def _component(draw: st.DrawFn) -> Component:
    gpu = {"gpu": draw(st.integers(1, 2))} if draw(st.integers(0, 5)) == 0 else {}
    return Component(
        "web",
        "web:1",
        draw(st.integers(1, 3)),
        {"http": 8080},
        Resources(draw(st.sampled_from(["500m", "1", "2", "3"])), draw(st.sampled_from(["512Mi", "1Gi", "2Gi"])), gpu),
        architectures=draw(st.sampled_from([("amd64",), ("arm64",), ("amd64", "arm64")])),
    )


def assignments(problem: Problem) -> Iterator[Assignment]:
    """Every way to give clouds to items."""
    return product(range(len(problem.clouds)), repeat=len(problem.items))


def best(problem: Problem) -> Score | None:
    """The best score of all placements that obey everything."""
    plain, crowded = _without_nodes(problem), _crowded(problem)
    return min(
        (
            score(problem, found)
            for found in assignments(problem)
            if next(broken(plain, found), None) is None and not any(crowded(found))
        ),
        default=None,
    )


def can_hold(problem: Problem, wanted: set[Constraint]) -> bool:
    """Whether some placement obeys all of `wanted`, whatever else it breaks.

    Of a clause, all constraints are broken or none: it takes one that is not wanted to let it go.
    """
    plain, crowded = _without_nodes(problem), _crowded(problem)
    return any(
        _obeys(plain, found, wanted) and not any(constraint in wanted for constraint in crowded(found))
        for found in assignments(problem)
    )


def _without_nodes(problem: Problem) -> Problem:
    return replace(problem, nodes=tuple(None for _ in problem.nodes))


def _crowded(problem: Problem) -> Callable[[Assignment], Iterator[Constraint]]:
    """The clouds of an assignment whose pods do not all have a node, by their constraint."""
    known: dict[tuple[int, tuple[int, ...]], bool] = {}

    def crowded(assignment: Assignment) -> Iterator[Constraint]:
        for cloud, nodes in enumerate(problem.nodes):
            here = tuple(item for item, chosen in enumerate(assignment) if chosen == cloud)
            if nodes is not None and (cloud, here) not in known:
                known[cloud, here] = packs(problem, here, cloud)
            if nodes is not None and not known[cloud, here]:
                yield nodes.constraint

    return crowded


def _obeys(problem: Problem, found: Assignment, wanted: set[Constraint]) -> bool:
    for item, cloud in enumerate(found):
        if any(set(clause.constraints) <= wanted for clause in problem.refusals[item][cloud]):
            return False
    own = {
        constraint
        for row in problem.refusals
        for clauses in row
        for clause in clauses
        for constraint in clause.constraints
    }
    return not any(constraint in wanted for constraint in broken(problem, found) if constraint not in own)


def assignment_of(problem: Problem, placement: Placement) -> Assignment:
    """The placement as numbers."""
    names = [cloud.name for cloud in problem.clouds]
    return tuple(names.index(placement.cloud_of(item.key)) for item in problem.items)


def every_constraint(problem: Problem) -> set[Constraint]:
    return set(constraints_of(problem))


def packs(problem: Problem, items: Sequence[int], cloud: int) -> bool:
    """Whether each pod of the items has a node of the cloud, by trying every pod on every node, one after the other.

    Volumes lie on the nodes of an embedded cloud alone.
    """
    offer = problem.clouds[cloud]
    free = [
        (index, {**each.node, **({} if offer.cloud.provider == "local" else {"storage": 10**18})})
        for index, each in enumerate(offer.pools)
        for _ in range(each.pool.nodes)
    ]
    pods = [
        (workload.replica, problem.eligible_pools[item][cloud][number])
        for item in items
        for number, workload in enumerate(problem.items[item].workloads)
        if problem.eligible_pools[item][cloud][number]
        for _ in range(workload.room["cpu"] // workload.replica["cpu"])
    ]

    def put(number: int) -> bool:
        if number == len(pods):
            return True
        size, landing = pods[number]
        tried = []
        for pool, left in free:
            if pool not in landing or any(left.get(name, 0) < amount for name, amount in size.items()):
                continue
            if (pool, left) in tried:
                continue
            tried.append((pool, dict(left)))
            for name, amount in size.items():
                left[name] -= amount
            found = put(number + 1)
            for name, amount in size.items():
                left[name] += amount
            if found:
                return True
        return False

    return put(0)
