"""An integer program and its minimisation: CP-SAT, preceded by a linear relaxation if the program is large.

Deterministic: one worker, a fixed seed, and limits in the solver's deterministic time instead of clock time. Only this
module, `conflict` and `packing` import OR-tools. Independent of clouds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from wecityctl.placement.model import Limits

_NEARLY = 1e-6
_UNKNOWN = -(10**18)


@dataclass(frozen=True, slots=True)
class Variable:
    """A whole number from 0 to the program's upper bound for it."""

    index: int


Count = Variable | int
Term = tuple[Count, int]


@dataclass(slots=True)
class Linear:
    """A weighted sum of variables, and a constant."""

    weights: dict[int, int] = field(default_factory=dict)
    constant: int = 0

    def plus(self, terms: Iterable[Term]) -> Linear:
        """The same sum with more terms."""
        for count, weight in terms:
            if isinstance(count, int):
                self.constant += count * weight
            elif weight:
                self.weights[count.index] = self.weights.get(count.index, 0) + weight
        return self

    def value(self, values: Sequence[int]) -> int:
        return self.constant + sum(weight * values[index] for index, weight in self.weights.items())


@dataclass(frozen=True, slots=True)
class _Row:
    weights: Mapping[int, int]
    low: int | None
    high: int


class Program:
    """Variables, rows, and the values last found. They meet every row, or are the initial guess."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._most: list[int] = []
        self._rows: list[_Row] = []
        self._groups: list[tuple[int, ...]] = []
        self._impossible = False
        self._solved = False
        self._proven = 0
        self.values: list[int] = []

    @property
    def size(self) -> int:
        return len(self._most)

    def variable(self, most: int, guess: int = 0) -> Variable:
        """Add a variable; `guess` is its value at the start of the search."""
        self._most.append(most)
        self.values.append(guess)
        return Variable(len(self._most) - 1)

    def at_most(self, terms: Iterable[Term], limit: int) -> None:
        """Add a row: the sum is at most `limit`."""
        total = Linear().plus(terms)
        if total.weights:
            self._rows.append(_Row(total.weights, None, limit - total.constant))
        elif total.constant > limit:
            self._impossible = True

    def exactly(self, terms: Iterable[Term], wanted: int) -> None:
        """Add a row: the sum equals `wanted`. Its variables form one choice."""
        total = Linear().plus(terms)
        if total.weights:
            wanted -= total.constant
            self._rows.append(_Row(total.weights, wanted, wanted))
            self._groups.append(tuple(total.weights))
        elif total.constant != wanted:
            self._impossible = True

    def minimise(self, goal: Linear, limit: float, gap: float, *, good_enough: bool = False) -> int | None:
        """Minimise `goal`, to within `gap` in a large program, and keep its value for later goals.

        Returns the proven bound, or `None` if no values meet the rows. `limit` is deterministic time. With
        `good_enough`, a large program accepts the best values near its relaxation. Raises `TimeoutError` if no values
        were found.
        """
        if self._impossible:
            return None
        if not goal.weights and self._solved:
            return goal.constant
        bound, is_large = _UNKNOWN, self.size > self._limits.exact_up_to
        if is_large:
            relaxed = self._relax(goal)
            if relaxed is None:
                return None
            bound, values = relaxed
            if values and self._solve(goal, limit, gap / 4, self._narrowed(values)) == "found":
                colocations = goal.value(self.values) - bound <= gap * max(1, abs(goal.value(self.values)))
                if colocations or good_enough:
                    return self._keep(goal, bound)
        status = self._solve(goal, limit, gap if is_large else 0.0, [(0, most) for most in self._most])
        if status == "infeasible":
            return None
        if not self._solved:
            raise TimeoutError("the limit ended before anything was found")
        return self._keep(goal, max(bound, self._proven))

    def _keep(self, goal: Linear, bound: int) -> int:
        if goal.weights:
            self._rows.append(_Row(goal.weights, None, goal.value(self.values) - goal.constant))
        return bound

    def _narrowed(self, values: Sequence[float]) -> list[tuple[int, int]]:
        """Ranges of the variables: choices that the relaxation settles stay between its values and the last ones."""
        split = {index for index, value in enumerate(values) if abs(value - round(value)) > _NEARLY}
        settled = {i for group in self._groups if not split.intersection(group) for i in group}
        ranges = [(0, most) for most in self._most]
        for index in settled:
            relaxed = round(values[index])
            last = self.values[index] if self._solved else relaxed
            ranges[index] = (min(relaxed, last), max(relaxed, last))
        return ranges

    def _relax(self, goal: Linear) -> tuple[int, list[float]] | None:
        """The bound and the values if variables may be fractional; `None` if that is infeasible.

        Rows and goal are scaled to coefficients of at most 1 for numerical stability.
        """
        from ortools.linear_solver.python import model_builder

        model = model_builder.Model()  # type: ignore[no-untyped-call]
        variables = [model.new_num_var(0, most, "") for most in self._most]
        add_up = model_builder.LinearExpr.weighted_sum
        for row in self._rows:
            scale = max(abs(weight) for weight in row.weights.values())
            total = add_up([variables[i] for i in row.weights], [weight / scale for weight in row.weights.values()])
            model.add(total == row.high / scale if row.low is not None else total <= row.high / scale)
        scale = max((abs(weight) for weight in goal.weights.values()), default=1)
        model.minimize(
            add_up([variables[i] for i in goal.weights], [weight / scale for weight in goal.weights.values()])
        )
        solver = model_builder.Solver("GLOP")
        status = solver.solve(model)
        if status == model_builder.SolveStatus.INFEASIBLE:
            return None
        if status != model_builder.SolveStatus.OPTIMAL:
            return _UNKNOWN, []
        lowest = solver.objective_value * scale + goal.constant
        return math.ceil(lowest - _NEARLY * max(1.0, abs(lowest))), [solver.value(each) for each in variables]

    def _solve(self, goal: Linear, limit: float, gap: float, ranges: Sequence[tuple[int, int]]) -> str:
        from ortools.sat.python import cp_model

        model = cp_model.CpModel()
        variables = [model.new_int_var(low, high, "") for low, high in ranges]
        for row in self._rows:
            total = cp_model.LinearExpr.weighted_sum([variables[i] for i in row.weights], [*row.weights.values()])
            if row.low is not None:
                model.add(total == row.high)
            else:
                model.add(total <= row.high)
        for variable, value, (low, high) in zip(variables, self.values, ranges, strict=True):
            model.add_hint(variable, min(max(value, low), high))
        chosen = [variables[i] for i in goal.weights]
        model.minimize(cp_model.LinearExpr.weighted_sum(chosen, [*goal.weights.values()]))
        solver = cp_model.CpSolver()
        solver.parameters.num_workers = 1
        solver.parameters.random_seed = self._limits.seed
        solver.parameters.max_deterministic_time = limit
        solver.parameters.relative_gap_limit = gap
        status = solver.solve(model)
        if status == cp_model.INFEASIBLE:
            return "infeasible"
        if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            return "unknown"
        self._proven = math.ceil(solver.best_objective_bound - 0.5) + goal.constant
        self._solved = True
        self.values = [solver.value(variable) for variable in variables]
        return "found"
