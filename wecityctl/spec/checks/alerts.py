"""Checks of where alerts are sent: somebody sends them, and those of a tenant leave the city's clusters."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import urlsplit

from wecityctl.errors import Problem
from wecityctl.model.city import City, Tenant
from wecityctl.model.own_networks import declared_networks
from wecityctl.spec.checks.check import Check
from wecityctl.spec.fields import one_of
from wecityctl.spec.nodes import PathItem
from wecityctl.spec.parsed_city import ParsedCity, Sourced

_OUTSIDE = "an address outside the city's clusters; the City itself may have alerts sent there"


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


def tenants_webhooks(parsed_city: ParsedCity) -> Iterator[Problem]:
    """A tenant's webhook is not in the city's clusters: the platform posts from where the tenant's apps do not reach.

    What the files do not say, such as the ranges of an existing cluster, is refused while alerts are sent.
    """
    known = [item for cloud in parsed_city.clouds for item in declared_networks(cloud.value)]
    for tenant in parsed_city.tenants:
        alerts = tenant.value.alerts
        if alerts is None:
            continue
        named: list[tuple[tuple[PathItem, ...], str, str]] = [
            (("spec", "alerts", "addresses", at), text, text) for at, text in enumerate(alerts.addresses)
        ]
        host = urlsplit(alerts.webhook).hostname or ""
        with suppress(ValueError):
            # A name leads to `addresses` or to the internet.
            named.insert(0, (("spec", "alerts", "webhook"), repr(alerts.webhook), str(ipaddress.IPv4Address(host))))
        for path, shown, text in named:
            inside = next((what for own, what in known if own.overlaps(ipaddress.IPv4Network(text))), "")
            if inside:
                yield tenant.problem(path, f"{shown} leads to {inside}", _OUTSIDE)


CHECKS: tuple[Check, ...] = (tellers, tenants_webhooks)
