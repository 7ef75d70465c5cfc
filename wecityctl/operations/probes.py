"""End-to-end probes of the capabilities that are up: runs them now, or reads when the last `up` ran them.

What is up is taken from the states. A probe is a Job (`stacks.platforms.probes`): that of the platform's stack, which
`up` waits for, or one that is made here and removed again. Nothing is said of an instance beyond what its Job says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from wecityctl.engine.cluster.account_jobs import JobFailedError, run_job
from wecityctl.errors import WecityError
from wecityctl.inputs import Cluster
from wecityctl.model.catalogue import CapabilityType, Catalogue
from wecityctl.model.naming import CITY_LABEL, PROBES_LABEL, label_value
from wecityctl.model.outputs import Endpoint
from wecityctl.model.stacknames import StackName
from wecityctl.operations.platform_endpoints import endpoints_in

if TYPE_CHECKING:
    from wecityctl.engine.state.backend import Backend
    from wecityctl.engine.state.checkpoint import StackState
    from wecityctl.kube.client import KubeClient
    from wecityctl.model.city import City

# Seconds for one Job, its image's pull included; and how many run at once.
_SECONDS, _AT_ONCE = 320.0, 16
# Lines of what a probe printed.
_LINES = 2

# `unknown`: the probe has not come to a result, or cannot; `not-run`: nothing is recorded.
ProbeResult = Literal["passed", "failed", "running", "unknown", "simulated", "not-run", "not-supported"]


@dataclass(frozen=True, slots=True)
class ProbeStatus:
    """What is known of one capability by its probe: the result, what the probe or the cluster says, and when the probe
    ended (RFC 3339; empty if it has not). `run_by` is `up` or `status`."""

    cloud: str
    capability: str
    type: str
    result: ProbeResult
    message: str = ""
    at: str = ""
    run_by: Literal["up", "status"] = "up"


def is_alarming(status: ProbeStatus) -> bool:
    """Whether the result keeps `status` from ending with 0: a probe that failed, or one made now that told nothing."""
    return status.result == "failed" or (status.result == "unknown" and status.run_by == "status")


@dataclass(frozen=True, slots=True)
class _Instance:
    """A capability that is up. `has_job`: its platform's stack has a Job for its probe; `is_copy`: it is the entry
    point of one zone, whose Service is in the entry stack."""

    cloud: str
    endpoint: Endpoint
    type: CapabilityType | None
    is_tls: bool
    has_job: bool
    is_copy: bool

    def told(self, result: ProbeResult, message: str = "", at: str = "") -> ProbeStatus:
        return ProbeStatus(self.cloud, self.endpoint.capability, self.endpoint.type, result, message, at)

    @property
    def unsupported(self) -> ProbeStatus | None:
        """The status of an instance that cannot be probed; `None` for one that can."""
        if self.type is None:
            return self.told("not-supported", "its capability type is not installed")
        if not self.type.probe:
            return self.told("not-supported", "its capability type has no probe")
        if self.is_copy:
            return self.told("not-supported", "it has no Service of its own; the entry stack waits for its routes")
        return None if self.has_job else self.told("not-run", "no probe of it is in its stack; `wecityctl up` adds it")


def last_probes(
    backend: Backend, catalogue: Catalogue, clusters: Mapping[str, Cluster], seconds: float | None = None
) -> tuple[ProbeStatus, ...]:
    """The results of the probes of the last `up`, as their Jobs on `clusters` tell them.

    Instances on clouds that are not in `clusters`, or do not answer within `seconds`, are left out.
    """
    instances = [item for item in _instances(backend, catalogue) if item.cloud in clusters]
    clouds = sorted({item.cloud for item in instances if item.unsupported is None})
    if not instances:
        return ()
    read = asyncio.run(_read_all(backend.city, {cloud: clusters[cloud] for cloud in clouds}, seconds))
    found: list[ProbeStatus] = []
    for item in instances:
        if item.unsupported is not None:
            found.append(item.unsupported)
        elif (objects := read.get(item.cloud)) is not None:
            found.append(_recorded(item, objects, simulated=clusters[item.cloud].simulated))
    return tuple(found)


def run_probes(
    city: City, backend: Backend, catalogue: Catalogue, clusters: Mapping[str, Cluster]
) -> tuple[ProbeStatus, ...]:
    """Run the probe of every capability that is up on one of `clusters`, several at once, and return the results."""
    instances = [item for item in _instances(backend, catalogue) if item.cloud in clusters]

    def probe(item: _Instance) -> ProbeStatus:
        return replace(item.unsupported or _run(city, item, clusters[item.cloud]), run_by="status")

    if not instances:
        return ()
    with ThreadPoolExecutor(min(_AT_ONCE, len(instances))) as pool:
        # Each thread has the run's context, so that its time limit and interrupts apply there too.
        running = [pool.submit(copy_context().run, probe, item) for item in instances]
        return tuple(item.result() for item in running)


def _run(city: City, item: _Instance, cluster: Cluster) -> ProbeStatus:
    from stacks.platforms.probes import Probed, transient_job

    if cluster.simulated:
        return item.told("simulated", "its pods run nowhere but in the books")
    assert item.type is not None
    job = transient_job(city, Probed(item.type, item.endpoint, item.is_tls), cluster)
    try:
        printed = run_job(cluster, job, _SECONDS)
    except JobFailedError as error:
        # A Job that printed nothing may have had no node or image: that is not the capability's failure.
        if not error.printed.strip():
            return item.told("unknown", f"{error.message} before its probe said anything", _now())
        return item.told("failed", _told(error.printed), _now())
    except WecityError as error:
        return item.told("unknown", ": ".join(filter(None, (error.message, error.details))), _now())
    return item.told("passed", _told(printed), _now())


def _told(text: str) -> str:
    """The last lines that a probe printed, each once, as several attempts may say the same."""
    lines = dict.fromkeys(line.strip() for line in reversed(text.splitlines()) if line.strip())
    return " ".join(reversed(list(lines)[:_LINES]))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _instances(backend: Backend, catalogue: Catalogue) -> Iterator[_Instance]:
    for stack in sorted(backend.list_stacks()):
        name = StackName.parse(stack)
        state = backend.read_state(stack) if name.city == backend.city and name.layer == "platform" else None
        if state is not None:
            yield from _of_stack(state, catalogue)


def _of_stack(state: StackState, catalogue: Catalogue) -> Iterator[_Instance]:
    platform = endpoints_in(state)
    for endpoint in platform.endpoints:
        # What has been taken down has left nothing in the state but what is kept.
        has_service = platform.has(endpoint, endpoint.service)
        if has_service or platform.has(endpoint, endpoint.capability):
            kind, is_tls = catalogue.get(endpoint.type), platform.is_tls(endpoint)
            yield _Instance(platform.cloud, endpoint, kind, is_tls, _has_job(endpoint, state), not has_service)


def _has_job(endpoint: Endpoint, state: StackState) -> bool:
    label = label_value(endpoint.capability)
    return any(
        item.type == "kubernetes:batch/v1:Job"
        and (item.inputs.get("metadata") or {}).get("namespace") == endpoint.namespace
        and ((item.inputs.get("metadata") or {}).get("labels") or {}).get(PROBES_LABEL) == label
        for item in state.resources
    )


async def _read_all(
    city: str, clusters: Mapping[str, Cluster], seconds: float | None
) -> dict[str, Sequence[Mapping[str, Any]]]:
    """The Jobs of probes and their pods by cloud; clouds that do not answer are left out."""
    from wecityctl.kube.identify import patience

    limit = patience() if seconds is None else seconds

    async def read(cluster: Cluster) -> Sequence[Mapping[str, Any]] | None:
        try:
            async with asyncio.timeout(limit):
                return await _jobs(city, cluster, limit)
        except (TimeoutError, WecityError):
            return None

    answers = await asyncio.gather(*map(read, clusters.values()))
    return {cloud: answer for cloud, answer in zip(clusters, answers, strict=True) if answer is not None}


async def _jobs(city: str, cluster: Cluster, seconds: float) -> Sequence[Mapping[str, Any]]:
    from wecityctl.kube.client import KubeClient
    from wecityctl.kube.config import load_access
    from wecityctl.kube.requester import RetryPolicy
    from wecityctl.kube.transport import HttpPool

    access, retry = load_access(cluster.kubeconfig), RetryPolicy(total_seconds=seconds)
    async with HttpPool() as pool, KubeClient(access, pool, retry=retry) as client:
        return await _list(client, city)


async def _list(client: KubeClient, city: str) -> Sequence[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = []
    for version, kind in (("batch/v1", "Job"), ("v1", "Pod")):
        served = await client.resource(version, kind)
        items = await client.list(served, label_selector=f"{PROBES_LABEL},{CITY_LABEL}={city}")
        found += ({**item, "kind": kind} for item in items)
    return found


def _recorded(item: _Instance, objects: Sequence[Mapping[str, Any]], *, simulated: bool) -> ProbeStatus:
    """What the newest of an instance's Jobs of `up` says. Those that `status` makes expire, and are no record."""
    label = label_value(item.endpoint.capability)
    own = [
        job
        for job in objects
        if job["kind"] == "Job"
        and job["metadata"].get("namespace") == item.endpoint.namespace
        and job["metadata"]["labels"].get(PROBES_LABEL) == label
        and not job["spec"].get("ttlSecondsAfterFinished")
    ]
    if not own:
        return item.told("not-run", "its Job is not on the cluster")
    if simulated:
        return item.told("simulated", "its pods run nowhere but in the books")
    newest = max(own, key=lambda job: str(job["metadata"].get("creationTimestamp") or ""))
    for condition in (newest.get("status") or {}).get("conditions") or ():
        if condition.get("status") == "True" and condition.get("type") in ("Complete", "Failed"):
            at = str(condition.get("lastTransitionTime") or "")
            if condition["type"] == "Complete":
                return item.told("passed", "", at)
            why = str(condition.get("message") or condition.get("reason") or "")
            return item.told("failed", _last_words(newest, objects) or why, at)
    return item.told("running", "its Job has not ended")


def _last_words(job: Mapping[str, Any], objects: Sequence[Mapping[str, Any]]) -> str:
    """What the pod of a failed probe ended with, as the cluster keeps it; empty if there is none any more."""
    name, namespace = job["metadata"]["name"], job["metadata"]["namespace"]
    own = [
        item
        for item in objects
        if item["kind"] == "Pod"
        and item["metadata"]["namespace"] == namespace
        and item["metadata"]["labels"].get("job-name") == name
    ]
    for pod in sorted(own, key=lambda item: str(item["metadata"].get("creationTimestamp")), reverse=True):
        for container in (pod.get("status") or {}).get("containerStatuses") or ():
            if message := ((container.get("state") or {}).get("terminated") or {}).get("message"):
                return _told(message)
    return ""
