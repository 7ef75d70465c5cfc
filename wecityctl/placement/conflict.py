"""Finds the smallest set of constraints that cannot hold together, to be reported if a city cannot be placed.

Similar constraints are first combined into families (all pins to a cloud, everything in a zone), so that a city with
thousands of items gets an answer. If few members of a family suffice for the conflict, those are named instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import comb
from typing import TYPE_CHECKING

from wecityctl.placement.anti_affinity_groups import anti_affinity_group_of, conflict_of_anti_affinity_group
from wecityctl.placement.bundles import together
from wecityctl.placement.conflict_large import RelaxedConflict
from wecityctl.placement.families import Family, as_one, family_of
from wecityctl.placement.loads import with_loads
from wecityctl.placement.model import Constraint
from wecityctl.placement.packing import PackingConflict, conflicts
from wecityctl.placement.problem import Problem, restricted

if TYPE_CHECKING:
    from ortools.sat.python import cp_model

# Up to this many members are named one by one; more are shown as a family.
_NAMED = 8
_MOST_MEMBERS = 60
# A longer conflict is not sorted by common subjects: nobody would read it that way.
_MOST_LINKED = 200
# With more items, the linear relaxation is tried first, and no smaller conflict is searched for.
_LARGE = 120
_ROUNDS = 60
# Limits in the solver's deterministic time: for one question, and for all of them together.
_PROBE = 1.0
_BUDGET = 8.0


@dataclass(frozen=True, slots=True)
class Conflict:
    """Constraints that cannot hold together.

    `is_minimal`: any proper subset can hold, as far as was checked. Otherwise the search reached its limit, and some
    may not be needed.
    """

    constraints: tuple[Constraint, ...]
    is_minimal: bool = True


def find_conflict(problem: Problem) -> Conflict:
    """The conflict of an infeasible problem. Raises `ValueError` if the constraints can hold together."""
    for items in _hopeless(problem):
        return _conflict_of(restricted(problem, items))
    anti_affinity_group = anti_affinity_group_of(problem)
    if comb(len(anti_affinity_group), 2) > _NAMED:
        return Conflict(_in_order(conflict_of_anti_affinity_group(problem, anti_affinity_group)))
    return _conflict_of(restricted(problem, anti_affinity_group) if anti_affinity_group else problem)


def _hopeless(problem: Problem) -> Iterator[tuple[int, ...]]:
    """Items that have no cloud, then sets of items that must share a cloud and have none.

    Their conflict is found without considering the other items.
    """
    alone = [item for item in range(len(problem.items)) if not problem.allowed(item)]
    yield from ((item,) for item in alone)
    for items in together(problem):
        allowed = set(range(len(problem.clouds)))
        for item in items:
            allowed.intersection_update(problem.allowed(item))
        own = set(items)
        if not allowed or any({pair.left, pair.right} <= own for pair in problem.anti_affinities):
            yield items


def _conflict_of(problem: Problem) -> Conflict:
    families = _families(problem)
    search = _Search(problem, {constraint: name for name, found in families.items() for constraint in found})
    core = search.smallest()
    members = [constraint for name in core for constraint in families[name]]

    def shown(found: Iterable[Constraint], active: Sequence[Constraint], by: _Search) -> tuple[Constraint, ...]:
        return with_loads(problem, _in_order(found), active, by.conflicts)

    if len(members) == len(core):
        return Conflict(shown(members, members, search), search.is_minimal)
    if len(members) <= _MOST_MEMBERS:
        of_members = _Search(problem, {constraint: constraint for constraint in members})
        named = of_members.smallest()
        if len(named) <= max(_NAMED, len(core)):
            chosen = [constraint for constraint in members if constraint in named]
            return Conflict(shown(chosen, chosen, of_members), of_members.is_minimal)
    return Conflict(shown((as_one(families[name]) for name in core), members, search), search.is_minimal)


@dataclass(frozen=True, slots=True)
class _Question:
    """A model, the literals of its active groups, and whether an item is on a cloud."""

    model: cp_model.CpModel
    literals: dict[Family | None, cp_model.IntVar]
    on: list[list[cp_model.IntVar]]


class _Search:
    """Searches the named families of constraints for a conflict; constraints without a name are ignored."""

    def __init__(self, problem: Problem, names: dict[Constraint, Family]) -> None:
        from ortools.sat.python import cp_model

        self._cp = cp_model
        self._problem = problem
        self._names = names
        self._all = tuple(dict.fromkeys(names.values()))
        self._left = _BUDGET
        self.conflicts = list(problem.conflicts)
        self.is_minimal = True

    def smallest(self) -> tuple[Family, ...]:
        """A smallest conflict: first by deletion, then by hitting sets, which prove it or find a smaller one."""
        relaxed = RelaxedConflict(self._problem, self._names).smallest(self._all)
        is_large = len(self._problem.items) > _LARGE
        if relaxed is not None and is_large:
            return relaxed
        core = self._shrink(relaxed or self._whole())
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

    def _whole(self) -> tuple[Family, ...]:
        """The families that the solver reports for all of them; all of them if it reaches its limit."""
        question = self._question(self._all)
        question.model.add_assumptions(question.literals.values())
        solver, status = self._ask(question)
        if status in (self._cp.OPTIMAL, self._cp.FEASIBLE):
            raise ValueError("the constraints can hold together")
        if status == self._cp.INFEASIBLE:
            return self._named(solver, question.literals)
        self.is_minimal = False
        return self._all

    def _shrink(self, core: tuple[Family, ...]) -> tuple[Family, ...]:
        """Remove families that the conflict does not need, one after the other."""
        needed: list[Family] = []
        rest = list(core)
        while rest:
            if self._left <= 0:
                self.is_minimal = False
                break
            candidate = rest.pop()
            smaller = self._core((*needed, *rest))
            if smaller is None:
                needed.append(candidate)
            else:
                rest = [name for name in rest if name in smaller]
        kept = {*needed, *rest}
        return tuple(name for name in self._all if name in kept)

    def _core(self, active: Sequence[Family]) -> tuple[Family, ...] | None:
        """The active families that conflict; `None` if they can hold together, or if that cannot be decided."""
        question = self._question(active)
        question.model.add_assumptions(question.literals.values())
        solver, status = self._ask(question)
        if status != self._cp.INFEASIBLE:
            # If undecided, nothing is removed: what is reported must be a conflict.
            self.is_minimal &= status in (self._cp.OPTIMAL, self._cp.FEASIBLE)
            return None
        return self._named(solver, question.literals)

    @staticmethod
    def _named(solver: cp_model.CpSolver, literals: Mapping[Family, cp_model.IntVar]) -> tuple[Family, ...]:
        """The families whose literals are in the solver's infeasibility core."""
        found = set(solver.sufficient_assumptions_for_infeasibility())
        return tuple(name for name, literal in literals.items() if literal.index in found)

    def _hit(self, corrections: Sequence[frozenset[Family]]) -> tuple[Family, ...]:
        """A smallest set of families that contains one of each correction set."""
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
        """A minimal set of families without which all others, including `kept`, can hold."""
        question = self._question(self._all)
        literals = question.literals
        for name in kept:
            question.model.add(literals[name] == 1)
        question.model.maximize(sum(literals.values()))
        solver, status = self._ask(question)
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

    def _ask(self, question: _Question) -> tuple[cp_model.CpSolver, object]:
        """Solve; repeated with the packing conflicts of clouds whose node constraint is active, until pods fit on the
        nodes.
        """
        while True:
            solver, status = self._solve(question.model)
            if status not in (self._cp.OPTIMAL, self._cp.FEASIBLE):
                return solver, status
            assignment = [[solver.boolean_value(each) for each in row].index(True) for row in question.on]
            obeyed = [
                own if own is not None and self._holds_in(question, own.constraint, solver) else None
                for own in self._problem.nodes
            ]
            found = tuple(conflicts(obeyed, assignment))
            if not found:
                return solver, status
            if self._left <= 0:
                return solver, self._cp.UNKNOWN
            self.conflicts += found
            for conflict in found:
                self._part(question, conflict)

    def _holds_in(self, question: _Question, constraint: Constraint, solver: cp_model.CpSolver) -> bool:
        literal = question.literals.get(self._names.get(constraint))
        return literal is not None and solver.boolean_value(literal)

    def _part(self, question: _Question, conflict: PackingConflict) -> None:
        """Add a packing conflict: at least one group has fewer members on the cloud than the conflict needs."""
        condition = question.literals.get(self._names.get(conflict.constraint))
        if condition is None:
            return
        fewer = []
        for members, many in conflict.groups:
            fewer.append(question.model.new_bool_var(""))
            here = [question.on[item][conflict.cloud] for item in sorted(members)]
            question.model.add(sum(here) < many).only_enforce_if(fewer[-1])
        question.model.add_bool_or([~condition, *fewer])

    def _question(self, active: Sequence[Family]) -> _Question:
        """A model in which every item has one cloud, and each active family is enforced by its literal."""
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
        for colocations in problem.colocations:
            if (condition := holds(colocations.constraint)) is not None:
                for cloud in clouds:
                    there = [on[other][target] for other in colocations.others for target in colocations.reach[cloud]]
                    model.add_bool_or([~on[colocations.item][cloud], ~condition, *there])
        for anti_affinities in problem.anti_affinities:
            if (condition := holds(anti_affinities.constraint)) is not None:
                for cloud in clouds:
                    model.add_bool_or([~on[anti_affinities.left][cloud], ~on[anti_affinities.right][cloud], ~condition])
        for room in problem.capacities:
            if (condition := holds(room.constraint)) is not None:
                load = sum(on[item][room.cloud] * amount for item, amount in room.loads)
                model.add(load <= room.limit).only_enforce_if(condition)
        question = _Question(model, literals, on)
        for conflict in self.conflicts:
            self._part(question, conflict)
        return question


def constraints_of(problem: Problem) -> tuple[Constraint, ...]:
    """Every constraint of the problem, without duplicates."""
    found: dict[Constraint, None] = {}
    for row in problem.refusals:
        for clauses in row:
            for clause in clauses:
                found |= dict.fromkeys(clause.constraints)
    found |= dict.fromkeys(colocations.constraint for colocations in problem.colocations)
    found |= dict.fromkeys(anti_affinities.constraint for anti_affinities in problem.anti_affinities)
    found |= dict.fromkeys(room.constraint for room in problem.capacities)
    found |= dict.fromkeys(own.constraint for own in problem.nodes if own is not None and any(own.pods))
    return tuple(found)


def _families(problem: Problem) -> dict[Family, tuple[Constraint, ...]]:
    found: dict[Family, list[Constraint]] = {}
    for constraint in constraints_of(problem):
        found.setdefault(family_of(constraint), []).append(constraint)
    return {name: tuple(members) for name, members in found.items()}


def _in_order(constraints: Iterable[Constraint]) -> tuple[Constraint, ...]:
    """Sort constraints: those from files of apps and capabilities first, then those of the clouds.

    Each one is next to one with a common subject, so that a chain is readable; otherwise by kind and subject.
    """
    ranked = sorted(constraints, key=lambda item: (item.subjects[:1], item.kind, item.text))
    rest = [item for item in ranked if item.kind != "capacity"]
    if len(rest) > _MOST_LINKED:
        return tuple(sorted(ranked, key=lambda item: item.kind == "capacity"))
    subjects = {item: frozenset(item.subjects) for item in rest}

    def links(item: Constraint) -> int:
        return sum(not subjects[item].isdisjoint(other) for other in subjects.values())

    found: list[Constraint] = []
    said: set[str] = set()
    while rest:
        if not found:
            following = min(rest, key=links)
        else:
            last = found[-1]
            following = min(
                rest,
                key=lambda item: (
                    subjects[item].isdisjoint(last.subjects),
                    item.subjects[0] != last.subjects[-1],
                    subjects[item].isdisjoint(said),
                ),
            )
        rest.remove(following)
        found.append(following)
        said |= subjects[following]
    return (*found, *(item for item in ranked if item.kind == "capacity"))
