"""Lets the real node of an embedded cloud pull from registries that run in the cloud itself."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

from wecityctl.local import assembly
from wecityctl.local import cloud as clouds
from wecityctl.local.spec import silent


@dataclass(frozen=True, slots=True)
class ClusterRegistry:
    """A registry in the cloud: its names with port, and the Secret with its certificate; empty if it has none."""

    hosts: tuple[str, ...]
    namespace: str
    tls_secret: str


def trust(name: str, registries: Sequence[ClusterRegistry]) -> None:
    """Make the node of the cloud `name` accept these registries as they are now. Simulated nodes pull nothing.

    A registry whose Secret is not there yet is left out. Raises `DeploymentError` if the API server does not answer.
    """
    if not clouds.is_running(name):
        return
    cloud = assembly.load(name, silent)
    if cloud.driver is None:
        return
    from wecityctl.local.node import registries as node_registries
    from wecityctl.local.node.configure import Node

    authorities: dict[str, str] = {}
    for item in registries:
        authority = ""
        if item.tls_secret:
            found = cloud.context.api.find(f"/api/v1/namespaces/{item.namespace}/secrets/{item.tls_secret}")
            authority = base64.b64decode(((found or {}).get("data") or {}).get("ca.crt", "")).decode()
            if not authority:
                continue
        authorities |= dict.fromkeys(item.hosts, authority)
    node_registries.trust(Node.of(cloud.context).layout, authorities)
