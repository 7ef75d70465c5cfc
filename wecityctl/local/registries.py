"""Lets the real node of an embedded cloud pull from registries that run in the cloud itself."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, replace

from wecityctl.local import assembly
from wecityctl.local import cloud as clouds
from wecityctl.local.api import Api
from wecityctl.local.spec import silent

# Seconds for a Secret of one registry. A run's events wait for it, and `up` asks again.
_PATIENCE = 3.0


@dataclass(frozen=True, slots=True)
class ClusterRegistry:
    """A registry in the cloud: its names with port, and the Secret with its certificate; empty if it has none."""

    hosts: tuple[str, ...]
    namespace: str
    tls_secret: str


def trust(name: str, registries: Sequence[ClusterRegistry]) -> None:
    """Make the node of the cloud `name` accept these registries as they are now. Simulated nodes pull nothing.

    A registry whose Secret is not there yet is left out. Raises `DeploymentError` if the API server does not answer
    within seconds.
    """
    if not clouds.is_running(name):
        return
    cloud = assembly.load(name, silent)
    if cloud.driver is None:
        return
    from wecityctl.local.node import registries as node_registries
    from wecityctl.local.node.configure import Node

    found = authorities(replace(cloud.context.api, timeout=_PATIENCE), registries)
    node_registries.trust(Node.of(cloud.context).layout, found)


def authorities(api: Api, registries: Sequence[ClusterRegistry]) -> dict[str, str]:
    """The certificates by which registries are known, by their names with port; empty for one that has none.

    A registry whose Secret is not there yet is left out. Raises `DeploymentError` if the API server does not answer.
    """
    known: dict[str, str] = {}
    for item in registries:
        authority = ""
        if item.tls_secret:
            found = api.find(f"/api/v1/namespaces/{item.namespace}/secrets/{item.tls_secret}")
            authority = base64.b64decode(((found or {}).get("data") or {}).get("ca.crt", "")).decode()
            if not authority:
                continue
        known |= dict.fromkeys(item.hosts, authority)
    return known
