"""Determines which stacks can still run after a platform's stack has failed in part.

Pure functions over the plan and the engine's report.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from wecityctl.model.catalogue import Catalogue
from wecityctl.model.city import App, City
from wecityctl.model.entries import gateway_of
from wecityctl.model.naming import PROJECT
from wecityctl.model.requirements import reached, requirements
from wecityctl.plan import Plan, Stack

# The type of an app's component in a tenant's stack.
APP = "wecity:tenant:App"


def still_served(
    plan: Plan, catalogue: Catalogue, stack: Stack, failed: Collection[str]
) -> Mapping[str, frozenset[str]]:
    """Return the stacks that depend on the platform stack `stack` and can run, with the apps that they have to leave as
    they are: those that need one of its failed capabilities. A tenant's stack all of whose apps do cannot run.

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
    found: dict[str, frozenset[str]] = {}
    for other in plan.stacks:
        if not broken or stack.name not in other.depends_on or not other.builds_on:
            continue
        if broken.isdisjoint(other.builds_on):
            found[other.name] = frozenset()
        elif other.layer == "tenant":
            apps = apps_in(plan, other)
            needing = frozenset(app.name for app in apps if _needs(plan.city, app, broken))
            if len(needing) < len(apps):
                found[other.name] = needing
    return found


def apps_in(plan: Plan, stack: Stack) -> tuple[App, ...]:
    """Return the running apps of a tenant's stack."""
    return tuple(
        app
        for app in plan.city.apps_of(stack.subject)
        if app.runs and plan.placement.apps[(app.tenant, app.name)] == stack.cloud
    )


def urns_of_apps(stack: str, apps: Collection[str], parents: Mapping[str, str]) -> tuple[str, ...]:
    """Return the URNs of the apps' components, and of what a state has below them. `parents` has the parent of each of
    the state's URNs, empty for none."""
    components = [f"urn:pulumi:{stack}::{PROJECT}::{APP}::{name}" for name in sorted(apps)]
    found = list(components)
    for urn in parents:
        above = urn
        while above := parents.get(above, ""):
            if above in components:
                found.append(urn)
                break
    return tuple(dict.fromkeys(found))


def _needs(city: City, app: App, broken: Collection[str]) -> bool:
    gateway = gateway_of(city)
    needed = {use.capability for use in app.uses} | ({gateway.name} if gateway is not None and app.is_routed else set())
    return not needed.isdisjoint(broken)


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
