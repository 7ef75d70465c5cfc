"""What a use of the log store gets: an account that reads the logs of its own tenant and of nobody else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi

from stacks.platforms import tls
from stacks.platforms.provisioner import UNBOUNDED, Provisioner
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
    return {"CONNECTIONS": str(limits.connections or UNBOUNDED)}


# The program is `image/go/ask`, which reads its variables itself; the shell says which are missing. Whose logs an
# account reads is the first part of OWNER. Deleting an account deletes no logs: they are the city's, and are kept for
# as long as it says.
_SERVER = 'set -eu\n: "$HOST" "$PORT" "$ADMIN_PASSWORD"'
PROVISION = f"""{_SERVER} "$APP_ROLE" "$APP_PASSWORD_SHA256" "$OWNER" "$CONNECTIONS"
exec logs account open
"""
_CHANGE = f'{_SERVER} "$ACCOUNTS"\nexec logs account'

PROVISIONER = Provisioner(
    PROVISION,
    _values,
    _settings,
    tls.connecting,
    f"{_CHANGE} lock\n",
    f"{_CHANGE} delete\n",
    f"{_SERVER}\nexec logs account list\n",
)
