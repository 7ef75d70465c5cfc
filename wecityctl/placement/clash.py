"""The smallest set of constraints that cannot hold together: what is shown when a city cannot be placed.

Constraints of one sort are first looked at as families (all pins to a cloud, everything in a zone), so that a city of
thousands gets an answer; where few members of a family are enough for the clash, those are named instead.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from wecityctl.placement.bundles import together
from wecityctl.placement.clash_large import RelaxedClash
from wecityctl.placement.filters import listed
from wecityctl.placement.model import Constraint
from wecityctl.placement.problem import Problem, restricted

if TYPE_CHECKING:
    from ortools.sat.python import cp_model

Family = Hashable
# Members are named one by one up to this many; beyond it a family is a clearer answer.
_NAMED = 8
_MOST_MEMBERS = 60
# With more items than this the linear relaxation is asked first, and no smaller clash is looked for.
_LARGE = 120
_ROUNDS = 60
# What one question, and all of them together, may cost in the solver's deterministic time.
_PROBE = 1.0
_BUDGET = 8.0


def find_clash(problem: Problem) -> tuple[Constraint, ...]:
    """The clash. Raises `ValueError` when the constraints can hold together after all."""
    for items in _hopeless(problem):
        return _clash_of(restricted(problem, items))
    return _clash_of(problem)


def _hopeless(problem: Problem) -> Iterator[tuple[int, ...]]:
    """Items that have no cloud by themselves, then sets of items that share a cloud and have none: a clash of theirs
    is found without looking at all others."""
    alone = [item for item in range(len(problem.items)) if not problem.allowed(item)]
    yield from ((item,) for item in alone)
    for items in together(problem):
        allowed = set(range(len(problem.clouds)))
        for item in items:
            allowed.intersection_update(problem.allowed(item))
        own = set(items)
        if not allowed or any({pair.left, pair.right} <= own for pair in problem.apart):
            yield items


def _clash_of(problem: Problem) -> tuple[Constraint, ...]:
    families = _families(problem)
    core = _Clash(problem, {constraint: name for name, found in families.items() for constraint in found}).smallest()
    members = [constraint for name in core for constraint in families[name]]
    if len(members) == len(core):
        return _in_order(members)
    if len(members) <= _MOST_MEMBERS:
        named = _Clash(problem, {constraint: constraint for constraint in members}).smallest()
        if len(named) <= max(_NAMED, len(core)):
            return _in_order(constraint for constraint in members if constraint in named)
    return _in_order(_as_one(families[name]) for name in core)


class _Clash:
    """Which of the named groups of constraints clash; constraints without a name are left out."""

    def __init__(self, problem: Problem, names: dict[Constraint, Family]) -> None:
        from ortools.sat.python import cp_model

        self._cp = cp_model
        self._problem = problem
        self._names = names
        self._all = tuple(dict.fromkeys(names.values()))
        self._left = _BUDGET

    def smallest(self) -> tuple[Family, ...]:
        """A smallest clash: by deletion first, then by hitting sets, which prove it or find a smaller one."""
        relaxed = RelaxedClash(self._problem, self._names).smallest(self._all)
        is_large = len(self._problem.items) > _LARGE
        if relaxed is not None and is_large:
            return relaxed
        core = relaxed or self._core(self._all)
        if core is None:
            raise ValueError("the constraints can hold together")
        core = self._shrink(core)
        corrections: list[frozenset[Family]] = []
        for _ in range(0 if is_large else _ROUNDS):
            if self._left <= 0:
                break
            hitting = self._hit(corrections)
            if len(hitting) >= len(core):
                break
            if self._core(hitting) is not None:
                core = hitting
                break
            left_out = self._correction(hitting)
            if not left_out:
                break
            corrections.append(left_out)
        return core

    def _shrink(self, core: tuple[Family, ...]) -> tuple[Family, ...]:
        """Drop what the clash does not need, one after the other."""
        needed: list[Family] = []
        rest = list(core)
        while rest:
            candidate = rest.pop()
            smaller = self._core((*needed, *rest))
            if smaller is None:
                needed.append(candidate)
            else:
                rest = [name for name in rest if name in smaller]
        return tuple(name for name in self._all if name in set(needed))

    def _core(self, active: Sequence[Family]) -> tuple[Family, ...] | None:
        """Those of the active groups that clash, or `None` when they can hold together (or nobody can tell)."""
        model, literals = self._model(active)
        model.add_assumptions(literals.values())
        solver, status = self._solve(model)
        if status != self._cp.INFEASIBLE:
            return None
        found = set(solver.sufficient_assumptions_for_infeasibility())
        return tuple(name for name, literal in literals.items() if literal.index in found)

    def _hit(self, corrections: Sequence[frozenset[Family]]) -> tuple[Family, ...]:
        """A smallest set of groups with one of each correction set."""
        model = self._cp.CpModel()
        chosen = {name: model.new_bool_var(str(number)) for number, name in enumerate(self._all)}
        for correction in corrections:
            model.add_bool_or([chosen[name] for name in self._all if name in correction])
        model.minimize(sum(chosen.values()))
        solver, status = self._solve(model)
        if status not in (self._cp.OPTIMAL, self._cp.FEASIBLE):
            return self._all
        return tuple(name for name, variable in chosen.items() if solver.boolean_value(variable))

    def _correction(self, kept: Iterable[Family]) -> frozenset[Family]:
        """As few groups as can be whose absence lets all others hold, `kept` among them."""
        model, literals = self._model(self._all)
        for name in kept:
            model.add(literals[name] == 1)
        model.maximize(sum(literals.values()))
        solver, status = self._solve(model)
        if status not in (self._cp.OPTIMAL, self._cp.FEASIBLE):
            return frozenset()
        return frozenset(name for name, literal in literals.items() if not solver.boolean_value(literal))

    def _solve(self, model: cp_model.CpModel) -> tuple[cp_model.CpSolver, object]:
        solver = self._cp.CpSolver()
        solver.parameters.num_workers = 1
        solver.parameters.random_seed = 0
        solver.parameters.max_deterministic_time = max(0.01, min(_PROBE, self._left))
        status = solver.solve(model)
        self._left -= solver.response_proto.deterministic_time
        return solver, status

    def _model(self, active: Sequence[Family]) -> tuple[cp_model.CpModel, dict[Family, cp_model.IntVar]]:
        """Every item on one cloud, and each active group obeyed if its literal holds."""
        problem, model = self._problem, self._cp.CpModel()
        clouds = range(len(problem.clouds))
        wanted = set(active)
        literals = {name: model.new_bool_var(f"g{number}") for number, name in enumerate(active)}

        def holds(constraint: Constraint) -> cp_model.IntVar | None:
            name = self._names.get(constraint)
            return literals[name] if name in wanted else None

        on = [[model.new_bool_var(f"x{item}_{cloud}") for cloud in clouds] for item in range(len(problem.items))]
        for number, row in enumerate(on):
            model.add_exactly_one(row)
            for cloud in clouds:
                for clause in problem.refusals[number][cloud]:
                    conditions = [holds(constraint) for constraint in clause.constraints]
                    if all(condition is not None for condition in conditions):
                        model.add_bool_or(
                            [~row[cloud], *(~condition for condition in conditions if condition is not None)]
                        )
        for near in problem.near:
            if (condition := holds(near.constraint)) is not None:
                for cloud in clouds:
                    there = [on[other][target] for other in near.others for target in near.reach[cloud]]
                    model.add_bool_or([~on[near.item][cloud], ~condition, *there])
        for apart in problem.apart:
            if (condition := holds(apart.constraint)) is not None:
                for cloud in clouds:
                    model.add_bool_or([~on[apart.left][cloud], ~on[apart.right][cloud], ~condition])
        for room in problem.rooms:
            if (condition := holds(room.constraint)) is not None:
                load = sum(on[item][room.cloud] * amount for item, amount in room.loads)
                model.add(load <= room.limit).only_enforce_if(condition)
        return model, literals


def constraints_of(problem: Problem) -> tuple[Constraint, ...]:
    """Every constraint of the problem, each once."""
    found: dict[Constraint, None] = {}
    for row in problem.refusals:
        for clauses in row:
            for clause in clauses:
                found |= dict.fromkeys(clause.constraints)
    found |= dict.fromkeys(near.constraint for near in problem.near)
    found |= dict.fromkeys(apart.constraint for apart in problem.apart)
    found |= dict.fromkeys(room.constraint for room in problem.rooms)
    return tuple(found)


def _families(problem: Problem) -> dict[Family, tuple[Constraint, ...]]:
    found: dict[Family, list[Constraint]] = {}
    for constraint in constraints_of(problem):
        found.setdefault(_family(constraint), []).append(constraint)
    return {name: tuple(members) for name, members in found.items()}


def _family(constraint: Constraint) -> Family:
    """What a constraint has in common with others that are written in many places but are one thought."""
    subject = constraint.subjects[0]
    match constraint.kind:
        case "zone" | "pin" | "domestic" | "region":
            return (constraint.kind, constraint.text.removeprefix(subject))
        case "architecture":
            return (constraint.kind, constraint.text.rpartition(": ")[2])
        case "uses" | "route" if len(constraint.subjects) > 1:
            return (constraint.kind, constraint.subjects[1])
        case "accelerators":
            return (constraint.kind, constraint.text.rpartition(" ")[2])
        case _:
            return constraint


def _as_one(members: Sequence[Constraint]) -> Constraint:
    """A family in one sentence."""
    if len(members) == 1:
        return members[0]
    first = members[0]
    subjects = tuple(dict.fromkeys(member.subjects[0] for member in members))
    said = first.text.removeprefix(first.subjects[0])
    said = said.rpartition(": ")[2] if first.kind in ("architecture", "accelerators") else said.strip()
    if first.kind == "route" and len(first.subjects) > 1:
        said = f"each is led to by {first.subjects[1]}, and no way leads there from another cloud"
    elif first.kind == "uses":
        said = f"each uses {first.subjects[1]}, and no declared flow lets that cross clouds"
    elif first.kind not in ("architecture", "accelerators"):
        said = f"each {said}"
    text = f"{len(subjects)} apps and capabilities ({listed(subjects, 4)}): {said}"
    return Constraint(first.kind, subjects, text, first.source)


def _in_order(constraints: Iterable[Constraint]) -> tuple[Constraint, ...]:
    """What the files ask for before what the clouds have; otherwise by sort and subject."""
    return tuple(
        sorted(constraints, key=lambda item: (item.kind == "capacity", item.subjects[:1], item.kind, item.text))
    )
