"""Explains a placement: for each item and rejected cloud, the violated constraint or the preference.

Each cloud is tried for an item and the items that must share its cloud, while all others stay where they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import ROUND_FLOOR, Decimal

from wecityctl.placement.filters import amount_text, listed
from wecityctl.placement.measure import FULL, LOADED, balance_weights, capacity, item_load, squared
from wecityctl.placement.model import Constraint, Decision, Preference, Refusal
from wecityctl.placement.packing import Pods, fits, holds_more, left_over, pods_on, shapes_of
from wecityctl.placement.problem import Problem, own_cost
from wecityctl.placement.relations import Colocation
from wecityctl.placement.supply import MICRO

_PREFERENCES: tuple[Preference, ...] = ("stability", "spread", "cost", "balance", "order")
_REASONS: Mapping[str, str] = {
    "stability": "it stands there, and a move is destructive",
    "spread": "deals its group out evenly",
    "cost": "the cheapest feasible one",
    "balance": "loads the clouds evenly, at the same cost",
    "order": "as good as others, and first in the files",
}


def decide(problem: Problem, assignment: Sequence[int]) -> tuple[Decision, ...]:
    """A decision for each item, in the problem's order."""
    return _Explainer(problem, assignment).all()


class _Explainer:
    def __init__(self, problem: Problem, assignment: Sequence[int]) -> None:
        self._problem = problem
        self._assignment = tuple(assignment)
        self._clouds = range(len(problem.clouds))
        self._links: dict[int, list[tuple[int, Colocation]]] = {}
        for colocations in problem.colocations:
            if colocations.is_together:
                self._links.setdefault(colocations.item, []).append((colocations.others[0], colocations))
                self._links.setdefault(colocations.others[0], []).append((colocations.item, colocations))
        self._colocations_of: dict[int, list[Colocation]] = {}
        for colocations in problem.colocations:
            for item in {colocations.item, *colocations.others}:
                self._colocations_of.setdefault(item, []).append(colocations)
        self._capacities_of: dict[int, list[tuple[int, int]]] = {}
        self._taken = [0] * len(problem.capacities)
        for number, room in enumerate(problem.capacities):
            for item, amount in room.loads:
                self._capacities_of.setdefault(item, []).append((number, amount))
                if assignment[item] == room.cloud:
                    self._taken[number] += amount
        self._pods = [pods_on(own, assignment, cloud) if own else Counter() for cloud, own in enumerate(problem.nodes)]
        self._fitting: dict[tuple[int, frozenset[tuple[Pods, int]]], bool] = {}
        self._left_over = [
            left_over(own, shapes_of(pods)) if own else None
            for own, pods in zip(problem.nodes, self._pods, strict=True)
        ]
        self._weights = balance_weights(problem)
        self._load = [[0] * len(LOADED) for _ in self._clouds]
        for item, cloud in enumerate(assignment):
            for index, resource in enumerate(LOADED):
                self._load[cloud][index] += item_load(problem, item, resource)
        self._counts = {
            group: [sum(assignment[item] == cloud for item in members) for cloud in self._clouds]
            for group, members in problem.spread.items()
        }
        self._group_of = {item: name for name, members in problem.spread.items() for item in members}

    def all(self) -> tuple[Decision, ...]:
        return tuple(self._decision(item) for item in range(len(self._problem.items)))

    def _decision(self, item: int) -> Decision:
        problem, chosen = self._problem, self._assignment[item]
        company = self._company(item)
        refused = tuple(self._refusal(item, company, cloud) for cloud in self._clouds if cloud != chosen)
        supply = problem.clouds[chosen]
        eligible_pools = problem.eligible_pools[item][chosen]
        pools = sorted({index for pools in eligible_pools for index in pools})
        cost = own_cost(problem.items[item], supply)
        return Decision(
            problem.items[item].subject,
            supply.name,
            tuple(supply.pools[index].pool.name for index in pools),
            None if cost is None else Decimal(cost) / MICRO,
            self._reason(refused),
            refused,
        )

    def _reason(self, refused: Sequence[Refusal]) -> str:
        if len(self._clouds) == 1:
            return "the city's only cloud"
        kinds = {refusal.kind for refusal in refused}
        return next((_REASONS[kind] for kind in _PREFERENCES if kind in kinds), "no other cloud will do")

    def _company(self, item: int) -> dict[int, tuple[Constraint, ...]]:
        """The items that must share the item's cloud, each with the chain of constraints that requires it."""
        found: dict[int, tuple[Constraint, ...]] = {item: ()}
        pending = [item]
        for current in pending:
            for other, colocations in self._links.get(current, ()):
                if other not in found:
                    found[other] = (*found[current], colocations.constraint)
                    pending.append(other)
        return found

    def _refusal(self, item: int, company: Mapping[int, tuple[Constraint, ...]], cloud: int) -> Refusal:
        for refusal in (
            self._own(item, cloud),
            self._of_company(company, cloud),
            self._of_relations(company, cloud),
            self._of_room(company, cloud),
            self._of_nodes(company, cloud),
        ):
            if refusal is not None:
                return refusal
        return self._preferred(company, cloud)

    def _name(self, cloud: int) -> str:
        return self._problem.clouds[cloud].name

    def _own(self, item: int, cloud: int) -> Refusal | None:
        clauses = self._problem.refusals[item][cloud]
        if not clauses:
            return None
        constraints = tuple(dict.fromkeys(constraint for clause in clauses for constraint in clause.constraints))
        return _refused(self._name(cloud), constraints)

    def _of_company(self, company: Mapping[int, tuple[Constraint, ...]], cloud: int) -> Refusal | None:
        for other, chain in company.items():
            clauses = self._problem.refusals[other][cloud]
            if clauses and chain:
                return _refused(self._name(cloud), (*chain, *clauses[0].constraints))
        return None

    def _of_relations(self, company: Mapping[int, tuple[Constraint, ...]], cloud: int) -> Refusal | None:
        def there(item: int) -> int:
            return cloud if item in company else self._assignment[item]

        for member in company:
            for colocations in self._colocations_of.get(member, ()):
                reached = colocations.reach[there(colocations.item)]
                if not any(there(other) in reached for other in colocations.others):
                    return _refused(self._name(cloud), (colocations.constraint,))
        for anti_affinities in self._problem.anti_affinities:
            if (anti_affinities.left in company or anti_affinities.right in company) and there(
                anti_affinities.left
            ) == there(anti_affinities.right):
                return _refused(self._name(cloud), (anti_affinities.constraint,))
        return None

    def _of_room(self, company: Mapping[int, tuple[Constraint, ...]], cloud: int) -> Refusal | None:
        asked: dict[int, int] = {}
        for member in company:
            for number, amount in self._capacities_of.get(member, ()):
                if self._problem.capacities[number].cloud == cloud:
                    asked[number] = asked.get(number, 0) + amount
        for number, amount in asked.items():
            room = self._problem.capacities[number]
            if self._taken[number] + amount > room.limit:
                left = amount_text(room.resource, max(0, room.limit - self._taken[number]), ROUND_FLOOR)
                text = f"{room.offer}, {left} free, and {amount_text(room.resource, amount)} asked for"
                return Refusal(self._name(cloud), "capacity", text, (room.constraint,))
        return None

    def _of_nodes(self, company: Mapping[int, tuple[Constraint, ...]], cloud: int) -> Refusal | None:
        nodes = self._problem.nodes[cloud]
        if nodes is None:
            return None
        pods = Counter(nodes.pods[item] for item in company)
        asked = (cloud, frozenset(pods.items()))
        if asked not in self._fitting:
            left = self._left_over[cloud]
            fit = left is not None and holds_more(nodes, left, pods)
            self._fitting[asked] = fit or fits(nodes, self._pods[cloud] + pods)
        if self._fitting[asked]:
            return None
        text = f"its nodes do not hold the pods side by side; {nodes.constraint.text}"
        return Refusal(self._name(cloud), "capacity", text, (nodes.constraint,))

    def _preferred(self, company: Mapping[int, tuple[Constraint, ...]], cloud: int) -> Refusal:
        problem, name = self._problem, self._name(cloud)
        weights = problem.move_weights
        moves = cost = order = 0
        for member in company:
            here, current = self._assignment[member], problem.current[member]
            moves += weights[member] * ((current not in (-1, cloud)) - (current not in (-1, here)))
            cost += problem.cost[member][cloud] - problem.cost[member][here]
            order += cloud - here
        spread = self._spread_change(company, cloud)
        many = f", with {len(company) - 1} more that must be with it" if len(company) > 1 else ""
        if moves > 0:
            return Refusal(name, "stability", f"it stands on {self._here(company)}, and a move is destructive")
        if moves == 0 and spread > 0:
            return Refusal(name, "spread", "its group would be dealt out less evenly")
        if (moves, spread) == (0, 0) and cost > 0:
            unit = next((c.cloud.prices.currency for c in problem.clouds if c.cloud.prices is not None), "")
            return Refusal(name, "cost", f"{_money(cost)} {unit} an hour dearer{many}")
        if (moves, spread, cost) == (0, 0, 0):
            balance = self._balance_change(company, cloud)
            if balance > 0:
                return Refusal(name, "balance", "the clouds would be loaded less evenly")
            if balance == 0 and order >= 0:
                return Refusal(name, "order", "as good, and later in the files")
        return Refusal(name, "order", "the search ended within its limit before this was tried")

    def _here(self, company: Mapping[int, tuple[Constraint, ...]]) -> str:
        return self._name(self._assignment[next(iter(company))])

    def _spread_change(self, company: Mapping[int, tuple[Constraint, ...]], cloud: int) -> int:
        """How the sum of squares over the spread groups changes if the whole company moves there together."""
        here = self._assignment[next(iter(company))]
        groups = Counter(self._group_of[member] for member in company if member in self._group_of)
        change = 0
        for group, many in groups.items():
            there, left = self._counts[group][cloud], self._counts[group][here]
            change += (there + many) ** 2 - there**2 + (left - many) ** 2 - left**2
        return change

    def _balance_change(self, company: Mapping[int, tuple[Constraint, ...]], cloud: int) -> int:
        if not self._weights:
            return 0
        here = self._assignment[next(iter(company))]
        change = 0
        for place, sign in ((cloud, 1), (here, -1)):
            before, after = 0, 0
            for index, resource in enumerate(LOADED):
                room = capacity(self._problem, place, resource)
                load = self._load[place][index]
                moved = load + sign * sum(item_load(self._problem, member, resource) for member in company)
                before = max(before, -(-load * FULL // room) if room else 0)
                after = max(after, -(-moved * FULL // room) if room else 0)
            change += self._weights[place] * (squared(after) - squared(before))
        return change


def _refused(cloud: str, constraints: tuple[Constraint, ...]) -> Refusal:
    kind = constraints[0].kind
    return Refusal(cloud, kind, "; ".join(listed([constraint.text]) for constraint in constraints), constraints)


def _money(micro: int) -> str:
    return f"{Decimal(micro) / MICRO:.4f}".rstrip("0").rstrip(".") or "0"
