"""Reduces the problem without loss: items that must share a cloud become one bundle, and equal bundles are counted.

If only one cloud is left for each bundle, no search is needed (`direct`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from wecityctl.placement.measure import LOADED, item_load
from wecityctl.placement.problem import Assignment, Problem

# The bundles of which one must be reached, and by cloud the clouds that it reaches.
ColocationKey = tuple[tuple[int, ...], tuple[frozenset[int], ...]]


@dataclass(frozen=True, slots=True)
class Bundle:
    """Items that share a cloud.

    `moves` and `cost` are by cloud. `loads` are (capacity constraint, amount), `spread` is (spread group, members),
    `colocations` and `anti_affinities` refer to other bundles by number. `conflicts` are (packing conflict, group,
    members).
    """

    items: tuple[int, ...]
    clouds: tuple[int, ...]
    moves: tuple[int, ...]
    cost: tuple[int, ...]
    loads: tuple[tuple[int, int], ...]
    weight: tuple[int, ...]
    spread: tuple[tuple[str, int], ...]
    colocations: tuple[ColocationKey, ...]
    anti_affinities: tuple[int, ...]
    conflicts: tuple[tuple[int, int, int], ...]

    @property
    def kind(self) -> object:
        """Equal for interchangeable bundles. A bundle with anti-affinities is only equal to itself."""
        if self.anti_affinities:
            return self.items
        return (
            self.clouds,
            self.moves,
            self.cost,
            self.loads,
            self.weight,
            self.spread,
            self.colocations,
            self.conflicts,
        )


def bundle(problem: Problem) -> tuple[Bundle, ...] | None:
    """The bundles in the order of their first items.

    `None` if a bundle has no cloud left or contains two items with an anti-affinity.
    """
    members = together(problem)
    of_item = [0] * len(problem.items)
    for number, items in enumerate(members):
        for item in items:
            of_item[item] = number
    loads: list[dict[int, int]] = [{} for _ in members]
    for number, room in enumerate(problem.capacities):
        for item, amount in room.loads:
            mine = loads[of_item[item]]
            mine[number] = mine.get(number, 0) + amount
    anti_affinities: list[set[int]] = [set() for _ in members]
    for pair in problem.anti_affinities:
        left, right = of_item[pair.left], of_item[pair.right]
        if left == right:
            return None
        anti_affinities[left].add(right)
        anti_affinities[right].add(left)
    colocations = _nearness(problem, of_item, len(members))
    groups = {item: name for name, found in problem.spread.items() for item in found}
    weights = problem.move_weights
    bundles = []
    for number, items in enumerate(members):
        allowed = set(range(len(problem.clouds)))
        for item in items:
            allowed.intersection_update(problem.allowed(item))
        if not allowed:
            return None
        clouds = tuple(sorted(allowed))
        counts: dict[str, int] = {}
        for item in items:
            if item in groups:
                counts[groups[item]] = counts.get(groups[item], 0) + 1
        bundles.append(
            Bundle(
                items,
                clouds,
                tuple(
                    sum(weights[item] for item in items if problem.current[item] not in (-1, cloud)) for cloud in clouds
                ),
                tuple(sum(problem.cost[item][cloud] for item in items) for cloud in clouds),
                tuple(sorted(loads[number].items())),
                tuple(sum(item_load(problem, item, resource) for item in items) for resource in LOADED),
                tuple(sorted(counts.items())),
                tuple(sorted(colocations[number], key=repr)),
                tuple(sorted(anti_affinities[number])),
                tuple(_conflicts(problem, frozenset(items))),
            )
        )
    return tuple(bundles)


def _conflicts(problem: Problem, items: frozenset[int]) -> Iterator[tuple[int, int, int]]:
    for number, conflict in enumerate(problem.conflicts):
        for group, (members, _) in enumerate(conflict.groups):
            if mine := len(members & items):
                yield number, group, mine


def least_moving(bundles: Sequence[Bundle]) -> tuple[Bundle, ...]:
    """The bundles, each restricted to the clouds where the fewest of its items move."""
    return tuple(
        _restricted(item, [i for i, moves in enumerate(item.moves) if moves == min(item.moves)]) for item in bundles
    )


def _restricted(item: Bundle, kept: Sequence[int]) -> Bundle:
    if len(kept) == len(item.clouds):
        return item
    return Bundle(
        item.items,
        tuple(item.clouds[i] for i in kept),
        tuple(item.moves[i] for i in kept),
        tuple(item.cost[i] for i in kept),
        item.loads,
        item.weight,
        item.spread,
        item.colocations,
        item.anti_affinities,
        item.conflicts,
    )


def direct(problem: Problem, bundles: Sequence[Bundle]) -> Assignment | None:
    """The assignment if each bundle has exactly one cloud. The caller checks whether it meets the constraints."""
    if any(len(item.clouds) > 1 for item in bundles):
        return None
    return spread_out(problem, bundles, {number: item.clouds[0] for number, item in enumerate(bundles)})


def spread_out(problem: Problem, bundles: Sequence[Bundle], chosen: Mapping[int, int]) -> Assignment:
    """The assignment of items from the bundles' clouds."""
    found = [0] * len(problem.items)
    for number, item in enumerate(bundles):
        for member in item.items:
            found[member] = chosen[number]
    return tuple(found)


def together(problem: Problem) -> tuple[tuple[int, ...], ...]:
    """The sets of items that share a cloud, in the order of their first items."""
    parent = list(range(len(problem.items)))

    def find(item: int) -> int:
        while parent[item] != item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    for colocations in problem.colocations:
        if colocations.is_together:
            left, right = sorted((find(colocations.item), find(colocations.others[0])))
            parent[right] = left
    members: dict[int, list[int]] = {}
    for item in range(len(problem.items)):
        members.setdefault(find(item), []).append(item)
    return tuple(tuple(items) for items in members.values())


def _nearness(problem: Problem, of_item: Sequence[int], count: int) -> list[set[ColocationKey]]:
    found: list[set[ColocationKey]] = [set() for _ in range(count)]
    for colocations in problem.colocations:
        own = of_item[colocations.item]
        others = tuple(sorted({of_item[other] for other in colocations.others}))
        # A colocation within one bundle always holds, as does one where every cloud reaches every other.
        if own not in others and any(len(reached) < len(problem.clouds) for reached in colocations.reach):
            found[own].add((others, colocations.reach))
    return found
