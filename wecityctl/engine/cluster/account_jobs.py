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
    told: Callable[[str], None] | None = None,
) -> str:
    """What the Job's pod prints, within `seconds`. One of that name that an earlier run has left is removed first.

    With `alone`, a label selector of pods, nothing is removed that goes on: the Job is refused while such a pod runs,
    or a Job of its name. `told` gets what is printed every few seconds, all of it each time.

    On simulated nodes no program runs, and nothing is printed. Raises `JobFailedError` where the Job fails, with the
    last lines of its pod, `LockedError` for what goes on, `TimedOutError`, and the Kubernetes client's errors.
    """
    return ask(cluster, lambda client: _run(client, dict(manifest), seconds, alone, told, simulated=cluster.simulated))


async def _run(
    client: KubeClient,
    manifest: dict[str, Any],
    seconds: float,
    alone: str,
    told: Callable[[str], None] | None,
    *,
    simulated: bool,
) -> str:
    served = await client.resource("batch/v1", "Job")
    name, namespace = manifest["metadata"]["name"], manifest["metadata"]["namespace"]
    if alone:
        await _require_alone(client, name, namespace, alone)
    await _remove(client, name, namespace)
    if alone:
        await _create(client, served, manifest)
    else:
        await client.apply(manifest, field_manager=FIELD_MANAGER, force=True)
    try:
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
        await _remove(client, name, namespace)


def _ended(job: Mapping[str, Any]) -> str:
    """`Complete` or `Failed`; empty for a Job that is under way."""
    conditions = (job.get("status") or {}).get("conditions") or ()
    return next(
        (item["type"] for item in conditions if item["status"] == "True" and item["type"] in ("Complete", "Failed")), ""
    )


def has_ended(job: Mapping[str, Any]) -> bool:
    """Whether a Job is complete or has failed."""
    return bool(_ended(job))


async def _require_alone(client: KubeClient, name: str, namespace: str, selector: str) -> None:
    """Raise `LockedError` while a pod of the selector runs, or a Job of the name has not ended."""
    from wecityctl.kube.errors import NotFound

    found = await client.list(await client.resource("v1", "Pod"), namespace, label_selector=selector)
    for pod in found:
        if (pod.get("status") or {}).get("phase") in ("Pending", "Running"):
            raise _under_way(str((pod["metadata"].get("labels") or {}).get("job-name") or pod["metadata"]["name"]))
    with suppress(NotFound):
        if not _ended(await client.get(await client.resource("batch/v1", "Job"), name, namespace)):
            raise _under_way(name)


async def _create(client: KubeClient, served: ResourceType, manifest: dict[str, Any]) -> None:
    from wecityctl.kube.errors import AlreadyExists

    try:
        await client.create(served, manifest["metadata"]["namespace"], manifest, field_manager=FIELD_MANAGER)
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


async def _remove(client: KubeClient, name: str, namespace: str) -> None:
    """Remove a Job and wait until its pods are gone: what it does must not come after what follows."""
    from wecityctl.kube.errors import NotFound

    served = await client.resource("batch/v1", "Job")
    until = time.monotonic() + _REMOVAL
    try:
        await client.delete(served, name, namespace, propagation="Foreground")
        while time.monotonic() < until:
            await client.get(served, name, namespace)
            await asyncio.sleep(_LOOK)
    except NotFound:
        return
    raise TimedOutError(f"job {namespace}/{name} is not gone after {_REMOVAL:.0f} s")
