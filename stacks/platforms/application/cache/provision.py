"""The provisioner of the cache: creates a user with a key prefix and limits for each use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi

from stacks.platforms.application.cache.access import PROVISION, TLS_OPTIONS, permissions
from stacks.platforms.application.cache.deprovision import DELETE, DEPROVISION, INVENTORY
from stacks.platforms.provisioner import UNBOUNDED, Provisioner, as_bytes
from stacks.stack_references import KnownEndpoint
from wecityctl.model.catalogue import UseLimits
from wecityctl.model.city import Capability, Use


def _values(
    account: str, credentials: Mapping[str, pulumi.Output[str]], endpoint: KnownEndpoint, authority: str
) -> Mapping[str, Any]:
    password = credentials["password"]
    scheme = "rediss" if authority else "redis"
    uri = pulumi.Output.format("{4}://{0}:{1}@{2}:{3}/0", account, password, endpoint.host, endpoint.port, scheme)
    return {"username": account, "password": password, "prefix": f"{account}:", "uri": uri}


def _settings(capability: Capability, use: Use, limits: UseLimits) -> Mapping[str, str]:
    # Scripts share one namespace and one thread, so they are allowed only on a dedicated server.
    scripting = capability.dedicated is not None and bool(capability.dedicated.app)
    return {
        "CONNECTIONS": str(limits.connections or UNBOUNDED),
        "MEMORY": as_bytes(limits.memory),
        "PERMISSIONS": permissions(scripting=scripting),
        "SCRIPTING": "yes" if scripting else "no",
    }


def _connecting(is_tls: bool) -> Mapping[str, str]:
    return {"TLS": TLS_OPTIONS} if is_tls else {}


PROVISIONER = Provisioner(PROVISION, _values, _settings, _connecting, DEPROVISION, DELETE, INVENTORY)
