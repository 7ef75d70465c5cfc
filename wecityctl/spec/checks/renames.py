"""Checks that renamings of apps lead from names that nobody has to apps that exist."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from wecityctl.errors import Problem
from wecityctl.guesses import nearest
from wecityctl.spec.checks.check import Check
from wecityctl.spec.nodes import PathItem
from wecityctl.spec.parsed_city import ParsedCity


def renamed_apps(parsed_city: ParsedCity) -> Iterator[Problem]:
    """The new name is that of an app, or of a further renaming; the old one is free; each is given once."""
    if not parsed_city.knows_all("App"):
        return
    for tenant in parsed_city.tenants:
        apps = {app.value.name: app for app in parsed_city.apps if app.value.tenant == tenant.value.name}
        after = {item.source: item.target for item in tenant.value.moved}
        targets: dict[str, int] = {}
        sources: dict[str, int] = {}
        for index, item in enumerate(tenant.value.moved):
            path: tuple[PathItem, ...] = ("spec", "moved", index)
            if item.source in apps:
                place = apps[item.source].place("metadata", "name")
                message = f"there is an app {item.source!r} ({place}), so nothing was renamed from it"
                yield tenant.problem((*path, "from"), message, "the name that the app had before")
            elif (last := _last(item.target, after)) not in apps:
                message = f"tenant {tenant.value.name!r} has no app {last!r}"
                yield tenant.problem((*path, "to"), message, "its name now", nearest(last, tuple(sorted(apps))))
            for name, known, field, what in (
                (item.source, sources, "from", "two apps come from"),
                (item.target, targets, "to", "two apps become"),
            ):
                if name in known:
                    yield tenant.problem((*path, field), f"{what} {name!r} (entry {known[name]})", "one renaming each")
                known.setdefault(name, index)


def _last(name: str, after: Mapping[str, str]) -> str:
    """The name at the end of the renamings that begin with `name`; any of them if they form a circle."""
    seen = set[str]()
    while name in after and name not in seen:
        seen.add(name)
        name = after[name]
    return name


CHECKS: tuple[Check, ...] = (renamed_apps,)
