"""Asks the running servers of capabilities what they say of themselves, for `status` and the evidence."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from wecityctl.errors import WecityError
from wecityctl.event_loops import run_async
from wecityctl.operations.app_targets import client_of
from wecityctl.operations.capability_servers import CapabilityServer, conversation, servers_on

if TYPE_CHECKING:
    from stacks.platforms.telling import Teller
    from wecityctl.inputs import Cluster
    from wecityctl.kube.client import KubeClient
    from wecityctl.session import Session

# Seconds for one server.
_SECONDS = 20.0
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class ToldServer:
    """What the server of an instance says. `state`: `holds` if it does what the files ask of it, `problems` if not;
    `unknown` if it could not be asked (`problems` say why), `simulated` if its pods do not really run."""

    cloud: str
    capability: str
    type: str
    state: Literal["holds", "problems", "unknown", "simulated"]
    facts: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def told_servers(session: Session, clusters: Mapping[str, Cluster]) -> tuple[ToldServer, ...]:
    """Ask every server on `clusters` whose type says something of itself."""
    from stacks.platforms.telling import teller_of

    asked = [
        (cluster, kind, teller, server)
        for cluster in clusters.values()
        for kind in sorted({item.type for item in session.city.capabilities})
        if (teller := teller_of(session.catalogue[kind])) is not None
        for server in servers_on(session.city, session.catalogue, session.plan.placement, cluster.cloud, kind)
    ]

    async def ask_all() -> list[ToldServer]:
        return await asyncio.gather(*(_asked(session, *item) for item in asked))

    return tuple(run_async(ask_all())) if asked else ()


async def _asked(session: Session, cluster: Cluster, kind: str, teller: Teller, server: CapabilityServer) -> ToldServer:
    if cluster.simulated:
        return ToldServer(cluster.cloud, server.name, kind, "simulated")
    try:
        async with asyncio.timeout(_SECONDS), client_of(cluster) as client:
            nodes = await _ready_nodes(client)
            async with conversation(client, server) as talk:
                told = teller.judge(await talk.status(teller.path), session.city, nodes)
    except (WecityError, TimeoutError) as error:
        why = f"{error.message}: {error.details}" if isinstance(error, WecityError) else f"no answer in {_SECONDS} s"
        return ToldServer(cluster.cloud, server.name, kind, "unknown", (), (why.removesuffix(": "),))
    return ToldServer(
        cluster.cloud, server.name, kind, "problems" if told.problems else "holds", told.facts, told.problems
    )


async def _ready_nodes(client: KubeClient) -> tuple[str, ...]:
    found = []
    for item in await client.list(await client.resource("v1", "Node")):
        conditions = (item.get("status") or {}).get("conditions") or ()
        if any(one.get("type") == "Ready" and one.get("status") == "True" for one in conditions):
            found.append(str(item["metadata"]["name"]))
    return tuple(sorted(found))
