"""Decides which underlying cloud runs which capability and app.

A pure function of the city, the catalogue and the current placement: equal inputs give equal placements. The solver is
not loaded if there is no choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from wecityctl.errors import TimedOutError
from wecityctl.model.catalogue import Catalogue
from wecityctl.model.city import App, City
from wecityctl.model.entries import gateway_of
from wecityctl.placement.anti_affinity_groups import anti_affinity_group_of
from wecityctl.placement.bundles import Bundle, bundle, direct, least_moving, spread_out
from wecityctl.placement.interconnect import ingress_cloud
from wecityctl.placement.measure import broken, score
from wecityctl.placement.model import InfeasiblePlacementError, Limits, Move, Placement
from wecityctl.placement.packing import conflicts
from wecityctl.placement.problem import Assignment, Problem, build_problem
from wecityctl.placement.supply import MICRO

DEFAULT_LIMITS = Limits()
# Limit of searches for one placement. Each search knows the packing conflicts of the previous ones.
_MOST_SEARCHES = 40


def place(
    city: City,
    catalogue: Catalogue,
    previous: Placement | None = None,
    *,
    explain: bool = False,
    limits: Limits = DEFAULT_LIMITS,
) -> Placement:
    """Place everything that runs in `city`, with as few moves as possible from the placement `previous`.

    With `explain`, the placement includes its decisions. Raises `InfeasiblePlacementError` with the conflicting
    constraints.
    """
    problem = build_problem(city, catalogue, previous)
    assignment, bound = _assign(problem, limits)
    found = _placement(problem, assignment, bound)
    if explain:
        from wecityctl.placement.decisions import decide

        return replace(found, decisions=decide(problem, assignment))
    return found


def _assign(problem: Problem, limits: Limits) -> tuple[Assignment, int]:
    """The clouds of the items, and the lower bound of the cost."""
    for _ in range(_MOST_SEARCHES):
        bundles = bundle(problem)
        if bundles is None:
            raise conflict_of(problem)
        settled = least_moving(bundles)
        only = direct(problem, settled)
        if only is not None and next(broken(problem, only), None) is None:
            return only, score(problem, only).cost
        if anti_affinity_group_of(problem):
            raise conflict_of(problem)
        found = _search(problem, bundles, settled, limits)
        if found is None:
            raise conflict_of(problem)
        more = tuple(conflicts(problem.nodes, found[0]))
        if not more:
            return found
        problem = replace(problem, conflicts=(*problem.conflicts, *more))
    raise _out_of_limits(problem)


def _search(
    problem: Problem, bundles: Sequence[Bundle], settled: Sequence[Bundle], limits: Limits
) -> tuple[Assignment, int] | None:
    from wecityctl.placement.solver import solve

    try:
        # First only the clouds with the fewest moves of each bundle: if these are feasible, no assignment has fewer
        # moves.
        found = solve(problem, settled, limits, weigh_moves=False)
        if found is None and any(len(a.clouds) < len(b.clouds) for a, b in zip(settled, bundles, strict=True)):
            found = solve(problem, bundles, limits, weigh_moves=True)
    except TimeoutError as error:
        raise _out_of_limits(problem) from error
    if found is None:
        return None
    return spread_out(problem, bundles, found.chosen), found.bound


def _out_of_limits(problem: Problem) -> TimedOutError:
    return TimedOutError(
        "no placement was found within the solver's limit",
        details=f"capabilities and apps: {len(problem.items)}, clouds: {len(problem.clouds)}",
        resolution="pin some of them to clouds (spec.cloud), or give the clouds more room",
    )


def conflict_of(problem: Problem) -> InfeasiblePlacementError:
    """The error for a city that cannot be placed."""
    from wecityctl.placement.conflict import find_conflict

    found = find_conflict(problem)
    return InfeasiblePlacementError(found.constraints, is_minimal=found.is_minimal)


def _placement(problem: Problem, assignment: Assignment, bound: int) -> Placement:
    city = problem.city
    names = [cloud.name for cloud in problem.clouds]
    capabilities: dict[str, str] = {}
    apps: dict[tuple[str, str], str] = {}
    for item, cloud in zip(problem.items, assignment, strict=True):
        if item.app is not None:
            apps[(item.app.tenant, item.app.name)] = names[cloud]
        else:
            capabilities[item.key[1]] = names[cloud]
    cost = score(problem, assignment).cost
    gateway = gateway_of(city)
    return Placement(
        {item.name: capabilities[item.name] for item in city.capabilities},
        _in_file_order(city, apps),
        capabilities[gateway.name] if gateway is not None else ingress_cloud(city) or names[0],
        (),
        tuple(_moves(problem, assignment)),
        Decimal(cost) / MICRO,
        Decimal(bound) / MICRO,
        max(0.0, (cost - bound) / cost) if cost else 0.0,
        next((cloud.prices.currency for cloud in city.clouds if cloud.prices is not None), ""),
    )


def _in_file_order(city: City, running: dict[tuple[str, str], str]) -> dict[tuple[str, str], str]:
    """The clouds of all apps in file order.

    An app that does not run is put on its tenant's cloud if that is allowed.
    """
    return {
        (app.tenant, app.name): running.get((app.tenant, app.name)) or _idle(city, app, running) for app in city.apps
    }


def _idle(city: City, app: App, running: dict[tuple[str, str], str]) -> str:
    clouds = [cloud.name for cloud in city.clouds if app.cloud in ("", cloud.name)]
    served = [name for name in clouds if app.zone in city.cloud(name).zones] or clouds
    colocations = {cloud for (tenant, _), cloud in running.items() if tenant == app.tenant}
    return next((cloud for cloud in served if cloud in colocations), served[0])


def _moves(problem: Problem, assignment: Assignment) -> list[Move]:
    return [
        Move(item.subject, problem.clouds[current].name, problem.clouds[cloud].name, item.has_data)
        for item, current, cloud in zip(problem.items, problem.current, assignment, strict=True)
        if current not in (-1, cloud)
    ]
