"""Scores an assignment and lists its violated constraints.

The single definition for the direct solution, the solver's goals, the explanation and the tests.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from wecityctl.placement.demand import CPU, MEMORY
from wecityctl.placement.model import Constraint
from wecityctl.placement.packing import fits, pods_on
from wecityctl.placement.problem import Problem

# A relative load is in thousandths; its square is approximated from below by these tangents.
FULL = 1000
TANGENTS = tuple(range(0, FULL + 1, 25))
LOADED = (CPU, MEMORY)


class Score(NamedTuple):
    """The goals, minimised in this order.

    They are: moves by weight, unevenness of spread groups, micro-units of cost per hour, unevenness of load, and the
    order of the clouds in the files.
    """

    moves: int
    spread: int
    cost: int
    balance: int
    order: int


def score(problem: Problem, assignment: Sequence[int]) -> Score:
    """The score of an assignment of clouds to items."""
    weights = problem.move_weights
    moves = sum(
        weights[item] for item, current in enumerate(problem.current) if current >= 0 and current != assignment[item]
    )
    spread = 0
    for members in problem.spread.values():
        counts = [sum(assignment[item] == cloud for item in members) for cloud in range(len(problem.clouds))]
        spread += sum(count * count for count in counts)
    cost = sum(problem.cost[item][cloud] for item, cloud in enumerate(assignment))
    return Score(moves, spread, cost, _balance(problem, assignment), sum(assignment))


def _balance(problem: Problem, assignment: Sequence[int]) -> int:
    weights = balance_weights(problem)
    if not weights:
        return 0
    total = 0
    for cloud in range(len(problem.clouds)):
        relative = 0
        for resource in LOADED:
            load = sum(item_load(problem, item, resource) for item, chosen in enumerate(assignment) if chosen == cloud)
            room = capacity(problem, cloud, resource)
            relative = max(relative, -(-load * FULL // room) if room else 0)
        total += weights[cloud] * squared(relative)
    return total


def squared(relative: int) -> int:
    """The square of a relative load, approximated by the tangents."""
    return max(2 * tangent * relative - tangent * tangent for tangent in TANGENTS)


def balance_weights(problem: Problem) -> tuple[int, ...]:
    """The weight of each cloud's load: its share of all CPUs, in hundredths. Empty if a size is unknown."""
    sizes = [capacity(problem, cloud, CPU) for cloud in range(len(problem.clouds))]
    if len(sizes) < 2 or not all(sizes):
        return ()
    return tuple(max(1, size * 100 // sum(sizes)) for size in sizes)


def capacity(problem: Problem, cloud: int, resource: str) -> int:
    """The capacity of all pools of the cloud."""
    supply = problem.clouds[cloud]
    return supply.size(range(len(supply.pools)), resource)


def item_load(problem: Problem, item: int, resource: str) -> int:
    """The capacity that is reserved for an item."""
    return sum(workload.room.get(resource, 0) for workload in problem.items[item].workloads)


def broken(problem: Problem, assignment: Sequence[int]) -> Iterator[Constraint]:
    """Every constraint that the assignment violates."""
    for item, cloud in enumerate(assignment):
        for clause in problem.refusals[item][cloud]:
            yield from clause.constraints
    for colocations in problem.colocations:
        reached = colocations.reach[assignment[colocations.item]]
        if not any(assignment[other] in reached for other in colocations.others):
            yield colocations.constraint
    for anti_affinities in problem.anti_affinities:
        if assignment[anti_affinities.left] == assignment[anti_affinities.right]:
            yield anti_affinities.constraint
    for room in problem.capacities:
        if sum(amount for item, amount in room.loads if assignment[item] == room.cloud) > room.limit:
            yield room.constraint
    for cloud, nodes in enumerate(problem.nodes):
        if nodes is not None and not fits(nodes, pods_on(nodes, assignment, cloud)):
            yield nodes.constraint
