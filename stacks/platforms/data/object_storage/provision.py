"""What a use of an object store gets: a bucket and a key pair of its own, with the limit that holds for the bucket."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi

from stacks.platforms import tls
from stacks.platforms.data.object_storage.access import PROVISION, REGION
from stacks.platforms.data.object_storage.deprovision import DELETE, DEPROVISION, INVENTORY
from stacks.platforms.provisioner import Provisioner, as_bytes
from stacks.stack_references import KnownEndpoint
from wecityctl.model.catalogue import UseLimits
from wecityctl.model.city import Capability, Use


def _values(
    account: str, credentials: Mapping[str, pulumi.Output[str]], endpoint: KnownEndpoint, authority: str
) -> Mapping[str, Any]:
    scheme = "https" if authority else "http"
    return {
        "endpoint": pulumi.Output.format("{0}://{1}:{2}", scheme, endpoint.host, endpoint.port),
        "region": REGION,
        "bucket": account,
        "access-key": account,
        "secret-key": credentials["secret-key"],
    }


def _settings(capability: Capability, use: Use, limits: UseLimits) -> Mapping[str, str]:
    return {"STORAGE": as_bytes(limits.storage)}


def _connecting(is_tls: bool) -> Mapping[str, str]:
    return {"AUTHORITY": tls.AUTHORITY} if is_tls else {}


PROVISIONER = Provisioner(PROVISION, _values, _settings, _connecting, DEPROVISION, DELETE, INVENTORY)
