"""Determines which stacks can still run after a platform's stack has failed in part.

Pure functions over the plan and the engine's report.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from wecityctl.model.catalogue import Catalogue
from wecityctl.model.city import City
from wecityctl.model.requirements import reached, requirements
from wecityctl.plan import Plan, Stack


def still_served(plan: Plan, catalogue: Catalogue, stack: Stack, failed: Collection[str]) -> frozenset[str]:
    """Return the names of the stacks that depend on the platform stack `stack` but on none of its failed capabilities.

    `failed` has the URNs of the changes that did not succeed. A URN gives the type of a component but not the instance,
    so all instances of a type count as failed. The result is empty if a failed resource belongs to no capability, such
    as a namespace, or if no failed resource is known.
    """
    here = {
        item.name
        for item in plan.city.capabilities
        if item.platform == stack.subject and plan.placement.capabilities[item.name] == stack.cloud
    }
    broken = _broken(plan.city, catalogue, here, failed)
    return frozenset(
        other.name
        for other in plan.stacks
        if broken and stack.name in other.depends_on and other.builds_on and broken.isdisjoint(other.builds_on)
    )


def _broken(city: City, catalogue: Catalogue, here: Collection[str], failed: Iterable[str]) -> frozenset[str]:
    """Return the capabilities of `here` that failed and all capabilities of the city that depend on one; empty if
    unknown.
    """
    by_component: dict[str, set[str]] = {}
    for name in here:
        kind = catalogue[city.capability(name).type]
        component = f"wecity:{kind.platform}:{kind.program.partition(':')[2]}"
        by_component.setdefault(component, set()).add(name)
    found: set[str] = set()
    for urn in failed:
        chain = urn.split("::")[2].split("$") if urn.count("::") > 2 else []
        names = {name for part in chain for name in by_component.get(part, ())}
        if not names:
            return frozenset()
        found |= names
    graph = requirements(city.capabilities, catalogue)
    return frozenset(name for name in graph if not found.isdisjoint(reached(graph, name)))
