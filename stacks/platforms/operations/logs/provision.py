"""What a use of the log store gets: an account that reads the logs of its own tenant and of nobody else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi

from stacks.platforms import tls
from stacks.platforms.provisioner import Provisioner
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
    # Whose logs an account reads follows from OWNER, which every provisioning Job has.
    return {}


def _connecting(is_tls: bool) -> Mapping[str, str]:
    return {"AUTHORITY": tls.AUTHORITY} if is_tls else {}


# The program is `image/go/ask`. Deleting an account deletes no logs: they are the city's, and kept as long as it says.
PROVISIONER = Provisioner(
    "exec logs account open",
    _values,
    _settings,
    _connecting,
    "exec logs account lock",
    "exec logs account delete",
    "exec logs account list",
)
