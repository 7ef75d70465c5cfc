"""What a use of notification gets: an account, with limits of what is sent at a time and of what its messages take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi

from stacks.platforms import tls
from stacks.platforms.application.notification.access import DELETE, DEPROVISION, INVENTORY, PROVISION
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
        "username": account,
        "password": credentials["password"],
    }


def _settings(capability: Capability, use: Use, limits: UseLimits) -> Mapping[str, str]:
    return {"CONNECTIONS": str(limits.connections), "STORAGE": as_bytes(limits.storage)}


PROVISIONER = Provisioner(PROVISION, _values, _settings, tls.connecting, DEPROVISION, DELETE, INVENTORY)
