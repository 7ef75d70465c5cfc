"""What a use of messaging gets: an account with a user of the same name, and limits for its streams and connections."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi

from stacks.platforms import tls
from stacks.platforms.application.messaging.access import DELETE, DEPROVISION, INVENTORY, PROVISION
from stacks.platforms.provisioner import Provisioner, as_bytes
from stacks.stack_references import KnownEndpoint
from wecityctl.model.catalogue import UseLimits
from wecityctl.model.city import Capability, Use


def _values(
    account: str, credentials: Mapping[str, pulumi.Output[str]], endpoint: KnownEndpoint, authority: str
) -> Mapping[str, Any]:
    password = credentials["password"]
    scheme = "tls" if authority else "nats"
    uri = pulumi.Output.format("{4}://{0}:{1}@{2}:{3}", account, password, endpoint.host, endpoint.port, scheme)
    return {"uri": uri, "username": account, "password": password, "account": account}


def _settings(capability: Capability, use: Use, limits: UseLimits) -> Mapping[str, str]:
    return {
        "CONNECTIONS": str(limits.connections),
        "STORAGE": as_bytes(limits.storage),
        "MEMORY": as_bytes(limits.memory),
    }


PROVISIONER = Provisioner(PROVISION, _values, _settings, tls.connecting, DEPROVISION, DELETE, INVENTORY)
