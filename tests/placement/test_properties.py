"""What holds for every city: a placement obeys everything and is the best; a conflict is real and as small as can
be."""

from __future__ import annotations

import pickle
from itertools import combinations

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.placement.cities import (
    CATALOGUE,
    assignment_of,
    best,
    can_hold,
    cities,
    every_constraint,
    packs,
)
from wecityctl.model.city import City
from wecityctl.placement import Constraint, InfeasiblePlacementError, Limits, Placement, place
from wecityctl.placement.conflict import constraints_of
from wecityctl.placement.conflict_large import RelaxedConflict
from wecityctl.placement.measure import broken, score
from wecityctl.placement.packing import conflicts
from wecityctl.placement.problem import Problem, build_problem

pytestmark = pytest.mark.slow

thorough = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)


def placed(city: City, previous: Placement | None = None) -> Placement | None:
    try:
        return place(city, CATALOGUE, previous)
    except InfeasiblePlacementError:
        return None


@thorough
@given(cities())
def test_a_placement_obeys_everything_and_none_is_better(city: City) -> None:
    problem = build_problem(city, CATALOGUE)
    found = placed(city)
    wanted = best(problem)
    if found is None:
        assert wanted is None
        return
    assignment = assignment_of(problem, found)
    assert list(broken(problem, assignment)) == []
    assert score(problem, assignment) == wanted
    assert found.gap == 0


@settings(thorough, max_examples=60)
@given(cities(most=3))
def test_pods_fit_on_the_nodes_where_they_do_one_by_one(city: City) -> None:
    """Every set of items on every cloud, those that are refused it for other reasons among them."""
    problem = build_problem(city, CATALOGUE)
    numbers = range(len(problem.items))
    for cloud, nodes in enumerate(problem.nodes):
        for many in numbers if nodes is not None else ():
            for items in combinations(numbers, many + 1):
                alone = [cloud if number in items else -1 for number in numbers]
                crowded = [conflict.cloud for conflict in conflicts(problem.nodes, alone)]
                assert crowded == ([] if packs(problem, items, cloud) else [cloud])


def _without_loads(problem: Problem, told: Constraint) -> Constraint:
    """The problem's own constraint: a conflict names in those of capacity who asks for it."""
    (found,) = (
        item
        for item in every_constraint(problem)
        if item == told or (item.kind == "capacity" and told.text.startswith((f"{item.text}, and ", f"{item.text}; ")))
    )
    return found


@thorough
@given(cities())
def test_a_conflict_is_real_and_every_member_is_needed(city: City) -> None:
    try:
        place(city, CATALOGUE)
    except InfeasiblePlacementError as error:
        problem = build_problem(city, CATALOGUE)
        conflict = {_without_loads(problem, constraint) for constraint in error.conflict}
        assert len(conflict) == len(error.conflict)
        assert all(len(constraint.subjects) > 1 for constraint in error.conflict if constraint.kind == "capacity")
        assert not can_hold(problem, conflict)
        for constraint in conflict:
            assert can_hold(problem, conflict - {constraint}), constraint
        assert pickle.loads(pickle.dumps(error)).conflict == error.conflict
    else:
        assume(False)


@settings(thorough, max_examples=40)
@given(cities(most=3), st.data())
def test_what_stands_is_moved_as_little_as_can_be(city: City, data: st.DataObject) -> None:
    names = [cloud.name for cloud in city.clouds]
    somewhere = st.sampled_from([*names, "gone"])
    previous = Placement(
        {item.name: data.draw(somewhere) for item in city.capabilities if data.draw(st.booleans())},
        {(app.tenant, app.name): data.draw(somewhere) for app in city.apps if data.draw(st.booleans())},
        names[0],
    )
    problem = build_problem(city, CATALOGUE, previous)
    found = placed(city, previous)
    if found is not None:
        assignment = assignment_of(problem, found)
        assert score(problem, assignment) == best(problem)
        weights = dict(zip((item.subject for item in problem.items), problem.move_weights, strict=True))
        assert sum(weights[move.subject] for move in found.moves) == score(problem, assignment).moves


@thorough
@given(cities())
def test_the_same_city_is_placed_the_same_and_stays_where_it_stands(city: City) -> None:
    found = placed(city)
    assume(found is not None)
    assert found is not None
    assert place(city, CATALOGUE) == found
    again = place(city, CATALOGUE, found)
    assert again.bare == found.bare
    assert again.moves == ()
    assert pickle.loads(pickle.dumps(found)) == found


@settings(thorough, max_examples=60)
@given(cities(most=4))
def test_a_new_app_that_fits_moves_nothing(city: City) -> None:
    from dataclasses import replace

    first = placed(replace(city, apps=city.apps[:-1]))
    whole = build_problem(city, CATALOGUE, first)
    assume(first is not None)
    wanted = best(whole)
    if wanted is not None and wanted.moves == 0:
        assert place(city, CATALOGUE, first).moves == ()


@settings(thorough, max_examples=60)
@given(cities())
def test_every_decision_says_why_each_other_cloud_was_not_taken(city: City) -> None:
    try:
        found = place(city, CATALOGUE, explain=True)
    except InfeasiblePlacementError:
        return
    names = {cloud.name for cloud in city.clouds}
    assert len(found.decisions) == len(city.capabilities) + sum(app.runs for app in city.apps)
    for decision in found.decisions:
        assert {decision.cloud, *(refusal.cloud for refusal in decision.refused)} == names
        assert decision.reason
        assert all(refusal.text for refusal in decision.refused)
        assert not any("within its limit" in refusal.text for refusal in decision.refused)


@thorough
@given(cities())
def test_the_way_of_large_cities_obeys_everything_and_costs_no_more(city: City) -> None:
    problem = build_problem(city, CATALOGUE)
    wanted = best(problem)
    try:
        found = place(city, CATALOGUE, limits=Limits(exact_up_to=0, gap=0.0))
    except InfeasiblePlacementError:
        assert wanted is None
        return
    assignment = assignment_of(problem, found)
    assert list(broken(problem, assignment)) == []
    assert wanted is not None
    assert score(problem, assignment)[:3] == wanted[:3]
    assert found.bound == found.cost_per_hour


@settings(thorough, max_examples=80)
@given(cities())
def test_a_conflict_of_the_relaxation_is_real(city: City) -> None:
    problem = build_problem(city, CATALOGUE)
    names = {constraint: constraint for constraint in every_constraint(problem)}
    everything = tuple(constraints_of(problem))
    found = RelaxedConflict(problem, names).smallest(everything)
    if found is None:
        return
    assert not can_hold(problem, set(found))
    for constraint in found:
        rest = tuple(other for other in found if other != constraint)
        assert RelaxedConflict(problem, names).smallest(rest) is None
