"""Volumes of capabilities and apps that are gone: found on the clusters by their marks, and removed.

A run that takes a volume claim out of a state leaves the claim in its cluster, with a mark (`engine.removal.retained`).
One is left over where the mark is trusted and no state has the claim.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wecityctl.engine.cluster.query import ask
from wecityctl.engine.removal.retained import find, marked_at, namespaces_of
from wecityctl.errors import ConfigurationError, DeploymentError, TimedOutError, WecityError
from wecityctl.kube.resource import meta
from wecityctl.model.naming import COMPONENT_LABEL, NAME_LABEL
from wecityctl.model.quantity import parse_quantity
from wecityctl.model.stacknames import StackName
from wecityctl.model.words import counted
from wecityctl.operations.volume_changes import planned_volumes
from wecityctl.provider.adoption import data_owner

if TYPE_CHECKING:
    from wecityctl.engine.removal.marks import Retained
    from wecityctl.engine.state.backend import Backend
    from wecityctl.engine.state.checkpoint import StackState
    from wecityctl.inputs import Cluster, Clusters
    from wecityctl.kube.client import KubeClient
    from wecityctl.session import Session

PREFIX = "volume:"
_CLAIM = "kubernetes:core/v1:PersistentVolumeClaim"
# Seconds: between two looks, and until a claim that is deleted has to be gone.
_LOOK, _REMOVAL = 0.5, 60.0


@dataclass(frozen=True, slots=True)
class LeftVolume:
    """A volume claim that nothing of the city uses. `name` is `volume:<cloud>/<namespace>/<claim>`.

    `owner` is what wrote it: `<tenant>/<app>`, or `capability <name> (<type>)`. `bytes` is the claim's size. `created`
    and `since`, when its run left it, are in RFC 3339; empty if not known. `planned`: the files have its owner, which
    is not up. `kept_until` is the last day (ISO date) for which the records of a retired app keep its data, or empty.
    `stays`: the volume behind it outlives the claim, as its reclaim policy says.
    """

    name: str
    cloud: str
    namespace: str
    claim: str
    owner: str
    bytes: int
    created: str = ""
    since: str = ""
    planned: bool = False
    kept_until: str = ""
    stays: bool = False
    stack: str = ""
    uid: str = ""


@dataclass(frozen=True, slots=True)
class LeftVolumes:
    """What was found; for each cloud that could not be asked why; and a sentence for each mark that is not trusted."""

    items: tuple[LeftVolume, ...]
    failed: Mapping[str, WecityError]
    doubts: tuple[str, ...] = ()


def find_volumes(session: Session, clusters: Clusters, backend: Backend, kept_until: Mapping[str, str]) -> LeftVolumes:
    """Ask the city's clusters for volume claims that are left over. `kept_until` has days by `<tenant>/<app>`."""
    city = session.city
    names = [stack for stack in backend.list_stacks() if StackName.parse(stack).city == city.name]
    states = [state for stack in names if (state := backend.read_state(stack)) is not None]
    planned = planned_volumes(session.plan.whole, session.catalogue)
    failed = dict(clusters.failed)
    items: list[LeftVolume] = []
    doubts: list[str] = []
    for cluster in clusters.found.values():
        try:
            found = find(cluster, city.name, lambda cluster=cluster: namespaces_of(states, cluster))  # type: ignore[misc]
            left = [item for item in found.kept if _is_claim(item) and not _is_used(item, cluster, states)]
            staying = ask(cluster, lambda client, left=left: _staying(client, left)) if left else set()  # type: ignore[misc]
        except WecityError as error:
            failed[cluster.cloud] = error
            continue
        doubts += found.doubts
        for item in left:
            owner = data_owner(item.live)
            items.append(
                _volume(
                    item,
                    cluster.cloud,
                    owner,
                    planned=(cluster.cloud, item.id) in planned,
                    kept_until=kept_until.get(owner, ""),
                    stays=item.id in staying,
                )
            )
    return LeftVolumes(tuple(sorted(items, key=lambda item: item.name)), failed, tuple(doubts))


def choose_volumes(found: LeftVolumes, names: Collection[str]) -> tuple[LeftVolume, ...]:
    """The volumes of these names. Raises `ConfigurationError` for a name of none, and for one that the files have."""
    by_name = {item.name: item for item in found.items}
    for name in names:
        if name not in by_name:
            details = "left over: " + (", ".join(by_name) or "no volumes")
            details += "".join(f"\nnot asked: cloud {cloud}: {why.message}" for cloud, why in found.failed.items())
            raise ConfigurationError(
                f"nothing that is left over has the name {name!r}",
                details=details,
                resolution="write it as `wecityctl leftovers list` shows it",
            )
        if by_name[name].planned:
            raise ConfigurationError(
                f"the files still have {by_name[name].owner}, to which {name} belongs",
                resolution="remove it from the files first, or take it down with `destroy --delete-data`",
            )
    return tuple(by_name[name] for name in dict.fromkeys(names))


def delete_volumes(clusters: Clusters, items: Collection[LeftVolume]) -> None:
    """Delete the claims, and wait until they are gone. Call it with their stacks locked.

    Raises `DeploymentError` for one that a pod uses or that is another one now, `TimedOutError`, and the Kubernetes
    client's errors: what was deleted before stays so.
    """
    for item in items:
        ask(clusters.found[item.cloud], lambda client, item=item: _delete(client, item))  # type: ignore[misc]


def _is_claim(item: Retained) -> bool:
    return bool(item.live["kind"] == "PersistentVolumeClaim")


def _is_used(item: Retained, cluster: Cluster, states: Collection[StackState]) -> bool:
    """Whether a state of the cloud's stacks has the claim."""
    return any(
        resource.type == _CLAIM and resource.id == item.id
        for state in states
        if StackName.parse(state.stack).cloud == cluster.cloud
        for resource in state.resources
    )


def _volume(item: Retained, cloud: str, owner: str, *, planned: bool, kept_until: str, stays: bool) -> LeftVolume:
    metadata, labels = meta(item.live), meta(item.live).get("labels") or {}
    status, spec = item.live.get("status") or {}, item.live.get("spec") or {}
    size = (status.get("capacity") or {}).get("storage") or _requested(spec)
    namespace, name = str(metadata.get("namespace")), str(metadata["name"])
    return LeftVolume(
        f"{PREFIX}{cloud}/{namespace}/{name}",
        cloud,
        namespace,
        name,
        owner or f"capability {labels.get(NAME_LABEL, '')} ({labels.get(COMPONENT_LABEL, '')})",
        int(parse_quantity(str(size))),
        str(metadata.get("creationTimestamp") or ""),
        marked_at(item.live),
        planned,
        kept_until,
        stays,
        item.stack,
        str(metadata.get("uid") or ""),
    )


def _requested(spec: Mapping[str, Any]) -> str:
    return str(((spec.get("resources") or {}).get("requests") or {}).get("storage") or "0")


async def _staying(client: KubeClient, items: Collection[Retained]) -> set[str]:
    """The ids of the claims whose volume has a reclaim policy by which it stays."""
    from wecityctl.kube.errors import Forbidden, NotFound

    served = await client.resource("v1", "PersistentVolume")
    found = set[str]()
    for item in items:
        if not (name := (item.live.get("spec") or {}).get("volumeName")):
            continue
        try:
            volume = await client.get(served, str(name))
        except (Forbidden, NotFound):
            continue
        if (volume.get("spec") or {}).get("persistentVolumeReclaimPolicy") == "Retain":
            found.add(item.id)
    return found


async def _delete(client: KubeClient, item: LeftVolume) -> None:
    from wecityctl.kube.errors import Conflict, NotFound

    if users := await _pods(client, item):
        raise DeploymentError(
            f"{item.name} is in use by {counted(len(users), 'pod')}: {', '.join(users[:3])}",
            resolution="find out who made them, and remove them first",
        )
    served = await client.resource("v1", "PersistentVolumeClaim")
    until = time.monotonic() + _REMOVAL
    try:
        await client.delete(served, item.claim, item.namespace, uid=item.uid)
        while time.monotonic() < until:
            await client.get(served, item.claim, item.namespace)
            await asyncio.sleep(_LOOK)
    except NotFound:
        return
    except Conflict as error:
        raise DeploymentError(
            f"{item.name} is another volume now", resolution="look again with `wecityctl leftovers list`"
        ) from error
    raise TimedOutError(
        f"{item.name} is not gone after {_REMOVAL:.0f} s",
        resolution=f"see who holds it: `kubectl describe pvc {item.claim} -n {item.namespace}`",
    )


async def _pods(client: KubeClient, item: LeftVolume) -> list[str]:
    """The names of the pods that mount the claim."""

    def mounts(pod: Mapping[str, Any]) -> bool:
        volumes = (pod.get("spec") or {}).get("volumes") or ()
        return any((each.get("persistentVolumeClaim") or {}).get("claimName") == item.claim for each in volumes)

    served = await client.resource("v1", "Pod")
    return [str(meta(pod)["name"]) for pod in await client.list(served, item.namespace) if mounts(pod)]
