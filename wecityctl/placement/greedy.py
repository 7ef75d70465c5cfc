"""The initial guess for the solver: large items first, each to the cheapest cloud with enough free capacity."""

from __future__ import annotations

from collections.abc import Sequence

from wecityctl.placement.bundles import Bundle
from wecityctl.placement.problem import Problem


def greedy(problem: Problem, bundles: Sequence[Bundle], kinds: Sequence[Sequence[int]]) -> dict[int, dict[int, int]]:
    """How many bundles of each kind go to each cloud. Need not meet all constraints: it is only the search's start."""
    left = [room.limit for room in problem.capacities]
    limits = [max(1, room.limit) for room in problem.capacities]
    found: dict[int, dict[int, int]] = {}

    def size(kind: int) -> float:
        return max((amount / limits[room] for room, amount in bundles[kinds[kind][0]].loads), default=0.0)

    for kind in sorted(range(len(kinds)), key=lambda kind: (-size(kind), kind)):
        item = bundles[kinds[kind][0]]
        capacities = [[(n, a) for n, a in item.loads if problem.capacities[n].cloud == cloud] for cloud in item.clouds]
        ranked = sorted(range(len(item.clouds)), key=lambda i: (item.moves[i], item.cost[i], i))
        rest = len(kinds[kind])
        for index in ranked:
            fits = min((left[n] // a for n, a in capacities[index] if a), default=rest)
            many = max(0, min(rest, fits))
            if many:
                found.setdefault(kind, {})[item.clouds[index]] = many
                rest -= many
                for n, a in capacities[index]:
                    left[n] -= a * many
        if rest:
            counts = found.setdefault(kind, {})
            counts[item.clouds[ranked[0]]] = counts.get(item.clouds[ranked[0]], 0) + rest
    return found
