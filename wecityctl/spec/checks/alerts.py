"""Checks that somebody tells the alerts that the files ask for."""

from __future__ import annotations

from collections.abc import Iterator

from wecityctl.errors import Problem
from wecityctl.model.city import City, Tenant
from wecityctl.spec.checks.check import Check
from wecityctl.spec.fields import one_of
from wecityctl.spec.parsed_city import ParsedCity, Sourced


def tellers(parsed_city: ParsedCity) -> Iterator[Problem]:
    """Where a webhook is named, a capability of the city sends to it."""
    kinds = [kind.name for kind in parsed_city.catalogue.values() if kind.tells_alerts]
    if not parsed_city.knows_all("Platform") or any(item.type in kinds for _, _, item in parsed_city.capabilities()):
        return
    expected = f"a capability of type {one_of(kinds)}, or no alerts" if kinds else "no alerts"
    sources: tuple[Sourced[City] | Sourced[Tenant], ...] = (*parsed_city.cities, *parsed_city.tenants)
    for source in sources:
        if source.value.alerts is not None:
            message = "the city has no capability that tells alerts"
            yield source.problem(("spec", "alerts"), message, expected, on_key=True)


CHECKS: tuple[Check, ...] = (tellers,)
