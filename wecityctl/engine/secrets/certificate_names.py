"""Lists the certificates that a plan needs from the city's own authorities, and their host names and addresses.

Does not import the cryptography library, so that checking whether a certificate is needed stays cheap.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from wecityctl.model import naming
from wecityctl.model.city import City
from wecityctl.model.entries import AUTHORITY_KEY, ISSUED_PREFIX
from wecityctl.model.service_tls import (
    SERVICE_AUTHORITY_KEY,
    SERVICE_PREFIX,
    app_certificate_key,
    app_service_names,
    certificate_key,
    service_names,
)
from wecityctl.plan import Plan

ISSUED_PREFIXES = (ISSUED_PREFIX, SERVICE_PREFIX)


@dataclass(frozen=True, slots=True)
class Names:
    """The names of one certificate: host names, in which a leading `*` stands for one label, and IP addresses."""

    hosts: tuple[str, ...]
    addresses: tuple[str, ...] = ()


def issued(plan: Plan) -> tuple[str, ...]:
    """Return the secret store's keys of the certificates that the city's authorities issue for this plan."""
    found = (name for stack in plan.stacks for name in stack.secrets if name.startswith(ISSUED_PREFIXES))
    return tuple(dict.fromkeys(found))


def wanted_names(plan: Plan, addresses: Mapping[str, str]) -> dict[str, Names]:
    """Return the names of each certificate of this plan, by its key in the secret store.

    `addresses` are those at which other clouds reach capabilities and apps, by capability name or `tenant/app`.
    """
    entries = Names(server_names(plan.city))
    found: dict[str, Names] = {}
    services = {certificate_key(item.name): item for item in plan.city.capabilities}
    apps = {app_certificate_key(app): app for app in plan.city.apps if app.serves_tls}
    for key in issued(plan):
        if key.startswith(SERVICE_PREFIX) and key in services:
            item = services[key]
            address = addresses.get(item.name, "")
            found[key] = Names(service_names(item), (address,) if address else ())
        elif key in apps:
            app = apps[key]
            address = addresses.get(f"{app.tenant}/{app.name}", "")
            found[key] = Names(app_service_names(app), (address,) if address else ())
        elif key not in (AUTHORITY_KEY, SERVICE_AUTHORITY_KEY):
            found[key] = entries
    return found


def names_digest(plan: Plan, addresses: Mapping[str, str]) -> str:
    """Return a digest of the names of all the plan's certificates; empty if it needs none."""
    wanted = wanted_names(plan, addresses)
    return naming.digest(*(f"{key} {value}" for key, value in sorted(wanted.items()))) if wanted else ""


def server_names(city: City) -> tuple[str, ...]:
    """Return the names of an entry point's certificate: the city's domain, one label below it, and deeper hosts.

    A `*` stands for one label (RFC 9525, section 6.3).
    """
    hosts = {app.route.host for app in city.apps if app.route is not None and app.holds_route and "." in app.route.host}
    return (city.domain, f"*.{city.domain}", *sorted(naming.entry_host(host, city.domain) for host in hosts))
