"""Adds to the capacity constraints of a conflict the apps and capabilities that need this capacity.

A capacity constraint only tells what a cloud has. Which items need it depends on the other constraints of the conflict:
items that can be elsewhere are not counted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from wecityctl.placement.capacities import CapacityConstraint
from wecityctl.placement.filters import amount_text, listed
from wecityctl.placement.model import Constraint
from wecityctl.placement.packing import Nodes, PackingConflict
from wecityctl.placement.problem import Problem

# Up to this many are named one by one, the largest first.
_NAMED = 4


def with_loads(
    problem: Problem, shown: Sequence[Constraint], active: Collection[Constraint], found: Iterable[PackingConflict]
) -> tuple[Constraint, ...]:
    """The constraints of a conflict, with the items that need the capacity added to capacity constraints.

    `active` are all constraints of the conflict, of which `shown` may be a summary. `found` are the packing conflicts
    that the search found.
    """
    left = _left(problem, frozenset(active))
    capacities = {room.constraint: room for room in problem.capacities}
    nodes = {own.constraint: (cloud, own) for cloud, own in enumerate(problem.nodes) if own is not None}
    full = {capacities[item].cloud for item in active if item in capacities} | {
        nodes[item][0] for item in active if item in nodes
    }
    # Items that have no clouds except those whose capacity is part of the conflict.
    confined = {item for item, clouds in enumerate(left) if clouds <= full}
    conflicts = tuple(found)

    def told(constraint: Constraint) -> Constraint:
        if constraint in capacities:
            return _of_room(problem, capacities[constraint], left, confined)
        if constraint in nodes:
            return _of_nodes(problem, *nodes[constraint], conflicts, confined)
        return constraint

    return tuple(map(told, shown))


def _left(problem: Problem, active: frozenset[Constraint]) -> list[set[int]]:
    """The clouds that the active constraints leave to each item, including the colocations."""
    left = [
        {
            cloud
            for cloud, clauses in enumerate(row)
            if not any(active.issuperset(clause.constraints) for clause in clauses)
        }
        for row in problem.refusals
    ]
    colocations = [each for each in problem.colocations if each.constraint in active]
    changed = True
    while changed:
        changed = False
        for each in colocations:
            reached = {cloud for other in each.others for cloud in left[other]}
            mine = {cloud for cloud in left[each.item] if not reached.isdisjoint(each.reach[cloud])}
            changed |= mine != left[each.item]
            left[each.item] = mine
            if len(each.others) == 1:
                (other,) = each.others
                theirs = left[other] & {target for cloud in mine for target in each.reach[cloud]}
                changed |= theirs != left[other]
                left[other] = theirs
    return left


def _of_room(
    problem: Problem, room: CapacityConstraint, left: Sequence[set[int]], confined: Collection[int]
) -> Constraint:
    there = [(item, amount) for item, amount in room.loads if room.cloud in left[item]]
    must = [(item, amount) for item, amount in there if item in confined]
    asking = must if sum(amount for _, amount in must) > room.limit else there or list(room.loads)
    asking.sort(key=lambda each: -each[1])
    names = [problem.items[item].subject for item, _ in asking]
    asked = amount_text(room.resource, sum(amount for _, amount in asking))
    verb = "asks" if len(names) == 1 else "together ask"
    return _naming(room.constraint, names, f"{room.offer}, and {listed(names, _NAMED)} {verb} for {asked}")


def _of_nodes(
    problem: Problem, cloud: int, nodes: Nodes, conflicts: Sequence[PackingConflict], confined: Collection[int]
) -> Constraint:
    """The node constraint with the smallest known set of items that do not fit; otherwise with all confined items."""
    sets = [
        [item for members, many in conflict.groups for item in sorted(members.intersection(confined))[:many]]
        for conflict in conflicts
        if conflict.cloud == cloud
        and all(len(members.intersection(confined)) >= many for members, many in conflict.groups)
    ]
    items = min(sets, key=len, default=[item for item in sorted(confined) if nodes.pods[item]])
    if not items:
        return nodes.constraint
    items.sort(key=lambda item: [-part for part in max((size for (size, _), _ in nodes.pods[item]), default=())])
    names = [problem.items[item].subject for item in items]
    verb = "does" if len(names) == 1 else "do"
    return _naming(nodes.constraint, names, f"{nodes.constraint.text}; {listed(names, _NAMED)} {verb} not")


def _naming(constraint: Constraint, names: Sequence[str], text: str) -> Constraint:
    return replace(constraint, subjects=(*constraint.subjects, *names), text=text)
