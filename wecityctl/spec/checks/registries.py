"""Checks of the uses of registries."""

from __future__ import annotations

from collections.abc import Iterator

from wecityctl.errors import Problem
from wecityctl.model.images import CITY_REPOSITORIES, REGISTRY
from wecityctl.spec.checks.check import Check
from wecityctl.spec.parsed_city import ParsedCity


def own_repositories(parsed_city: ParsedCity) -> Iterator[Problem]:
    """No tenant has the repositories in which the city's own images are."""
    for app in parsed_city.apps:
        if app.value.tenant != CITY_REPOSITORIES:
            continue
        for index, use in app.value.indexed_uses():
            item = parsed_city.capability_by_name.get(use.capability)
            if item is not None and item.type == REGISTRY:
                message = f"tenant {CITY_REPOSITORIES!r} would own the repositories of the city's own images"
                yield app.problem(("spec", "uses", index, "capability"), message, "a tenant of another name")


CHECKS: tuple[Check, ...] = (own_repositories,)
