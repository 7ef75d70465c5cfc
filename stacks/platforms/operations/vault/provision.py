"""What a use of the vault gets: a store of its own, and a role and secret with which its app signs in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi

from stacks.platforms import tls
from stacks.platforms.operations.vault.access import PROVISION
from stacks.platforms.operations.vault.deprovision import DELETE, DEPROVISION, INVENTORY
from stacks.platforms.provisioner import Provisioner, as_bytes
from stacks.stack_references import KnownEndpoint
from wecityctl.model.catalogue import UseLimits
from wecityctl.model.city import Capability, Use


def _values(
    account: str, credentials: Mapping[str, pulumi.Output[str]], endpoint: KnownEndpoint, authority: str
) -> Mapping[str, Any]:
    scheme = "https" if authority else "http"
    return {
        "uri": pulumi.Output.format("{0}://{1}:{2}", scheme, endpoint.host, endpoint.port),
        "path": f"apps/{account}",
        # Of the Service Binding specification's well-known entries for vaults.
        "authentication-method": "approle",
        "role-id": account,
        "secret-id": credentials["secret-id"],
    }


def _settings(capability: Capability, use: Use, limits: UseLimits) -> Mapping[str, str]:
    return {"STORAGE": as_bytes(limits.storage)}


PROVISIONER = Provisioner(PROVISION, _values, _settings, tls.connecting, DEPROVISION, DELETE, INVENTORY)
