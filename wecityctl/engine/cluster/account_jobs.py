"""Runs a Job beside a capability in the run's own process: applied, waited for, read, and removed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from wecityctl.engine.cluster.query import ask
from wecityctl.errors import DeploymentError, TimedOutError
from wecityctl.inputs import Cluster
from wecityctl.model.naming import FIELD_MANAGER

if TYPE_CHECKING:
    from wecityctl.kube.client import KubeClient

# Seconds.
_LOOK, _REMOVAL = 0.5, 60.0


class JobFailedError(DeploymentError):
    """A Job has failed. `printed` is what its last pod has printed; empty if it has printed nothing."""

    def __init__(self, message: str, printed: str) -> None:
        super().__init__(message, details="\n".join(printed.splitlines()[-5:]))
        self.printed = printed


def run_job(cluster: Cluster, manifest: Mapping[str, Any], seconds: float) -> str:
    """What the Job's pod prints, within `seconds`. One of that name that an earlier run has left is removed first.

    On simulated nodes no program runs, and nothing is printed. Raises `JobFailedError` where the Job fails, with the
    last lines of its pod, `TimedOutError`, and the Kubernetes client's errors.
    """
    return ask(cluster, lambda client: _run(client, dict(manifest), seconds, simulated=cluster.simulated))


async def _run(client: KubeClient, manifest: dict[str, Any], seconds: float, *, simulated: bool) -> str:
    served = await client.resource("batch/v1", "Job")
    name, namespace = manifest["metadata"]["name"], manifest["metadata"]["namespace"]
    await _remove(client, name, namespace)
    await client.apply(manifest, field_manager=FIELD_MANAGER, force=True)
    try:
        until = time.monotonic() + seconds
        while not (ended := _ended(await client.get(served, name, namespace))):
            if time.monotonic() > until:
                raise TimedOutError(
                    f"job {namespace}/{name} has not ended in {seconds:.0f} s", resolution="look at its pod's events"
                )
            await asyncio.sleep(_LOOK)
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


async def _printed(client: KubeClient, job: str, namespace: str) -> str:
    """The log of the Job's last pod; empty where it has none any more."""
    served = await client.resource("v1", "Pod")
    found = await client.list(served, namespace, label_selector=f"job-name={job}")
    if not found:
        return ""
    last = max(found, key=lambda pod: str(pod["metadata"].get("creationTimestamp")))
    try:
        return await client.logs(namespace, str(last["metadata"]["name"]))
    except DeploymentError:
        # Why a pod has failed is told as well as can be; what it was to list must be there.
        if (last.get("status") or {}).get("phase") == "Succeeded":
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
