"""TLS of capabilities and apps: which have a certificate of the city's own, and what in the secret store belongs to it.

Pure functions of the files, so that stacks, rules and checks agree without asking each other.
"""

from __future__ import annotations

from collections.abc import Iterable

from wecityctl.model import naming
from wecityctl.model.catalogue import Catalogue
from wecityctl.model.city import App, Capability

# How the names of those values of the secret store begin that the authority for capabilities issues.
SERVICE_PREFIX = naming.SERVICE_KEYS
# The certificates of that authority, which everybody who connects checks a server's with.
SERVICE_AUTHORITY_KEY = naming.secret_key("service", "authority")


def speaks_tls(capability: Capability, catalogue: Catalogue) -> bool:
    """Whether the capability's server has a certificate of the city's own, and refuses plain connections."""
    return catalogue[capability.type].tls and capability.tls is not False


def certificate_key(capability: str) -> str:
    """The name of a capability's certificate and key in the city's secret store."""
    return naming.secret_key("service", capability, "tls")


def certificate_keys(capabilities: Iterable[Capability], catalogue: Catalogue) -> tuple[str, ...]:
    """The names of all that the servers of `capabilities` need of the secret store."""
    keys = tuple(certificate_key(item.name) for item in capabilities if speaks_tls(item, catalogue))
    return (*keys, SERVICE_AUTHORITY_KEY) if keys else ()


def service_names(capability: Capability) -> tuple[str, ...]:
    """The names under which a capability's Service answers inside its cluster."""
    return _names(capability.name, naming.platform_namespace(capability.platform, capability.zone))


def app_certificate_key(app: App) -> str:
    """The name of an app's certificate and key in the city's secret store."""
    return naming.secret_key("service", app.tenant, app.name, "tls")


def app_certificate_keys(apps: Iterable[App]) -> tuple[str, ...]:
    """The names of all that those of the `apps` that serve TLS need of the secret store."""
    keys = tuple(app_certificate_key(app) for app in apps if app.serves_tls)
    return (*keys, SERVICE_AUTHORITY_KEY) if keys else ()


def app_service_names(app: App) -> tuple[str, ...]:
    """The names under which the routed component of an app answers inside its cluster."""
    assert app.web_component is not None
    service = naming.component_workload(app.name, app.web_component.name)
    return _names(service, naming.tenant_namespace(app.tenant, app.zone))


def _names(service: str, namespace: str) -> tuple[str, ...]:
    base = f"{service}.{namespace}.svc"
    return (f"{base}.cluster.local", base)
