"""The search: the bundles' choices as an integer program, minimised for one goal after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from wecityctl.placement.anti_affinity_groups import cliques
from wecityctl.placement.bundles import Bundle
from wecityctl.placement.greedy import greedy
from wecityctl.placement.measure import FULL, LOADED, TANGENTS, balance_weights, capacity
from wecityctl.placement.model import Limits
from wecityctl.placement.packing import PackingConflict
from wecityctl.placement.problem import Problem
from wecityctl.placement.program import Count, Linear, Program, Term


@dataclass(frozen=True, slots=True)
class Found:
    """The clouds by bundle, and the lower bound of the cost in micro-units."""

    chosen: dict[int, int]
    bound: int


def solve(problem: Problem, bundles: Sequence[Bundle], limits: Limits, *, weigh_moves: bool) -> Found | None:
    """The best assignment of clouds to bundles; `None` if there is none.

    Raises `TimeoutError` if the limits end the search before an assignment is found.
    """
    return _Search(problem, bundles, limits).go(weigh_moves=weigh_moves)


class _Search:
    def __init__(self, problem: Problem, bundles: Sequence[Bundle], limits: Limits) -> None:
        self._problem = problem
        self._bundles = bundles
        self._limits = limits
        self._kinds = _kinds(bundles)
        self._kind_of = {number: kind for kind, numbers in enumerate(self._kinds) for number in numbers}
        self._program = Program(limits)
        self._count: list[dict[int, Count]] = []
        self._declare()
        self._constrain()

    def go(self, *, weigh_moves: bool) -> Found | None:
        """Minimise the goals in their order; each value is kept for the next goals."""
        limits, program = self._limits, self._program
        if weigh_moves and program.minimise(self._moves(), limits.other, 0) is None:
            return None
        if self._problem.spread and program.minimise(self._spread(), limits.other, 0) is None:
            return None
        bound = program.minimise(self._cost(), limits.cost, limits.gap)
        if bound is None:
            return None
        program.minimise(self._evenness(), limits.other, limits.balance_gap, good_enough=True)
        return Found(self._chosen(), bound)

    def _declare(self) -> None:
        guess = greedy(self._problem, self._bundles, self._kinds)
        for kind, numbers in enumerate(self._kinds):
            clouds, many = self._bundles[numbers[0]].clouds, len(numbers)
            if len(clouds) == 1:
                self._count.append({clouds[0]: many})
                continue
            own = {cloud: self._program.variable(many, guess[kind].get(cloud, 0)) for cloud in clouds}
            self._count.append(dict(own))
            self._program.exactly([(count, 1) for count in own.values()], many)

    def _constrain(self) -> None:
        capacities: list[list[Term]] = [[] for _ in self._problem.capacities]
        for kind, numbers in enumerate(self._kinds):
            item = self._bundles[numbers[0]]
            for number, amount in item.loads:
                cloud = self._problem.capacities[number].cloud
                if cloud in self._count[kind]:
                    capacities[number].append((self._count[kind][cloud], amount))
            for others, reach in item.colocations:
                self._near(kind, others, reach)
        for room, parts in zip(self._problem.capacities, capacities, strict=True):
            self._program.at_most(parts, room.limit)
        for number, conflict in enumerate(self._problem.conflicts):
            self._part(number, conflict)
        # One row per set of mutually anti-affine bundles: with rows for pairs only, the relaxation puts half of each
        # bundle everywhere.
        for anti_affinity_group in cliques(
            {number: item.anti_affinities for number, item in enumerate(self._bundles) if item.anti_affinities}
        ):
            for cloud in range(len(self._problem.clouds)):
                here = [self._count[self._kind_of[number]].get(cloud, 0) for number in anti_affinity_group]
                self._program.at_most([(count, 1) for count in here], 1)

    def _part(self, number: int, conflict: PackingConflict) -> None:
        """Add a packing conflict: at least one group has fewer members on the cloud than the conflict needs."""
        here: list[list[Term]] = [[] for _ in conflict.groups]
        for kind, numbers in enumerate(self._kinds):
            for other, group, many in self._bundles[numbers[0]].conflicts:
                if other == number and conflict.cloud in self._count[kind]:
                    here[group].append((self._count[kind][conflict.cloud], many))
        fewer = [self._program.variable(1) for _ in here]
        for terms, (members, many), variable in zip(here, conflict.groups, fewer, strict=True):
            self._program.at_most([*terms, (variable, len(members) - many + 1)], len(members))
        self._program.at_most([(variable, -1) for variable in fewer], -1)

    def _near(self, kind: int, others: Sequence[int], reach: Sequence[frozenset[int]]) -> None:
        many = len(self._kinds[kind])
        for cloud, mine in self._count[kind].items():
            there = [
                theirs
                for other in others
                for target, theirs in self._count[self._kind_of[other]].items()
                if target in reach[cloud]
            ]
            self._program.at_most([(mine, 1), *((theirs, -many) for theirs in there)], 0)

    def _moves(self) -> Linear:
        return self._weighted(lambda item, index: item.moves[index])

    def _cost(self) -> Linear:
        return self._weighted(lambda item, index: item.cost[index])

    def _weighted(self, weight: Callable[[Bundle, int], int]) -> Linear:
        return Linear().plus(
            (count, weight(self._bundles[numbers[0]], index))
            for kind, numbers in enumerate(self._kinds)
            for index, count in enumerate(self._count[kind].values())
        )

    def _spread(self) -> Linear:
        """The sum of the squares of each spread group's members per cloud, as steps of increasing cost."""
        total = Linear()
        for name, members in self._problem.spread.items():
            for cloud in range(len(self._problem.clouds)):
                here = self._members(name, cloud)
                if not here:
                    continue
                steps = [self._program.variable(1) for _ in members]
                self._program.at_most([*here, *((step, -1) for step in steps)], 0)
                for before, after in pairwise(steps):
                    self._program.at_most([(after, 1), (before, -1)], 0)
                total.plus((step, 2 * number + 1) for number, step in enumerate(steps))
        return total

    def _members(self, group: str, cloud: int) -> list[Term]:
        found: list[Term] = []
        for kind, numbers in enumerate(self._kinds):
            many = dict(self._bundles[numbers[0]].spread).get(group, 0)
            if many and cloud in self._count[kind]:
                found.append((self._count[kind][cloud], many))
        return found

    def _evenness(self) -> Linear:
        """The squared relative load, summed over all clouds; then the order of the clouds."""
        total = Linear().plus(
            (count, cloud * len(self._bundles[numbers[0]].items))
            for kind, numbers in enumerate(self._kinds)
            for cloud, count in self._count[kind].items()
        )
        scale = len(self._problem.items) * len(self._problem.clouds) + 1
        for cloud, weight in enumerate(balance_weights(self._problem)):
            relative, square = self._program.variable(FULL, FULL), self._program.variable(FULL**2, FULL**2)
            for index, resource in enumerate(LOADED):
                room = capacity(self._problem, cloud, resource)
                if room:
                    self._program.at_most([*self._load(cloud, index), (relative, -room)], 0)
            for tangent in TANGENTS:
                self._program.at_most([(relative, 2 * tangent), (square, -1)], tangent * tangent)
            total.plus([(square, weight * scale)])
        return total

    def _load(self, cloud: int, index: int) -> list[Term]:
        return [
            (self._count[kind][cloud], self._bundles[numbers[0]].weight[index] * FULL)
            for kind, numbers in enumerate(self._kinds)
            if cloud in self._count[kind]
        ]

    def _chosen(self) -> dict[int, int]:
        found: dict[int, int] = {}
        for kind, numbers in enumerate(self._kinds):
            left = iter(numbers)
            for cloud, count in self._count[kind].items():
                many = count if isinstance(count, int) else self._program.values[count.index]
                found |= {next(left): cloud for _ in range(many)}
        return found


def _kinds(bundles: Sequence[Bundle]) -> tuple[tuple[int, ...], ...]:
    """The numbers of equal bundles, grouped. A bundle that others refer to has a group of its own."""
    named = {other for item in bundles for others, _ in item.colocations for other in others}
    found: dict[object, list[int]] = {}
    for number, item in enumerate(bundles):
        found.setdefault(("own", number) if number in named else item.kind, []).append(number)
    return tuple(tuple(numbers) for numbers in found.values())
