"""The provisioner of identity: a confidential client in the tenant's realm for each use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi

from stacks.platforms import tls
from stacks.platforms.application.identity.access import (
    CITY_REALM,
    IDLE_SECONDS,
    PATH,
    PROVISION,
    REALM_PREFIX,
    SESSION_SECONDS,
    TOKEN_SECONDS,
)
from stacks.platforms.application.identity.deprovision import DELETE, DEPROVISION, INVENTORY
from stacks.platforms.provisioner import Provisioner
from stacks.stack_references import KnownEndpoint
from wecityctl.model.catalogue import UseLimits
from wecityctl.model.city import Capability, Use
from wecityctl.model.requirements import CAPABILITY


def _values(
    account: str, credentials: Mapping[str, pulumi.Output[str]], endpoint: KnownEndpoint, authority: str
) -> Mapping[str, Any]:
    scheme = "https" if authority else "http"
    group = account.partition(".")[0]
    realm = CITY_REALM if group == CAPABILITY else f"{REALM_PREFIX}{group}"
    return {
        # The server puts the address by which it was asked into tokens.
        "issuer": pulumi.Output.format(
            "{0}://{1}:{2}{3}/realms/{4}", scheme, endpoint.host, endpoint.port, PATH, realm
        ),
        "client-id": account,
        "client-secret": credentials["client-secret"],
    }


def _settings(capability: Capability, use: Use, limits: UseLimits) -> Mapping[str, str]:
    return {
        "TOKEN_SECONDS": str(TOKEN_SECONDS),
        "IDLE_SECONDS": str(IDLE_SECONDS),
        "SESSION_SECONDS": str(SESSION_SECONDS),
    }


PROVISIONER = Provisioner(PROVISION, _values, _settings, tls.connecting, DEPROVISION, DELETE, INVENTORY)
