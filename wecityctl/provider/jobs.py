"""Jobs that earlier runs of the same resource have left: what they did may have been undone since.

A Job is an action, and its name often has a digest of its input. After an older state is restored, a Job of that name
may be there, finished, from before the actions of other Jobs. So a resource that makes its Job never takes a finished
one for its own work, and deletes the Jobs that it made under other names.
"""

from __future__ import annotations

import asyncio
from typing import Any

from wecityctl.kube.client import Propagation
from wecityctl.kube.errors import Conflict, Forbidden, KindNotFound, NotFound
from wecityctl.provider import state as states
from wecityctl.provider.adoption import applied_by, city_of
from wecityctl.provider.apply import wait_gone
from wecityctl.provider.instance import Instance, Target

_KIND = ("batch/v1", "Job")
_ENDS = ("Complete", "Failed")


async def has_ended(provider: Instance, target: Target, live: dict[str, Any]) -> bool:
    """Whether a live object is a Job that this resource made and that has ended, well or not."""
    return (
        is_job(live) and _has_ended(live) and not applied_by(live).isdisjoint(await provider.derived_managers(target))
    )


async def delete_earlier(provider: Instance, target: Target, body: dict[str, Any], *, seconds: float) -> None:
    """Delete the Jobs that the resource made before in the namespace of `body`, and wait up to `seconds` for each.

    One of the same name that has not ended stays: it does what `body` asks. Does nothing for other kinds. Raises
    `DeploymentError` for a Job that does not go, and the client's errors.
    """
    if not is_job(body) or states.namespace_of(body) in provider.memory.made_namespaces:
        return
    managers, name = await provider.derived_managers(target), states.name_of(body)
    try:
        rt = await provider.client.resource(*_KIND)
        place = states.namespace_of(body) or provider.default_namespace
        found = await provider.cancellation.run(provider.client.list(rt, place))
    except (KindNotFound, NotFound, Forbidden):
        return
    earlier = [
        live
        for live in found
        if not applied_by(live).isdisjoint(managers)
        and city_of(live) == city_of(body)
        and (states.name_of(live) != name or _has_ended(live))
    ]
    await asyncio.gather(*(_delete(provider, target, live, seconds) for live in earlier))


def is_job(obj: dict[str, Any]) -> bool:
    """Whether an object is a Job."""
    return (obj.get("apiVersion"), obj.get("kind")) == _KIND


async def _delete(provider: Instance, target: Target, live: dict[str, Any], seconds: float) -> None:
    rt, place = await provider.client.resource(*_KIND), states.namespace_of(live)
    # The pods of one that has not ended may still do its work: they have to go first.
    how: Propagation = "Background" if _has_ended(live) else "Foreground"
    try:
        await provider.cancellation.run(
            provider.client.delete(rt, states.name_of(live), place, propagation=how, uid=states.uid_of(live))
        )
    except (NotFound, Conflict):
        return
    waiter = wait_gone(
        provider.client, live, timeout=seconds, report=lambda text: provider.log.status(target.urn, text)
    )
    await provider.cancellation.run(waiter)


def _has_ended(live: dict[str, Any]) -> bool:
    conditions = (live.get("status") or {}).get("conditions") or ()
    return any(item.get("type") in _ENDS and item.get("status") == "True" for item in conditions)
