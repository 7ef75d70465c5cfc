"""Asks the city's store of metrics how a canary's requests were answered, and judges its step by that."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from stacks.platforms.application.gateway.counting import COUNTED_AT, COUNTING_SINCE, REQUESTS
from wecityctl.errors import WecityError
from wecityctl.event_loops import run_async
from wecityctl.model import naming
from wecityctl.model.city import AbortAbove, Strategy
from wecityctl.model.entries import entry_of
from wecityctl.model.quantity import parse_duration
from wecityctl.model.rollouts import canary_part
from wecityctl.operations.app_targets import client_of
from wecityctl.operations.capability_servers import CapabilityServer, Conversation, conversation, servers_on
from wecityctl.operations.rollouts.error_rate import GAP, Counted, Judgement, Samples, Step, count, judge, series_of

if TYPE_CHECKING:
    from wecityctl.inputs import Cluster
    from wecityctl.model.city import App
    from wecityctl.operations.rollouts.moves import Move
    from wecityctl.session import Session

# Seconds for all that is asked of the store.
_PATIENCE = 10.0
# Beyond what is looked at: samples before a step's begin, which say what was counted then.
_BEFORE = GAP + 30.0


def is_judged(move: Move) -> bool:
    """Whether the move gives a canary more requests, as its pause is over."""
    before, after = move.record, move.claimed
    if move.kind not in ("step", "finish") or before is None or before.rollout is None:
        return False
    # Not one that somebody has promoted, and not another version that begins.
    return (
        before.rollout.phase == "pausing"
        and after is not None
        and after.rollout is not None
        and after.rollout.version == before.rollout.version
    )


def judgement_of(session: Session, clusters: Mapping[str, Cluster], app: App, move: Move) -> Judgement | None:
    """What the requests of this step say of the canary; `None` where nobody counts requests, or nobody is to ask.

    `app` is as the files have it.
    """
    part, entry = canary_part(app), entry_of(session.city, app.zone)
    cloud = session.plan.placement.apps[app.tenant, app.name]
    servers = _stores(session, cloud)
    if part is None or entry is None or not servers or move.record is None or move.record.rollout is None:
        return None
    limits = (part.strategy.abort_above if part.strategy is not None else None) or AbortAbove()
    if limits.error_rate >= 100:
        return None
    cluster = clusters.get(cloud)
    if cluster is None:
        return Judgement("unknown", f"cloud {cloud} cannot be reached")
    if cluster.simulated:
        return None
    service = naming.component_workload(app.name, naming.canary_component(part.name))
    backend = {"service": service, "service_namespace": naming.tenant_namespace(app.tenant, app.zone)}
    gateway = {"platform": entry.gateway.platform, "capability": entry.gateway.name}
    step = Step(move.record.rollout.since, parse_duration((part.strategy or Strategy()).pause))
    return judge(run_async(_asked(cluster, servers[0], gateway, backend, step)), limits)


def _stores(session: Session, cloud: str) -> tuple[CapabilityServer, ...]:
    """The capabilities on a cloud that scrape what serves metrics, and can be asked for it."""
    city, catalogue = session.city, session.catalogue
    kinds = sorted({item.type for item in city.capabilities if catalogue[item.type].scrapes})
    placed = session.plan.placement
    return tuple(server for kind in kinds for server in servers_on(city, catalogue, placed, cloud, kind))


async def _asked(
    cluster: Cluster, server: CapabilityServer, gateway: Mapping[str, str], backend: Mapping[str, str], step: Step
) -> Counted | str:
    try:
        async with asyncio.timeout(_PATIENCE), client_of(cluster) as client, conversation(client, server) as talk:
            seconds, length = step.looked_at(time.time())
            now = float((await _result(talk, "time()"))[0]["value"][1])
            window = f"[{seconds + _BEFORE:.0f}s]"
            found = [
                tuple(series_of(await _result(talk, _selector(name, {**gateway, **labels}) + window)))
                for name, labels in (("up", {}), (COUNTING_SINCE, {}), (COUNTED_AT, {}), (REQUESTS, backend))
            ]
        return count(Samples(*found), begin=now - seconds, now=now, length=length)
    except TimeoutError:
        return f"{server.name} has not answered within {_PATIENCE:.0f} s"
    except WecityError as error:
        return f"{server.name} could not be asked: " + ": ".join(filter(None, (error.message, error.details)))
    except (ValueError, KeyError, IndexError, TypeError) as error:
        return f"{server.name} answers with something else than samples: {error}"


async def _result(talk: Conversation, query: str) -> Any:
    return (await talk.status("/api/v1/query", {"query": query, "nocache": "1"}))["data"]["result"]


def _selector(name: str, labels: Mapping[str, str]) -> str:
    return name + "{" + ",".join(f'{key}="{value}"' for key, value in labels.items()) + "}"
