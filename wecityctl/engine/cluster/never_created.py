"""Finds objects that the files declare and no run has created, for stacks whose last run failed before creating them.

A state shows only what was created. What a failed run has left undone is computed from the stack's program.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from wecityctl.engine.cluster import probe
from wecityctl.engine.cluster.query import ask
from wecityctl.engine.state.checkpoint import StackState
from wecityctl.engine.workers.forecast import creations
from wecityctl.inputs import Cluster
from wecityctl.model.findings import Finding
from wecityctl.model.security import is_security_kind
from wecityctl.resource_graph import Recording

if TYPE_CHECKING:
    from wecityctl.kube.client import KubeClient


def find_never_created(
    cluster: Cluster, city: str, recordings: Iterable[Recording], states: Mapping[str, StackState]
) -> tuple[Finding, ...]:
    """Return the objects that the stacks' programs register and that are neither in the states nor on the cluster.

    Security objects come first. Raises the Kubernetes client's errors; changes nothing.
    """
    lacking = [item for recording in recordings for item in _lacking(recording, states.get(recording.stack))]
    if not lacking:
        return ()
    there = ask(cluster, lambda client: _are_there(client, city, lacking))
    found = [item for item, is_there in zip(lacking, there, strict=True) if not is_there]
    return tuple(sorted(found, key=lambda item: not is_security_kind(item.api_version, item.kind)))


def _lacking(recording: Recording, state: StackState | None) -> Iterable[Finding]:
    known = frozenset(probe.keys_of(state)) if state is not None else frozenset()
    for resource, change in zip(recording.resources, creations(recording), strict=True):
        version, kind = resource.inputs.get("apiVersion"), resource.inputs.get("kind")
        meta = resource.inputs.get("metadata")
        # A patch of an object that the stack does not own has a type of its own and is left out.
        if not resource.is_kubernetes_object or not isinstance(meta, Mapping) or kind != change.type.split(":")[-1]:
            continue
        found = Finding(
            recording.stack,
            change.urn,
            str(version),
            str(kind),
            str(meta.get("namespace") or ""),
            str(meta.get("name")),
            "missing",
            unmade=True,
        )
        if _key(found) not in known:
            yield found


def _key(item: Finding) -> str:
    return probe.SEPARATOR.join((item.api_version, item.kind, item.namespace, item.name))


async def _are_there(client: KubeClient, city: str, wanted: Sequence[Finding]) -> list[bool]:
    from wecityctl.kube.errors import Forbidden, KindNotFound, NotFound

    try:
        live = await probe.look(client, city, {(item.api_version, item.kind) for item in wanted})
    except Forbidden:
        live = {}

    async def is_there(item: Finding) -> bool:
        if _key(item) in live:
            return True
        try:
            served = await client.resource(item.api_version, item.kind)
            await client.get(served, item.name, item.namespace or None)
        except (KindNotFound, NotFound):
            return False
        except Forbidden:
            # Unknown, so it is not reported as missing.
            return True
        return True

    return list(await asyncio.gather(*map(is_there, wanted)))
