"""TLS of capabilities and apps: which have a certificate of the city's CA, and the secret store keys that belong to it.

Pure functions of the files, so that stacks, rules and checks compute the same result independently.
"""

from __future__ import annotations

from collections.abc import Iterable

from wecityctl.model import naming, served
from wecityctl.model.catalogue import Catalogue
from wecityctl.model.city import App, Capability

# Prefix of the secret store keys of certificates that the CA for services issues.
SERVICE_PREFIX = naming.SERVICE_KEYS
# The secret store key of the certificates of that CA, with which clients verify servers.
SERVICE_AUTHORITY_KEY = naming.secret_key("service", "authority")


def speaks_tls(capability: Capability, catalogue: Catalogue) -> bool:
    """Whether the capability's server has a certificate of the city's CA and refuses plain connections."""
    return catalogue[capability.type].tls and capability.tls is not False


def certificate_key(capability: str) -> str:
    """The secret store key of a capability's certificate and private key."""
    return naming.secret_key("service", capability, "tls")


def certificate_keys(capabilities: Iterable[Capability], catalogue: Catalogue) -> tuple[str, ...]:
    """All secret store keys that the servers of `capabilities` need."""
    keys = tuple(certificate_key(item.name) for item in capabilities if speaks_tls(item, catalogue))
    return (*keys, SERVICE_AUTHORITY_KEY) if keys else ()


def service_names(capability: Capability) -> tuple[str, ...]:
    """The DNS names of a capability's Service inside its cluster."""
    return _names(capability.name, naming.platform_namespace(capability.platform, capability.zone))


def app_certificate_key(app: App) -> str:
    """The secret store key of an app's certificate and private key."""
    return naming.secret_key("service", app.tenant, app.name, "tls")


def app_certificate_keys(apps: Iterable[App]) -> tuple[str, ...]:
    """All secret store keys that those of the `apps` need that serve TLS."""
    keys = tuple(app_certificate_key(app) for app in apps if app.serves_tls)
    return (*keys, SERVICE_AUTHORITY_KEY) if keys else ()


def app_service_names(app: App) -> tuple[str, ...]:
    """The DNS names of the Service that an app's route leads to, inside its cluster."""
    return _names(served.service_of_route(app), naming.tenant_namespace(app.tenant, app.zone))


def _names(service: str, namespace: str) -> tuple[str, ...]:
    base = f"{service}.{namespace}.svc"
    return (f"{base}.cluster.local", base)
