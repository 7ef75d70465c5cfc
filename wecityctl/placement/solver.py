"""The search: a CP-SAT model over bundles, one goal after the other. The only importer of OR-tools beside `clash`.

Deterministic: one worker, a fixed seed, limits in the solver's deterministic time and none by the clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from wecityctl.placement.bundles import Bundle
from wecityctl.placement.greedy import greedy
from wecityctl.placement.measure import FULL, LOADED, TANGENTS, balance_weights, capacity
from wecityctl.placement.model import Limits
from wecityctl.placement.problem import Problem

if TYPE_CHECKING:
    from ortools.sat.python import cp_model

    # A number of bundles on a cloud: fixed where there is no choice.
    Count = cp_model.IntVar | int
    Sum = cp_model.LinearExpr | int
    Term = tuple[Count, int]


@dataclass(frozen=True, slots=True)
class Found:
    """Clouds by bundle, and the proven bound of the cost in micro-units."""

    chosen: dict[int, int]
    bound: int


def solve(problem: Problem, bundles: Sequence[Bundle], limits: Limits, *, weigh_moves: bool) -> Found | None:
    """The best assignment of clouds to bundles; `None` if there is none. Raises `TimeoutError` when the limits end
    before one is found."""
    return _Search(problem, bundles, limits).go(weigh_moves=weigh_moves)


class _Search:
    def __init__(self, problem: Problem, bundles: Sequence[Bundle], limits: Limits) -> None:
        from ortools.sat.python import cp_model

        self._cp = cp_model
        self._problem = problem
        self._bundles = bundles
        self._limits = limits
        self._kinds = _kinds(bundles)
        self._kind_of = {number: kind for kind, numbers in enumerate(self._kinds) for number in numbers}
        self._model = cp_model.CpModel()
        self._count: list[dict[int, Count]] = []
        self._variables: list[cp_model.IntVar] = []
        self._chosen: dict[int, int] = {}
        self._declare()
        self._constrain()

    def go(self, *, weigh_moves: bool) -> Found | None:
        self._hint(greedy(self._problem, self._bundles, self._kinds))
        if weigh_moves:
            moves = self._weighted(lambda item, index: item.moves[index])
            if self._minimise(moves, self._limits.other) is None:
                return None
        if self._problem.spread and self._minimise(self._spread(), self._limits.other) is None:
            return None
        cost = self._weighted(lambda item, index: item.cost[index])
        gap = self._limits.gap if len(self._variables) > self._limits.exact_up_to else 0.0
        bound = self._minimise(cost, self._limits.cost, gap)
        if (
            bound is None
            or self._minimise(self._evenness(), self._limits.other, self._limits.gap and 0.01 * bool(gap)) is None
        ):
            return None
        return Found(self._chosen, bound)

    def _declare(self) -> None:
        for kind, numbers in enumerate(self._kinds):
            clouds = self._bundles[numbers[0]].clouds
            if len(clouds) == 1:
                self._count.append({clouds[0]: len(numbers)})
                continue
            own = {cloud: self._variable(len(numbers), f"x{kind}_{cloud}") for cloud in clouds}
            self._count.append(dict(own))
            if len(numbers) == 1:
                self._model.add_exactly_one(own.values())
            else:
                self._model.add(sum(own.values()) == len(numbers))

    def _variable(self, most: int, name: str) -> cp_model.IntVar:
        made = self._model.new_bool_var(name) if most == 1 else self._model.new_int_var(0, most, name)
        self._variables.append(made)
        return made

    def _constrain(self) -> None:
        rooms: list[list[Term]] = [[] for _ in self._problem.rooms]
        for kind, numbers in enumerate(self._kinds):
            item = self._bundles[numbers[0]]
            for number, amount in item.loads:
                cloud = self._problem.rooms[number].cloud
                if cloud in self._count[kind]:
                    rooms[number].append((self._count[kind][cloud], amount))
            for others, reach in item.near:
                self._near(kind, others, reach)
            for other in item.apart:
                if numbers[0] < other:
                    self._apart(kind, self._kind_of[other])
        for room, parts in zip(self._problem.rooms, rooms, strict=True):
            if parts:
                self._bound(self._sum(parts), room.limit)

    def _near(self, kind: int, others: Sequence[int], reach: Sequence[frozenset[int]]) -> None:
        for cloud, mine in self._count[kind].items():
            there = [
                theirs
                for other in others
                for target, theirs in self._count[self._kind_of[other]].items()
                if target in reach[cloud]
            ]
            many = len(self._kinds[kind])
            self._bound(self._sum([(mine, 1), *((theirs, -many) for theirs in there)]), 0)

    def _apart(self, left: int, right: int) -> None:
        for cloud, mine in self._count[left].items():
            if cloud in self._count[right]:
                self._bound(self._sum([(mine, 1), (self._count[right][cloud], 1)]), 1)

    def _sum(self, terms: Iterable[Term]) -> Sum:
        """A weighted sum; a number where nothing in it can vary."""
        variables: list[cp_model.IntVar] = []
        weights: list[int] = []
        constant = 0
        for count, weight in terms:
            if isinstance(count, int):
                constant += count * weight
            elif weight:
                variables.append(count)
                weights.append(weight)
        if not variables:
            return constant
        found: Sum = self._cp.LinearExpr.weighted_sum(variables, weights) + constant
        return found

    def _bound(self, total: Sum, limit: int) -> None:
        if not isinstance(total, int):
            self._model.add(total <= limit)
        elif total > limit:
            self._model.add_bool_or([])

    def _weighted(self, weight: Callable[[Bundle, int], int]) -> Sum:
        return self._sum(
            (count, weight(self._bundles[numbers[0]], index))
            for kind, numbers in enumerate(self._kinds)
            for index, count in enumerate(self._count[kind].values())
        )

    def _spread(self) -> Sum:
        """The sum of the squares of how many members of each group are on each cloud: step by step, each dearer."""
        total: list[Term] = []
        for name, members in self._problem.spread.items():
            for cloud in range(len(self._problem.clouds)):
                here = self._members(name, cloud)
                if not here:
                    continue
                steps = [self._variable(1, f"s{name}_{cloud}_{step}") for step in range(len(members))]
                self._model.add(sum(steps) == self._sum(here))
                for before, after in pairwise(steps):
                    self._model.add_implication(after, before)
                total += [(step, 2 * number + 1) for number, step in enumerate(steps)]
        return self._sum(total)

    def _members(self, group: str, cloud: int) -> list[Term]:
        found: list[Term] = []
        for kind, numbers in enumerate(self._kinds):
            many = dict(self._bundles[numbers[0]].spread).get(group, 0)
            if many and cloud in self._count[kind]:
                found.append((self._count[kind][cloud], many))
        return found

    def _evenness(self) -> Sum:
        """Load against size, squared, over all clouds; then the order of the clouds."""
        total: list[Term] = [
            (count, cloud * len(self._bundles[numbers[0]].items))
            for kind, numbers in enumerate(self._kinds)
            for cloud, count in self._count[kind].items()
        ]
        weights = balance_weights(self._problem)
        scale = len(self._problem.items) * len(self._problem.clouds) + 1
        for cloud, weight in enumerate(weights):
            relative = self._model.new_int_var(0, TANGENTS[-1], f"u{cloud}")
            square = self._model.new_int_var(0, TANGENTS[-1] ** 2, f"f{cloud}")
            for index, resource in enumerate(LOADED):
                load = [
                    (self._count[kind][cloud], self._bundles[numbers[0]].weight[index] * FULL)
                    for kind, numbers in enumerate(self._kinds)
                    if cloud in self._count[kind]
                ]
                room = capacity(self._problem, cloud, resource)
                if room:
                    self._bound(self._sum([*load, (relative, -room)]), 0)
            for tangent in TANGENTS:
                self._bound(self._sum([(relative, 2 * tangent), (square, -1)]), tangent * tangent)
            total.append((square, weight * scale))
        return self._sum(total)

    def _minimise(self, goal: Sum, limit: float, gap: float = 0.0) -> int | None:
        """Make `goal` as small as can be and keep it so; its proven bound, or `None` where nothing is feasible."""
        cp, solver = self._cp, self._cp.CpSolver()
        parameters = solver.parameters
        parameters.num_workers = 1
        parameters.random_seed = self._limits.seed
        parameters.max_deterministic_time = limit
        parameters.relative_gap_limit = gap
        if not isinstance(goal, int):
            self._model.minimize(goal)
        status = solver.solve(self._model)
        if status == cp.INFEASIBLE:
            return None
        if status not in (cp.OPTIMAL, cp.FEASIBLE):
            if not self._chosen:
                raise TimeoutError(solver.status_name(status))
            # What an earlier goal led to stays as it is; nothing is proven of this one.
            return 0
        self._take(solver)
        bound = goal if isinstance(goal, int) else max(0, round(solver.best_objective_bound))
        if not isinstance(goal, int):
            self._model.add(goal <= round(solver.objective_value))
        self._model.clear_hints()  # type: ignore[no-untyped-call]
        for variable in self._variables:
            self._model.add_hint(variable, solver.value(variable))
        return bound

    def _take(self, solver: cp_model.CpSolver) -> None:
        self._chosen = {}
        for kind, numbers in enumerate(self._kinds):
            left = iter(numbers)
            for cloud, count in self._count[kind].items():
                many = count if isinstance(count, int) else solver.value(count)
                self._chosen |= {next(left): cloud for _ in range(many)}

    def _hint(self, start: dict[int, dict[int, int]]) -> None:
        for kind, counts in start.items():
            for cloud, variable in self._count[kind].items():
                if not isinstance(variable, int):
                    self._model.add_hint(variable, counts.get(cloud, 0))


def _kinds(bundles: Sequence[Bundle]) -> tuple[tuple[int, ...], ...]:
    """The numbers of alike bundles, together. What others stand near to keeps a variable of its own."""
    named = {other for item in bundles for others, _ in item.near for other in others}
    found: dict[object, list[int]] = {}
    for number, item in enumerate(bundles):
        found.setdefault(("own", number) if number in named else item.kind, []).append(number)
    return tuple(tuple(numbers) for numbers in found.values())
