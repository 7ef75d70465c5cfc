"""Decides whether the pods of a cloud fit on its nodes, with every resource of each node at once.

Summed capacities of pools do not tell: three pods of five GPUs are fewer than the sixteen of two nodes, but one of them
fits on no node. Here pods are assigned to nodes, first greedily. If that fails, the solver finds an assignment or
proves that there is none. Items that do not fit together become a `PackingConflict`, which the search then obeys.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from wecityctl.model.words import counted
from wecityctl.placement.demand import CPU, MEMORY, STORAGE, Item
from wecityctl.placement.filters import EligiblePools, amount_text, listed
from wecityctl.placement.model import Constraint, Source
from wecityctl.placement.supply import CloudSupply

Size = tuple[int, ...]
# A pod's size by resource, and its eligible pools.
Shape = tuple[Size, frozenset[int]]
# Nodes by pool and free amounts.
Left = Counter[tuple[int, Size]]
# The pods of one item: its shapes and their numbers. Items with equal pods are interchangeable.
Pods = tuple[tuple[Shape, int], ...]
# The solver is asked up to this number of shapes times nodes; for larger cases only the scheduler knows.
_MOST_CHOICES = 3000
# The parts of a size that decide how empty a node is: CPU and memory.
_COMPUTE = (0, 1)
# Limit of solver calls for the smallest set that does not fit; beyond it, a set may not be minimal.
_MOST_PROOFS = 60
# Limit of one solver call in the solver's deterministic time.
_LIMIT = 1.0


@dataclass(frozen=True, slots=True)
class Nodes:
    """The nodes of a cloud's pools, by number and size, and the items' pods there.

    `resources` names the parts of sizes; those in `devices` are accelerators.
    """

    resources: tuple[str, ...]
    pools: tuple[tuple[int, Size], ...]
    pods: tuple[Pods, ...]
    devices: slice
    constraint: Constraint


@dataclass(frozen=True, slots=True)
class PackingConflict:
    """Items that do not fit together on a cloud's nodes: `groups` of equal items, each with the number that is too
    many.
    """

    cloud: int
    groups: tuple[tuple[frozenset[int], int], ...]
    constraint: Constraint


def nodes_of(
    items: Sequence[Item], clouds: Sequence[CloudSupply], eligible_pools: EligiblePools
) -> tuple[Nodes | None, ...]:
    """The nodes of each cloud; `None` for a cloud without pools, whose nodes are unknown."""
    return tuple(
        _nodes(cloud, items, [each[number] for each in eligible_pools]) if cloud.pools else None
        for number, cloud in enumerate(clouds)
    )


def _nodes(cloud: CloudSupply, items: Sequence[Item], eligible_pools: Sequence[Sequence[frozenset[int]]]) -> Nodes:
    # Volumes of an embedded cloud are on a node's disk. Those of other clouds are in separate storage.
    plain = [CPU, MEMORY, *([STORAGE] if cloud.cloud.provider == "local" else [])]
    resources = [*plain, *sorted({name for pool in cloud.pools for name in pool.pool.accelerators})]

    def shapes(item: Item, pools: Sequence[frozenset[int]]) -> Pods:
        found: Counter[Shape] = Counter()
        for workload, landing in zip(item.workloads, pools, strict=True):
            size = tuple(workload.replica.get(name, 0) for name in resources)
            many = next((workload.room[name] // one for name, one in workload.replica.items() if one), 0)
            if many and landing:
                found[size, landing] += many
        return tuple(sorted(found.items(), key=repr))

    pods = tuple(shapes(item, pools) for item, pools in zip(items, eligible_pools, strict=True))
    pools = tuple((each.pool.nodes, tuple(each.node.get(name, 0) for name in resources)) for each in cloud.pools)
    return Nodes(tuple(resources), pools, pods, slice(len(plain), None), _constraint(cloud, resources))


def _constraint(cloud: CloudSupply, resources: Sequence[str]) -> Constraint:
    pools = [
        f"{each.pool.name} has {counted(each.pool.nodes, 'node')} of"
        f" {listed([amount_text(name, each.node[name]) for name in resources if each.node.get(name)])}"
        for each in cloud.pools
    ]
    text = f"cloud {cloud.name} holds only pods that fit on its nodes side by side: {listed(pools)}{cloud.less}"
    return Constraint("capacity", (f"cloud {cloud.name}",), text, Source("Cloud", cloud.name, ("spec", "pools")))


def conflicts(nodes: Sequence[Nodes | None], assignment: Sequence[int]) -> Iterator[PackingConflict]:
    """A smallest packing conflict for each cloud whose pods do not fit on its nodes."""
    for cloud, own in enumerate(nodes):
        if own is None:
            continue
        here = pods_on(own, assignment, cloud)
        if not fits(own, here):
            least = _smallest(own, here)
            groups = {pods: frozenset(item for item, each in enumerate(own.pods) if each == pods) for pods in least}
            yield PackingConflict(cloud, tuple((groups[pods], many) for pods, many in least.items()), own.constraint)


def pods_on(nodes: Nodes, assignment: Sequence[int], cloud: int) -> Counter[Pods]:
    """The number of items by their pods that the assignment puts on a cloud with the given nodes."""
    return Counter(nodes.pods[item] for item, chosen in enumerate(assignment) if chosen == cloud and nodes.pods[item])


def _smallest(nodes: Nodes, here: Mapping[Pods, int]) -> dict[Pods, int]:
    """A minimal number of each kind that does not fit: without any one item they fit, as far as was checked."""
    kept, asked = dict(here), 0
    for pods in here:
        low, high = 0, kept[pods]
        while low < high:
            middle = (low + high) // 2
            shapes = shapes_of({**kept, pods: middle})
            fit = left_over(nodes, shapes) is not None or asked >= _MOST_PROOFS
            if not fit:
                asked, fit = asked + 1, _may_fit(nodes, shapes)
            if fit:
                low = middle + 1
            else:
                high = middle
        kept[pods] = low
    return {pods: many for pods, many in kept.items() if many}


def fits(nodes: Nodes, items: Mapping[Pods, int]) -> bool:
    """Whether these items fit together on the nodes.

    If the problem is too large for a proof and the greedy assignment fails, they are assumed to fit.
    """
    shapes = shapes_of(items)
    return left_over(nodes, shapes) is not None or _may_fit(nodes, shapes)


def shapes_of(items: Mapping[Pods, int]) -> Counter[Shape]:
    """The number of pods of each shape."""
    shapes: Counter[Shape] = Counter()
    for pods, many in items.items():
        for shape, each in pods:
            shapes[shape] += each * many
    return shapes


def left_over(nodes: Nodes, shapes: Mapping[Shape, int]) -> Left | None:
    """The free amounts of the nodes after a greedy assignment of the pods; `None` if that fails.

    Pods with the fewest pools, with devices, or with large sizes come first. They are spread over the nodes, as by the
    scheduler; if that fails, each is put on the fullest node with enough free capacity.
    """
    largest = tuple(max((size[part] for _, size in nodes.pools), default=0) for part in range(len(nodes.resources)))

    def order(shape: Shape) -> tuple[object, ...]:
        size, pools = shape
        share = sum(part / most for part, most in zip(size, largest, strict=True) if part and most)
        return (len(pools), not any(size[nodes.devices]), -share, size, sorted(pools))

    ordered = sorted(shapes, key=order)
    for put in (_spread, _stack):
        left = Counter({(pool, size): many for pool, (many, size) in enumerate(nodes.pools) if many})
        if all(put(nodes, left, shape, shapes[shape]) for shape in ordered):
            return left
    return None


def holds_more(nodes: Nodes, left: Left, items: Mapping[Pods, int]) -> bool:
    """Whether the items fit into the free amounts, without moving other pods."""
    rest = left.copy()
    return all(_spread(nodes, rest, shape, many) for shape, many in shapes_of(items).items())


def _spread(nodes: Nodes, left: Left, shape: Shape, many: int) -> bool:
    """Put `many` pods of a shape on the emptiest nodes, one per node among equal ones; nodes with unneeded devices
    last.
    """
    size, _ = shape
    wanted = any(size[nodes.devices])

    def rank(node: tuple[int, Size]) -> tuple[int, float, Size]:
        pool, free = node
        whole = nodes.pools[pool][1]
        emptiness = min((free[part] - size[part]) / whole[part] if whole[part] else 0.0 for part in _COMPUTE)
        return (0 if wanted else -sum(free[nodes.devices]), emptiness, free)

    while many:
        node = max(_with_room(left, shape), key=rank, default=None)
        if node is None:
            return False
        many -= _take(left, node, size, min(left[node], many))
    return True


def _stack(nodes: Nodes, left: Left, shape: Shape, many: int) -> bool:
    """Put `many` pods of a shape on the fullest nodes, as many on each as fit; nodes with unneeded devices last."""
    size, _ = shape
    wanted = any(size[nodes.devices])

    def rank(node: tuple[int, Size]) -> tuple[int, Size, int]:
        pool, free = node
        return (0 if wanted else sum(free[nodes.devices]), free, pool)

    while many:
        node = min(_with_room(left, shape), key=rank, default=None)
        if node is None:
            return False
        each = min((have // want for have, want in zip(node[1], size, strict=True) if want), default=many)
        each = min(each, many)
        taken = min(left[node], many // each)
        many -= each * _take(left, node, tuple(part * each for part in size), taken)
    return True


def _with_room(left: Left, shape: Shape) -> Iterator[tuple[int, Size]]:
    """The nodes that are eligible for a pod of the shape and have enough free capacity."""
    size, pools = shape
    for pool, free in left:
        if pool in pools and all(have >= want for have, want in zip(free, size, strict=True)):
            yield pool, free


def _take(left: Left, node: tuple[int, Size], size: Size, many: int) -> int:
    """Take `size` from `many` of the nodes equal to `node`; returns `many`."""
    left[node] -= many
    if not left[node]:
        del left[node]
    left[node[0], tuple(have - want for have, want in zip(node[1], size, strict=True))] += many
    return many


def _may_fit(nodes: Nodes, shapes: Mapping[Shape, int]) -> bool:
    """Whether the solver finds an assignment or cannot decide within its limit.

    Too large problems count as undecided.
    """
    if len(shapes) * sum(many for many, _ in nodes.pools) > _MOST_CHOICES:
        return True
    from ortools.sat.python import cp_model

    model = cp_model.CpModel()
    places = [(pool, size) for pool, (many, size) in enumerate(nodes.pools) for _ in range(many)]
    on: dict[tuple[int, int], cp_model.IntVar] = {}
    order = list(shapes)
    for number, shape in enumerate(order):
        size, pools = shape
        for place, (pool, free) in enumerate(places):
            if pool in pools:
                most = min((have // want for have, want in zip(free, size, strict=True) if want), default=shapes[shape])
                on[number, place] = model.new_int_var(0, min(most, shapes[shape]), "")
        model.add(sum(on[number, place] for place in range(len(places)) if (number, place) in on) == shapes[shape])
    for place, (_, free) in enumerate(places):
        for part, have in enumerate(free):
            taken = [
                on[number, place] * shape[0][part]
                for number, shape in enumerate(order)
                if (number, place) in on and shape[0][part]
            ]
            if taken:
                model.add(sum(taken) <= have)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = 0
    solver.parameters.max_deterministic_time = _LIMIT
    return bool(solver.solve(model) != cp_model.INFEASIBLE)
