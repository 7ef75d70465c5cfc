"""Finds sets of mutually anti-affine items that need more clouds than they may use. Counts instead of searching.

A search proves only by trying all assignments that twelve items cannot each have one of ten clouds.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import combinations

from wecityctl.model.words import counted
from wecityctl.placement.families import as_one, family_of, listed_subjects
from wecityctl.placement.model import Constraint
from wecityctl.placement.problem import Problem


def cliques(anti_affinities: Mapping[int, Collection[int]]) -> tuple[tuple[int, ...], ...]:
    """Sets of numbers that are mutually anti-affine, with each pair in at least one set; greedy, large sets first."""
    beside = {number: frozenset(others) for number, others in anti_affinities.items()}
    order = sorted(beside, key=lambda number: (-len(beside[number]), number))
    rank = {number: place for place, number in enumerate(order)}
    covered: set[tuple[int, int]] = set()
    found: list[tuple[int, ...]] = []
    for left in order:
        for right in sorted(beside[left], key=rank.__getitem__):
            if (min(left, right), max(left, right)) in covered:
                continue
            members, candidates = [left, right], beside[left] & beside[right]
            for other in sorted(candidates, key=rank.__getitem__):
                if other in candidates:
                    members.append(other)
                    candidates &= beside[other]
            members.sort()
            covered.update(combinations(members, 2))
            found.append(tuple(members))
    return tuple(found)


def anti_affinity_group_of(problem: Problem) -> tuple[int, ...]:
    """Mutually anti-affine items that are more than the clouds they may use; empty if there are none."""
    anti_affinities: dict[int, set[int]] = {}
    for pair in problem.anti_affinities:
        anti_affinities.setdefault(pair.left, set()).add(pair.right)
        anti_affinities.setdefault(pair.right, set()).add(pair.left)
    allowed = {item: problem.allowed(item) for item in anti_affinities}
    return next((found for each in cliques(anti_affinities) if (found := _everybody(each, allowed.__getitem__))), ())


def _everybody(members: Iterable[int], allowed: Callable[[int], Collection[int]]) -> tuple[int, ...]:
    """Those of the members that are too many, and all others whose clouds are among theirs."""
    members = tuple(members)
    clouds = {cloud for item in too_many(members, allowed) for cloud in allowed(item)}
    return tuple(item for item in members if clouds.issuperset(allowed(item))) if clouds else ()


def too_many(members: Iterable[int], allowed: Callable[[int], Collection[int]]) -> tuple[int, ...]:
    """The fewest members that cannot each have a cloud of their own (Hall 1935); empty if all can."""
    own: dict[int, int] = {}
    holder: dict[int, int] = {}
    for member in members:
        reached, wanted_by = [member], dict[int, int]()
        free = None
        for item in reached:
            for cloud in allowed(item):
                if cloud not in wanted_by:
                    wanted_by[cloud] = item
                    if cloud not in holder:
                        free = cloud
                        break
                    reached.append(holder[cloud])
            if free is not None:
                break
        if free is None:
            return tuple(sorted(reached))
        while free is not None:
            item = wanted_by[free]
            holder[free] = item
            left = own.get(item)
            own[item] = free
            free = left
    return ()


def conflict_of_anti_affinity_group(problem: Problem, anti_affinity_group: tuple[int, ...]) -> tuple[Constraint, ...]:
    """The conflict of an anti-affinity group: one constraint for the group, and those that exclude the other clouds."""
    clouds = range(len(problem.clouds))
    open_to = {cloud for item in anti_affinity_group for cloud in problem.allowed(item)}
    keeping: dict[object, dict[Constraint, None]] = {}
    for item in anti_affinity_group:
        for cloud in clouds:
            if cloud not in open_to:
                for constraint in problem.refusals[item][cloud][0].constraints:
                    keeping.setdefault(family_of(constraint), {})[constraint] = None

    def open_with(families: Iterable[object]) -> Callable[[int], Collection[int]]:
        active = {constraint for name in families for constraint in keeping[name]}
        return lambda item: [
            cloud
            for cloud in clouds
            if not any(active.issuperset(clause.constraints) for clause in problem.refusals[item][cloud])
        ]

    needed = list(keeping)
    for name in list(needed):
        rest = [other for other in needed if other != name]
        if too_many(anti_affinity_group, open_with(rest)):
            needed = rest
    allowed = open_with(needed)
    anti_affinity_group = _everybody(anti_affinity_group, allowed)
    subjects = {problem.items[item].subject for item in anti_affinity_group}
    kept_off = [
        as_one(kept)
        for name in needed
        if (kept := tuple(each for each in keeping[name] if subjects.issuperset(each.subjects[:1])))
    ]
    return (
        _anti_affinities(
            problem, anti_affinity_group, len({cloud for item in anti_affinity_group for cloud in allowed(item)})
        ),
        *kept_off,
    )


def _anti_affinities(problem: Problem, anti_affinity_group: tuple[int, ...], many: int) -> Constraint:
    subjects = tuple(problem.items[item].subject for item in anti_affinity_group)
    own = set(anti_affinity_group)
    source = next(pair.constraint.source for pair in problem.anti_affinities if {pair.left, pair.right} <= own)
    clouds = counted(many, "cloud")
    text = f"{listed_subjects(subjects)} share no cloud with each other (antiAffinity), and {clouds} will do for them"
    return Constraint("anti-affinity", subjects, text, source)
