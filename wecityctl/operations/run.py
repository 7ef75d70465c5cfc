"""`run`: runs a job of an app now, beside its schedule or releases, and waits for its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wecityctl.errors import (
    AuthenticationError,
    ConfigurationError,
    DeploymentError,
    NoSuchStackError,
    TimedOutError,
    WecityError,
)
from wecityctl.event_loops import run_async
from wecityctl.guesses import nearest
from wecityctl.model import naming
from wecityctl.operations.app_access import who
from wecityctl.operations.app_runs import STARTED_BY, JobRun, is_of, is_over, runs_of
from wecityctl.operations.app_targets import Target, client_of, cluster_of, find_target
from wecityctl.operations.logs import LogLine

if TYPE_CHECKING:
    from wecityctl.inputs import Cluster
    from wecityctl.kube.client import KubeClient
    from wecityctl.session import Session

_LOOK_SECONDS, _ATTEMPTS = 0.5, 5
_INSTANTIATE = "cronjob.kubernetes.io/instantiate"
# How long a run by hand of a scheduled job, and its log, are kept: a week, over which people ask what it did.
_KEPT_SECONDS = 7 * 24 * 3600
# Labels that the Job controller sets; those of another Job must not be copied.
_OF_CONTROLLER = ("controller-uid", "job-name", "batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name")
# The longest name of a CronJob (`stacks.tenants.jobs`); a Job of it has at most 63 characters.
_MAX_NAME = 52
Object = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """`job` is named as `find_target` takes it. `seconds` limits the wait, not the job; `None`: no limit."""

    job: str
    wait: bool = True
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The job has been started under this name."""

    target: str
    name: str
    cloud: str
    namespace: str


@dataclass(frozen=True, slots=True)
class RunWaits:
    """A pod of the run has not started, for this reason."""

    pod: str
    reason: str


RunEvent = RunStarted | RunWaits | LogLine


def run(session: Session, options: RunOptions, emit: Callable[[RunEvent], None]) -> JobRun:
    """Start the job, emit what its pods write, and return how it ended; without `wait`, as it has begun.

    Raises `ConfigurationError` for what is no job, for a suspended app and for simulated nodes; `NoSuchStackError` if
    it is not deployed; `WecityError` while another run goes on that excludes this one; `AuthenticationError` without
    the right; `TimedOutError` if it goes on after `seconds`.
    """
    target = find_job(session, options.job)
    if target.app.stage == "suspended":
        raise ConfigurationError(
            f"{target.title} is suspended, and nothing of it runs", resolution="set `stage: published`, then run `up`"
        )
    cluster = cluster_of(session, target.app, pods="jobs that really run")
    return run_async(_run(session, cluster, target, options, emit))


def find_job(session: Session, name: str) -> Target:
    """The job called so; an app alone stands for its only one. Raises `ConfigurationError` for anything else."""
    target = find_target(session.city, name)
    jobs = [item for item in target.app.components if item.is_job]
    if target.component is None and len(jobs) == 1:
        return Target(target.app, jobs[0])
    if target.component is not None and target.component.is_job:
        return target
    names = [item.name for item in jobs]
    near = nearest(target.component.name, names) if target.component is not None else "".join(names[:1])
    what = "is no job: it runs all the time" if target.component is not None else "has several jobs"
    raise ConfigurationError(
        f"{target.title} {what if names or target.component is not None else 'has no job'}",
        details=f"jobs: {', '.join(names) or 'none'}",
        resolution=f"say {target.app.called}/{near}" if near else "",
    )


async def _run(
    session: Session,
    cluster: Cluster,
    target: Target,
    options: RunOptions,
    emit: Callable[[RunEvent], None],
) -> JobRun:
    async with client_of(cluster) as client:
        await _require_rights(client, target, cluster)
        job = await _start(client, session, target)
        name = job["metadata"]["name"]
        emit(RunStarted(target.title, name, cluster.cloud, target.namespace))
        if not options.wait:
            return runs_of([job], ())[0]
        try:
            async with asyncio.timeout(options.seconds):
                return await _watch(client, target, name, emit)
        except TimeoutError:
            raise TimedOutError(
                f"{name} goes on after {options.seconds:g} s",
                resolution=f"see how it ends: wecityctl events {session.arguments} {target.title}",
            ) from None


async def _require_rights(client: KubeClient, target: Target, cluster: Cluster) -> None:
    """Raise `AuthenticationError` if these credentials may not start jobs: a quota refuses with the same status."""
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {
            "resourceAttributes": {
                "verb": "create",
                "group": "batch",
                "resource": "jobs",
                "namespace": target.namespace,
            }
        },
    }
    answer = await client.request("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body=body)
    if not (answer.get("status") or {}).get("allowed"):
        raise AuthenticationError(
            f"these credentials may not run {target.title}",
            details=f"cloud {cluster.cloud}: the right is missing to create jobs.batch in namespace {target.namespace}",
            resolution="use the credentials of the city's operator",
        )


async def _start(client: KubeClient, session: Session, target: Target) -> Object:
    from wecityctl.kube.errors import AlreadyExists

    for _ in range(_ATTEMPTS):
        try:
            return await _create(client, session, target)
        except AlreadyExists:
            # Somebody else has started one meanwhile; the next attempt sees it.
            await asyncio.sleep(_LOOK_SECONDS)
    raise WecityError(f"{target.title} is started by others all the time", resolution="try again later")


async def _create(client: KubeClient, session: Session, target: Target) -> Object:
    served = await client.resource("batch/v1", "Job")
    assert target.component is not None
    own = [item for item in await client.list(served, target.namespace) if is_of(item, target, [target.component.name])]
    owner = await _owner(client, session, target, own)
    policy = str(owner["spec"].get("concurrencyPolicy") or "Forbid")
    active = [item for item in own if not is_over(item)]
    if active and policy == "Forbid":
        raise _excluded(session, target, active[0]["metadata"]["name"])
    for item in active if policy == "Replace" else ():
        await client.delete(served, item["metadata"]["name"], target.namespace, uid=item["metadata"]["uid"])
    manifest = job_of(owner, target, own, who())
    return await client.create(served, target.namespace, manifest, field_manager=naming.FIELD_MANAGER)


def _excluded(session: Session, target: Target, name: str) -> WecityError:
    return WecityError(
        f"{target.title} runs already, as {name}",
        details="its `concurrency` is forbid: two runs at a time are not allowed",
        resolution=f"wait for its end: wecityctl logs {session.arguments} {target.title} --follow",
    )


async def _owner(client: KubeClient, session: Session, target: Target, runs: Sequence[Object]) -> Object:
    """The CronJob of the job, or the newest Job of a release. Raises `NoSuchStackError` without any."""
    from wecityctl.kube.errors import NotFound

    assert target.component is not None
    missing = NoSuchStackError(
        f"{target.title} is not deployed", resolution=f"bring it up: wecityctl up {session.arguments}"
    )
    if target.component.schedule:
        try:
            served = await client.resource("batch/v1", "CronJob")
            found = await client.get(served, naming.fit(target.workload, _MAX_NAME), target.namespace)
        except NotFound:
            raise missing from None
        return {**found, "apiVersion": "batch/v1", "kind": "CronJob"}
    released = [item for item in runs if not item["metadata"].get("ownerReferences")]
    if not released:
        raise missing
    newest = max(released, key=lambda item: str(item["metadata"].get("creationTimestamp") or ""))
    return {**newest, "apiVersion": "batch/v1", "kind": "Job"}


def job_of(owner: Mapping[str, Any], target: Target, runs: Sequence[Mapping[str, Any]], started_by: str) -> Object:
    """The Job that runs now what `owner`, a CronJob or the Job of a release, describes.

    It belongs to its owner and goes with it. A CronJob does not control it: its controller would warn of a Job that it
    did not make. So it has its own time to be kept. The name is made of the `runs` there were: of two people who start
    it at the same time, one gets `AlreadyExists`.
    """
    metadata, is_cron = owner["metadata"], owner["kind"] == "CronJob"
    spec = dict((owner["spec"]["jobTemplate"]["spec"]) if is_cron else owner["spec"])
    template = dict(spec["template"])
    meta = dict(template.get("metadata") or {})
    meta["labels"] = {key: value for key, value in (meta.get("labels") or {}).items() if key not in _OF_CONTROLLER}
    meta.pop("creationTimestamp", None)
    spec["template"] = {**template, "metadata": meta}
    for own in ("selector", "manualSelector", "suspend"):
        spec.pop(own, None)
    if is_cron:
        spec["ttlSecondsAfterFinished"] = _KEPT_SECONDS
    seen = naming.digest(metadata["uid"], *sorted(item["metadata"]["uid"] for item in runs), length=6)
    reference = {"apiVersion": "batch/v1", "kind": owner["kind"], "name": metadata["name"], "uid": metadata["uid"]}
    assert target.component is not None
    labels = {
        naming.NAME_LABEL: target.app.name,
        naming.PART_OF_LABEL: target.app.tenant,
        naming.COMPONENT_LABEL: target.component.name,
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": f"{naming.fit(metadata['name'], _MAX_NAME)}-now-{seen}",
            "namespace": target.namespace,
            "labels": labels,
            "annotations": {_INSTANTIATE: "manual", STARTED_BY: started_by},
            "ownerReferences": [reference],
        },
        "spec": spec,
    }


async def _watch(client: KubeClient, target: Target, name: str, emit: Callable[[RunEvent], None]) -> JobRun:
    """Emit the logs of the run's pods, one attempt after the other, until it has ended."""
    from wecityctl.kube.errors import NotFound

    jobs, pods = await client.resource("batch/v1", "Job"), await client.resource("v1", "Pod")
    shown: set[str] = set()
    waits: dict[str, str] = {}
    while True:
        try:
            job = await client.get(jobs, name, target.namespace)
        except NotFound:
            raise DeploymentError(f"{name} was deleted before it ended") from None
        found = await client.list(pods, target.namespace, label_selector=f"batch.kubernetes.io/job-name={name}")
        for pod in sorted(found, key=lambda item: str(item["metadata"].get("creationTimestamp") or "")):
            own = pod["metadata"]["name"]
            if own in shown:
                continue
            if not _has_started(pod):
                reason = _waiting(pod)
                if reason and waits.get(own) != reason:
                    waits[own] = reason
                    emit(RunWaits(own, reason))
                continue
            shown.add(own)
            await _show(client, pod, emit)
        if is_over(job):
            own_pods = await client.list(pods, target.namespace, label_selector=f"batch.kubernetes.io/job-name={name}")
            return runs_of([job], own_pods)[0]
        await asyncio.sleep(_LOOK_SECONDS)


async def _show(client: KubeClient, pod: Object, emit: Callable[[RunEvent], None]) -> None:
    metadata = pod["metadata"]
    try:
        lines = await client.logs(
            metadata["namespace"], metadata["name"], pod["spec"]["containers"][0]["name"], follow=True
        )
        async for line in lines:
            emit(LogLine(metadata["name"], line.removesuffix("\r")))
    except WecityError as error:
        # Who may start it need not read its log, and a log may be gone; the run goes on.
        emit(RunWaits(metadata["name"], f"its log cannot be read: {error.message}"))


def _statuses(pod: Object) -> Sequence[Mapping[str, Any]]:
    return (pod.get("status") or {}).get("containerStatuses") or ()


def _has_started(pod: Object) -> bool:
    return any("waiting" not in (item.get("state") or {"waiting": {}}) for item in _statuses(pod))


def _waiting(pod: Object) -> str:
    """Why a pod's container does not start; empty for what always comes first."""
    for item in _statuses(pod):
        state = (item.get("state") or {}).get("waiting") or {}
        if state.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
            return ": ".join(filter(None, (state.get("reason"), state.get("message"))))
    for condition in (pod.get("status") or {}).get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return str(condition.get("message") or condition.get("reason") or "")
    return ""
