"""Runs a Job beside a capability in the run's own process: applied, waited for, read, and removed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from wecityctl.engine.cluster.query import ask
from wecityctl.engine.state.engine_lock import LockedError
from wecityctl.errors import DeploymentError, TimedOutError
from wecityctl.inputs import Cluster
from wecityctl.model.naming import FIELD_MANAGER

if TYPE_CHECKING:
    from wecityctl.kube.client import KubeClient
    from wecityctl.kube.resource import ResourceType

# Seconds.
_LOOK, _TOLD, _REMOVAL = 0.5, 3.0, 60.0


class JobFailedError(DeploymentError):
    """A Job has failed. `printed` is what its last pod has printed; empty if it has printed nothing."""

    def __init__(self, message: str, printed: str) -> None:
        super().__init__(message, details="\n".join(printed.splitlines()[-5:]))
        self.printed = printed


def run_job(
    cluster: Cluster,
    manifest: Mapping[str, Any],
    seconds: float,
    *,
    alone: str = "",
    notice: Mapping[str, Any] | None = None,
    told: Callable[[str], None] | None = None,
) -> str:
    """What the Job's pod prints, within `seconds`. One of that name that an earlier run has left is removed first.

    With `alone`, a label selector of Jobs and pods, nothing is removed that goes on: the Job is refused while such a
    Job has not ended, or such a pod runs. `told` gets what is printed every few seconds, all of it each time.

    `notice` is a ConfigMap that is there from before the Job begins until it is removed, by whomever: other Jobs'
    pods read it as they start. Jobs that `alone` selects are looked for once more when it is there, so that each of
    two Jobs that begin at once either sees the notice or is seen.

    On simulated nodes no program runs, and nothing is printed. Raises `JobFailedError` where the Job fails, with the
    last lines of its pod, `LockedError` for what goes on, `TimedOutError`, and the Kubernetes client's errors.
    """

    async def go(client: KubeClient) -> str:
        return await _run(client, dict(manifest), seconds, alone, notice, told, simulated=cluster.simulated)

    return ask(cluster, go)


async def _run(
    client: KubeClient,
    manifest: dict[str, Any],
    seconds: float,
    alone: str,
    notice: Mapping[str, Any] | None,
    told: Callable[[str], None] | None,
    *,
    simulated: bool,
) -> str:
    served = await client.resource("batch/v1", "Job")
    name, namespace = manifest["metadata"]["name"], manifest["metadata"]["namespace"]
    if alone:
        await require_alone(client, namespace, alone)
    await remove_job(client, name, namespace)
    if notice is not None:
        manifest["spec"] = {**manifest["spec"], "suspend": True}
    if alone:
        made = await _create(client, served, manifest)
    else:
        made = await client.apply(manifest, field_manager=FIELD_MANAGER, force=True)
    try:
        if notice is not None:
            await _begin(client, made, notice, alone)
        until, looked = time.monotonic() + seconds, time.monotonic()
        while not (ended := _ended(await client.get(served, name, namespace))):
            if time.monotonic() > until:
                raise TimedOutError(
                    f"job {namespace}/{name} has not ended in {seconds:.0f} s", resolution="look at its pod's events"
                )
            await asyncio.sleep(_LOOK)
            if told is not None and time.monotonic() - looked > _TOLD:
                looked = time.monotonic()
                told(await _printed(client, name, namespace, whole=False))
        text = "" if simulated else await _printed(client, name, namespace)
        if ended == "Failed":
            raise JobFailedError(f"job {namespace}/{name} has failed", text)
        return text
    finally:
        await remove_job(client, name, namespace)


def _ended(job: Mapping[str, Any]) -> str:
    """`Complete` or `Failed`; empty for a Job that is under way."""
    conditions = (job.get("status") or {}).get("conditions") or ()
    return next(
        (item["type"] for item in conditions if item["status"] == "True" and item["type"] in ("Complete", "Failed")), ""
    )


def has_ended(job: Mapping[str, Any]) -> bool:
    """Whether a Job is complete or has failed."""
    return bool(_ended(job))


async def _begin(client: KubeClient, job: Mapping[str, Any], notice: Mapping[str, Any], alone: str) -> None:
    """Let a suspended Job begin, once its notice is there and no Job goes on that has not seen it.

    The cluster removes the notice with the Job. So whatever is killed, at whatever moment, a notice without a Job does
    not stay, and a Job without a notice has not begun.
    """
    from wecityctl.kube.errors import AlreadyExists, NotFound

    served, notices = await client.resource("batch/v1", "Job"), await client.resource("v1", "ConfigMap")
    meta = job["metadata"]
    name, namespace = str(meta["name"]), str(meta["namespace"])
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": meta["uid"], "blockOwnerDeletion": True}
    owned = {**notice, "metadata": {**notice["metadata"], "ownerReferences": [owner]}}
    try:
        await client.create(notices, namespace, owned, field_manager=FIELD_MANAGER)
    except AlreadyExists:
        # Of a Job that somebody removed without what it owns: there is no other of this name now.
        with suppress(NotFound):
            await client.delete(notices, str(notice["metadata"]["name"]), namespace)
        await client.create(notices, namespace, owned, field_manager=FIELD_MANAGER)
    await require_alone(client, namespace, alone, but=name)
    try:
        await client.patch(served, name, namespace, {"spec": {"suspend": False}}, field_manager=FIELD_MANAGER)
    except NotFound:
        raise LockedError(
            f"job {name} was removed before it began", resolution="another command has begun meanwhile: run it again"
        ) from None


async def require_alone(client: KubeClient, namespace: str, selector: str, *, but: str = "") -> None:
    """Raise `LockedError` while a Job of the selector has not ended, or a pod of it runs; those of `but` do not count.

    A Job that has not begun, since the command that made it was killed, is removed.
    """
    for job in await client.list(await client.resource("batch/v1", "Job"), namespace, label_selector=selector):
        name = str(job["metadata"]["name"])
        if name != but and not has_ended(job) and not await remove_unbegun(client, job):
            raise _under_way(name)
    for pod in await client.list(await client.resource("v1", "Pod"), namespace, label_selector=selector):
        name = str((pod["metadata"].get("labels") or {}).get("job-name") or pod["metadata"]["name"])
        if name != but and (pod.get("status") or {}).get("phase") in ("Pending", "Running"):
            raise _under_way(name)


async def remove_unbegun(client: KubeClient, job: Mapping[str, Any]) -> bool:
    """Remove a Job that is suspended, and return whether it was: not if it has begun since it was read."""
    from wecityctl.kube.errors import Conflict

    meta = job["metadata"]
    if not job["spec"].get("suspend") or (job.get("status") or {}).get("active"):
        return False
    try:
        await remove_job(client, str(meta["name"]), str(meta["namespace"]), version=str(meta["resourceVersion"]))
    except Conflict:
        return False
    return True


async def _create(client: KubeClient, served: ResourceType, manifest: dict[str, Any]) -> dict[str, Any]:
    from wecityctl.kube.errors import AlreadyExists

    try:
        return await client.create(served, manifest["metadata"]["namespace"], manifest, field_manager=FIELD_MANAGER)
    except AlreadyExists:
        raise _under_way(manifest["metadata"]["name"]) from None


def _under_way(job: str) -> LockedError:
    return LockedError(
        f"another one is under way: job {job}", resolution="run it again when that job has ended; it goes on by itself"
    )


async def _printed(client: KubeClient, job: str, namespace: str, *, whole: bool = True) -> str:
    """The log of the Job's last pod; empty where it has none any more. Unless `whole`, what there is of it so far."""
    served = await client.resource("v1", "Pod")
    found = await client.list(served, namespace, label_selector=f"job-name={job}")
    if not found:
        return ""
    last = max(found, key=lambda pod: str(pod["metadata"].get("creationTimestamp")))
    try:
        return await client.logs(namespace, str(last["metadata"]["name"]))
    except DeploymentError:
        # Why a pod has failed is told as well as can be; what it was to list must be there.
        if whole and (last.get("status") or {}).get("phase") == "Succeeded":
            raise
        return ""


async def remove_job(client: KubeClient, name: str, namespace: str, *, version: str = "") -> None:
    """Remove a Job and wait until what it owns is gone: what it does must not come after what follows.

    With `version`, raises `Conflict` if the Job has changed since that resource version.
    """
    from wecityctl.kube.errors import NotFound

    served = await client.resource("batch/v1", "Job")
    until = time.monotonic() + _REMOVAL
    try:
        await client.delete(served, name, namespace, propagation="Foreground", resource_version=version or None)
        while time.monotonic() < until:
            await client.get(served, name, namespace)
            await asyncio.sleep(_LOOK)
    except NotFound:
        return
    raise TimedOutError(f"job {namespace}/{name} is not gone after {_REMOVAL:.0f} s")
