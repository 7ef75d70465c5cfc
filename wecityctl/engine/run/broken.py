"""What a platform's stack that failed still serves: the stacks that use none of its broken capabilities.

Pure functions over the plan and the engine's report.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from wecityctl.model.catalogue import Catalogue
from wecityctl.model.city import City
from wecityctl.model.requirements import reached, requirements
from wecityctl.plan import Plan, Stack


def still_served(plan: Plan, catalogue: Catalogue, stack: Stack, failed: Collection[str]) -> frozenset[str]:
    """The names of the stacks that need `stack`, a platform's, and none of the capabilities that failed in it.

    `failed` has the URNs of the changes that did not succeed. A URN tells the type of its component and not the
    instance, so that all instances of a type count as broken. Where something failed that belongs to no capability,
    such as a namespace, or nothing is known to have failed, nobody is served.
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
    """The capabilities of `here` that failed, and all of the city that need one of them; empty where it is unknown."""
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
