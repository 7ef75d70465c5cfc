"""More things that are to be apart than there are clouds: told at once, counted and not searched."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.placement.cities import CATALOGUE
from tests.stacks.cities import app, city
from wecityctl.model.city import City, Cloud, Component, PlacementRules, Resources
from wecityctl.placement import InfeasiblePlacementError, place
from wecityctl.placement.anti_affinity_groups import cliques, too_many
from wecityctl.placement.conflict import _Search, constraints_of
from wecityctl.placement.problem import build_problem

WEB = Component("web", "registry.example/app:1", resources=Resources("1", "1Gi"))
TEN = tuple(Cloud(f"cloud-{number}", "local", ("internet",)) for number in range(10))


def anti_affinities(many: int, clouds: tuple[Cloud, ...] = TEN, **changes: Any) -> City:
    names = [f"app-{number}" for number in range(many)]
    apps = [
        app(
            name,
            components=(WEB,),
            route=None,
            placement=PlacementRules(anti_affinity=tuple(other for other in names if other != name)),
            **changes,
        )
        for name in names
    ]
    return city(*apps, clouds=clouds, platforms=())


@pytest.mark.parametrize("many", [12, 40])
def test_a_anti_affinity_group_is_refused_with_one_sentence(many: int) -> None:
    with pytest.raises(InfeasiblePlacementError) as caught:
        place(anti_affinities(many), CATALOGUE)
    (constraint,) = caught.value.conflict
    assert constraint.text.startswith(f"{many} apps and capabilities (app health/app-0, ")
    assert constraint.text.endswith("share no cloud with each other (antiAffinity), and 10 clouds will do for them")
    assert constraint.source is not None
    assert caught.value.is_minimal


def test_as_many_as_clouds_are_placed() -> None:
    found = place(anti_affinities(10), CATALOGUE)
    assert len(set(found.apps.values())) == 10


def test_what_keeps_a_anti_affinity_group_off_the_other_clouds_is_said_too() -> None:
    clouds = tuple(replace(cloud, zones=("office",)) if number > 5 else cloud for number, cloud in enumerate(TEN))
    with pytest.raises(InfeasiblePlacementError) as caught:
        place(anti_affinities(8, clouds), CATALOGUE)
    first, second = caught.value.conflict
    assert first.text.endswith("and 6 clouds will do for them")
    assert (first.kind, second.kind) == ("anti-affinity", "zone")
    assert second.text.startswith("8 apps and capabilities (")


def test_a_search_that_gives_up_shows_a_conflict_that_may_be_larger(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = build_problem(anti_affinities(12), CATALOGUE)
    everything = constraints_of(problem)
    search = _Search(problem, {constraint: constraint for constraint in everything})
    monkeypatch.setattr("wecityctl.placement.conflict._PROBE", 0.0)
    assert search._whole() == everything
    assert not search.is_minimal
    error = InfeasiblePlacementError(everything, is_minimal=False)
    assert "not all of them may be needed" in error.resolution
    assert not error.located({}).is_minimal


edges = st.sets(st.tuples(st.integers(0, 7), st.integers(0, 7)).filter(lambda pair: pair[0] < pair[1]))


@given(edges)
def test_cliques_cover_each_pair_and_nothing_else(pairs: set[tuple[int, int]]) -> None:
    beside: dict[int, set[int]] = {}
    for left, right in pairs:
        beside.setdefault(left, set()).add(right)
        beside.setdefault(right, set()).add(left)
    assert {pair for clique in cliques(beside) for pair in combinations(clique, 2)} == pairs


@given(st.lists(st.sets(st.integers(0, 4)), max_size=6))
def test_too_many_are_one_more_than_their_clouds_and_any_fewer_fit(clouds: list[set[int]]) -> None:
    found = too_many(range(len(clouds)), clouds.__getitem__)
    if found:
        assert len(found) == len(set().union(*(clouds[item] for item in found))) + 1
        for left_out in found:
            assert too_many([item for item in found if item != left_out], clouds.__getitem__) == ()
    else:
        for size in range(1, len(clouds) + 1):
            for some in combinations(clouds, size):
                assert len(set().union(*some)) >= size
