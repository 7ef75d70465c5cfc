"""What a use of the IoT access gets: a user with topics of its own, a limit of connections, and a key for its devices.

`deprovision` locks the user and its devices and ends their connections; `delete` removes them with what they have
retained. The scripts are commands of the program (`image/go/tools.go`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi

from stacks.platforms.data.iot.access import connecting, script
from stacks.platforms.provisioner import UNBOUNDED, Provisioner
from stacks.stack_references import KnownEndpoint
from wecityctl.model.catalogue import UseLimits
from wecityctl.model.city import Capability, Use


def _values(
    account: str, credentials: Mapping[str, pulumi.Output[str]], endpoint: KnownEndpoint, authority: str
) -> Mapping[str, Any]:
    scheme = "mqtts" if authority else "mqtt"
    return {
        "username": account,
        "password": credentials["password"],
        "prefix": f"{account}/",
        "uri": pulumi.Output.format("{0}://{1}:{2}", scheme, endpoint.host, endpoint.port),
    }


def _settings(capability: Capability, use: Use, limits: UseLimits) -> Mapping[str, str]:
    return {"CONNECTIONS": str(limits.connections or UNBOUNDED)}


PROVISIONER = Provisioner(
    script("provision", "APP_ROLE", "APP_PASSWORD", "CONNECTIONS"),
    _values,
    _settings,
    connecting,
    script("lock", "ACCOUNTS"),
    script("delete", "ACCOUNTS"),
    script("inventory"),
)
