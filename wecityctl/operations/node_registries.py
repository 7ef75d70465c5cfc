"""Lets nodes of embedded clouds pull from the city's registries, as soon as these are up.

Nodes of other clouds get the authority from whoever manages them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wecityctl.clusters import local_name
from wecityctl.errors import WecityError, error_text
from wecityctl.model.events import Diagnostic, Emit
from wecityctl.model.images import REGISTRY
from wecityctl.operations.capability_servers import servers_on

if TYPE_CHECKING:
    from wecityctl.inputs import Clusters
    from wecityctl.session import Session


def trust_registries(session: Session, clusters: Clusters, stack_name: str, emit: Emit) -> None:
    """Make the node of an embedded cloud accept the registries of the platform stack that has just been brought up.

    Does nothing for other stacks. A failure is reported: pods whose images are there then wait for them.
    """
    stack = next((item for item in session.plan.stacks if item.name == stack_name), None)
    if stack is None or stack.layer != "platform" or stack.cloud not in clusters.found:
        return
    cloud = next(item for item in session.city.clouds if item.name == stack.cloud)
    servers = servers_on(session.city, session.catalogue, session.plan.placement, stack.cloud, REGISTRY)
    if cloud.provider != "local" or not servers:
        return
    from wecityctl.local.registries import ClusterRegistry, trust

    registries = [
        ClusterRegistry(
            tuple(f"{host}:{server.port}" for host in server.hosts),
            server.namespace,
            f"{server.name}-tls" if server.is_tls else "",
        )
        for server in servers
    ]
    try:
        trust(local_name(session.city, cloud), registries)
    except (WecityError, OSError) as error:
        told = f"the node of cloud {cloud.name} cannot pull from the city's registry: {error_text(error)}"
        emit(Diagnostic("", "warning", told))
