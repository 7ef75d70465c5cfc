"""Who asks for what a cloud does not have: names the apps and capabilities in a conflict's constraints of capacity.

A constraint of capacity says by itself what a cloud has. Who has to be there is a matter of the other constraints of
the conflict: what they keep elsewhere is not counted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from wecityctl.placement.capacities import CapacityConstraint
from wecityctl.placement.filters import amount_text, listed
from wecityctl.placement.model import Constraint
from wecityctl.placement.packing import Nodes, PackingConflict
from wecityctl.placement.problem import Problem

# Named one by one up to this many, those that ask for most first.
_NAMED = 4


def with_loads(
    problem: Problem, shown: Sequence[Constraint], active: Collection[Constraint], found: Iterable[PackingConflict]
) -> tuple[Constraint, ...]:
    """The constraints of a conflict, those of capacity with who asks for it. `active` are all that the conflict
    consists of, of which `shown` may be a summary; `found` is what the search saw not to fit side by side."""
    left = _left(problem, frozenset(active))
    capacities = {room.constraint: room for room in problem.capacities}
    nodes = {own.constraint: (cloud, own) for cloud, own in enumerate(problem.nodes) if own is not None}
    full = {capacities[item].cloud for item in active if item in capacities} | {
        nodes[item][0] for item in active if item in nodes
    }
    # They have no other cloud than those whose capacity is part of the conflict.
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
    """The clouds that the active constraints leave to each item, and to what must be near to it."""
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
    """The fewest of which the search saw that they have no room side by side; else all that have to be there."""
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
