"""What a use of the registry gets: an account that pushes to and pulls from the repositories of its tenant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi

from stacks.platforms import tls
from stacks.platforms.operations.registry.access import DELETE, DEPROVISION, INVENTORY, PROVISION
from stacks.platforms.provisioner import Provisioner, as_bytes
from stacks.stack_references import KnownEndpoint
from wecityctl.model.catalogue import UseLimits
from wecityctl.model.city import Capability, Use
from wecityctl.model.registries import docker_config


def _values(
    account: str, credentials: Mapping[str, pulumi.Output[str]], endpoint: KnownEndpoint, authority: str
) -> Mapping[str, Any]:
    scheme = "https" if authority else "http"
    registry = pulumi.Output.format("{0}:{1}", endpoint.host, endpoint.port)
    # The account's name begins with its tenant's, in which there is no dot.
    tenant = account.partition(".")[0]
    return {
        "uri": pulumi.Output.format("{0}://{1}", scheme, registry),
        "repository": pulumi.Output.format("{0}/{1}", registry, tenant),
        "username": account,
        "password": credentials["password"],
        # By the name that clients look for, in the directory that DOCKER_CONFIG or REGISTRY_AUTH_FILE names.
        "config.json": pulumi.Output.all(registry, credentials["password"]).apply(
            lambda known: docker_config(known[0], f"{account}:{known[1]}")
        ),
    }


def _settings(capability: Capability, use: Use, limits: UseLimits) -> Mapping[str, str]:
    return {"STORAGE": as_bytes(limits.storage)}


PROVISIONER = Provisioner(PROVISION, _values, _settings, tls.connecting, DEPROVISION, DELETE, INVENTORY)
