"""Finds the conflict of a large city by the linear relaxation: fast, and exact about total capacity.

What the relaxation calls infeasible is infeasible. Equal items are counted, and halves of the constraints are removed
before single ones. `conflict` finds conflicts that exist only for whole numbers.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from wecityctl.placement.model import Constraint
from wecityctl.placement.problem import Problem

Family = Hashable


@dataclass(slots=True)
class _Kind:
    """Equal items: the families that exclude each cloud, what one item takes of each capacity, and the colocations."""

    count: int
    off: tuple[tuple[frozenset[Family], ...], ...]
    loads: tuple[tuple[int, int], ...]
    colocations: tuple[tuple[Family, tuple[int, ...], tuple[frozenset[int], ...]], ...]
    anti_affinities: tuple[tuple[Family, int], ...]


class RelaxedConflict:
    """Finds the families of constraints that conflict even if items could be split between clouds."""

    def __init__(self, problem: Problem, names: Mapping[Constraint, Family]) -> None:
        self._problem = problem
        self._kinds = _kinds(problem, names)
        self._capacities = [
            (room, names.get(room.constraint), _taken(self._kinds, number))
            for number, room in enumerate(problem.capacities)
        ]

    def smallest(self, families: Sequence[Family]) -> tuple[Family, ...] | None:
        """A minimal set of conflicting families; `None` if the relaxation is feasible."""
        if self._can_hold(families):
            return None
        found = set(self._explain((), False, tuple(families)))
        return tuple(name for name in families if name in found)

    def _explain(self, fixed: tuple[Family, ...], has_new: bool, rest: tuple[Family, ...]) -> tuple[Family, ...]:
        """QuickXplain (Junker 2004): those of `rest` that a conflict with `fixed` needs."""
        if has_new and not self._can_hold(fixed):
            return ()
        if len(rest) == 1:
            return rest
        left, right = rest[: len(rest) // 2], rest[len(rest) // 2 :]
        second = self._explain((*fixed, *left), True, right)
        first = self._explain((*fixed, *second), bool(second), left)
        return (*first, *second)

    def _can_hold(self, families: Sequence[Family]) -> bool:
        from ortools.linear_solver.python import model_builder

        active = set(families)
        model = model_builder.Model()  # type: ignore[no-untyped-call]
        add_up = model_builder.LinearExpr.weighted_sum
        clouds = range(len(self._problem.clouds))
        on = []
        for kind in self._kinds:
            row = [
                None if any(clause <= active for clause in kind.off[cloud]) else model.new_num_var(0, kind.count, "")
                for cloud in clouds
            ]
            there = [each for each in row if each is not None]
            if not there:
                return False
            model.add(add_up(there, [1] * len(there)) == kind.count)
            on.append(row)
        for number, kind in enumerate(self._kinds):
            for name, others, reach in kind.colocations:
                for cloud in clouds if name in active else ():
                    mine = on[number][cloud]
                    reached = [on[other][target] for other in others for target in reach[cloud]]
                    there = [each for each in reached if each is not None]
                    if mine is not None:
                        model.add(add_up([mine, *there], [1, *[-kind.count] * len(there)]) <= 0)
            for name, other in kind.anti_affinities:
                for cloud in clouds if name in active else ():
                    both = [each for each in (on[number][cloud], on[other][cloud]) if each is not None]
                    if len(both) == 2:
                        model.add(add_up(both, [1, 1]) <= 1)
        for room, family, loads in self._capacities:
            if family in active:
                parts = [(on[kind][room.cloud], amount) for kind, amount in loads]
                kept = [(each, amount) for each, amount in parts if each is not None]
                if kept:
                    scale = max(amount for _, amount in kept)
                    total = add_up([each for each, _ in kept], [amount / scale for _, amount in kept])
                    model.add(total <= room.limit / scale)
        status = model_builder.Solver("GLOP").solve(model)
        return status != model_builder.SolveStatus.INFEASIBLE


def _taken(kinds: Sequence[_Kind], room: int) -> tuple[tuple[int, int], ...]:
    """What one item of each kind takes of the capacity."""
    return tuple((number, amount) for number, kind in enumerate(kinds) for own, amount in kind.loads if own == room)


def _kinds(problem: Problem, names: Mapping[Constraint, Family]) -> list[_Kind]:
    """The kinds, with their colocations and anti-affinities by kind.

    An item that others refer to is a kind of its own.
    """
    loads: list[dict[int, int]] = [{} for _ in problem.items]
    for index, room in enumerate(problem.capacities):
        for item, amount in room.loads:
            loads[item][index] = amount
    named = {other for colocations in problem.colocations for other in colocations.others}
    named |= {item for pair in problem.anti_affinities for item in (pair.left, pair.right)}
    colocations_of: dict[int, list[tuple[Family, tuple[int, ...], tuple[frozenset[int], ...]]]] = {}
    for colocations in problem.colocations:
        if colocations.constraint in names:
            colocations_of.setdefault(colocations.item, []).append(
                (names[colocations.constraint], colocations.others, colocations.reach)
            )
    anti_affinities_of: dict[int, list[tuple[Family, int]]] = {}
    for pair in problem.anti_affinities:
        if pair.constraint in names:
            anti_affinities_of.setdefault(pair.left, []).append((names[pair.constraint], pair.right))
    seen: dict[object, int] = {}
    kinds: list[_Kind] = []
    kind_of = []
    for item in range(len(problem.items)):
        off = tuple(
            tuple(
                frozenset(names[each] for each in clause.constraints)
                for clause in clauses
                if all(each in names for each in clause.constraints)
            )
            for clauses in problem.refusals[item]
        )
        close, taken = tuple(colocations_of.get(item, ())), tuple(sorted(loads[item].items()))
        key = item if item in named else (off, taken, close)
        if key not in seen:
            seen[key] = len(kinds)
            kinds.append(_Kind(0, off, taken, close, tuple(anti_affinities_of.get(item, ()))))
        kinds[seen[key]].count += 1
        kind_of.append(seen[key])
    for kind in kinds:
        kind.colocations = tuple(
            (name, tuple(kind_of[other] for other in others), reach) for name, others, reach in kind.colocations
        )
        kind.anti_affinities = tuple((name, kind_of[other]) for name, other in kind.anti_affinities)
    return kinds
