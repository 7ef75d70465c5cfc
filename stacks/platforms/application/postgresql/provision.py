"""The provisioner of PostgreSQL: creates a database and a role with limits for each use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi

from stacks.platforms import tls
from stacks.platforms.application.postgresql.access import PROVISION
from stacks.platforms.application.postgresql.deprovision import DELETE, DEPROVISION, INVENTORY
from stacks.platforms.provisioner import Provisioner, as_bytes
from stacks.stack_references import KnownEndpoint
from wecityctl.model.catalogue import UseLimits
from wecityctl.model.city import Capability, Use


def _values(
    account: str, credentials: Mapping[str, pulumi.Output[str]], endpoint: KnownEndpoint, authority: str
) -> Mapping[str, Any]:
    password = credentials["password"]
    checks = {"sslmode": "verify-full", "sslrootcert": authority} if authority else {}
    query = "?" + "&".join(f"{key}={value}" for key, value in checks.items()) if checks else ""
    uri = pulumi.Output.format(
        "postgresql://{0}:{1}@{2}:{3}/{0}{4}", account, password, endpoint.host, endpoint.port, query
    )
    return {"database": account, "username": account, "password": password, "uri": uri, **checks}


def _settings(capability: Capability, use: Use, limits: UseLimits) -> Mapping[str, str]:
    return {
        "CONNECTIONS": str(limits.connections or -1),
        "STATEMENT_SECONDS": str(limits.statement_seconds),
        "STORAGE": as_bytes(limits.storage),
        "STORAGE_STATED": "yes" if use.storage else "no",
    }


def _connecting(is_tls: bool) -> Mapping[str, str]:
    return {"PGSSLMODE": "verify-full", "PGSSLROOTCERT": tls.AUTHORITY} if is_tls else {}


PROVISIONER = Provisioner(PROVISION, _values, _settings, _connecting, DEPROVISION, DELETE, INVENTORY)
