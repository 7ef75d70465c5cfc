"""`logs`: reads the logs of an app's pods from its cluster, those of jobs too, or from the city's log store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wecityctl.errors import NoSuchStackError, WecityError
from wecityctl.event_loops import run_async
from wecityctl.model.naming import COMPONENT_LABEL
from wecityctl.model.since import Since
from wecityctl.operations.app_targets import (
    Target,
    client_of,
    cluster_of,
    find_component,
    find_target,
    needing,
    nothing_deployed,
)
from wecityctl.operations.stored_logs import log_store, stored_lines

if TYPE_CHECKING:
    from wecityctl.inputs import Cluster
    from wecityctl.kube.client import KubeClient
    from wecityctl.operations.capability_servers import CapabilityServer
    from wecityctl.session import Session

_RETURN = "\r"
_DEFAULT_TAIL = 50
JOB_LABELS = ("batch.kubernetes.io/job-name", "job-name")
Pod = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogsOptions:
    """Which lines are read: the last `tail` of each container, and with `follow` those that come later.

    `app` is an app or one of its components, as `find_target` takes it; `components` are more of them. `tail`: `None`
    stands for all lines with `since`, and for 50 without. `previous`: the logs of containers that have ended and were
    started again, and the run before the last one of a job; not with `follow`.
    """

    app: str
    components: tuple[str, ...] = ()
    tail: int | None = None
    since: Since | None = None
    follow: bool = False
    previous: bool = False

    @property
    def lines(self) -> int | None:
        """How many lines of each container are read; `None` for all."""
        return self.tail if self.tail is not None or self.since is not None else _DEFAULT_TAIL


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line of a pod's log, as the app wrote it."""

    pod: str
    text: str


@dataclass(frozen=True, slots=True)
class LogUnread:
    """A container's log could not be read."""

    pod: str
    error: WecityError


@dataclass(frozen=True, slots=True)
class LogEmpty:
    """A container's log has no lines, or none in the time that was asked for."""

    pod: str


@dataclass(frozen=True, slots=True)
class LogSource:
    """Where the lines come from: the log store called `store`, or the cluster if that cannot be read (`error`)."""

    store: str
    error: WecityError | None = None


LogEvent = LogLine | LogUnread | LogEmpty | LogSource


def logs(session: Session, options: LogsOptions, emit: Callable[[LogEvent], None]) -> None:
    """Emit the lines of all pods of an app; with `follow`, until they have ended or the caller interrupts.

    With `since`, and of an app without pods, they are read from the log store of the app's cloud, if the city has one,
    which has those of pods that are gone. A store that cannot be read is told of, and the cluster is read instead.

    Raises `ConfigurationError` for an unknown app or component and for simulated nodes, `NoSuchStackError` if nothing
    runs or has ended before, `AuthenticationError` without the right, the error of a cluster that cannot be reached,
    and the first container's error if none could be read.
    """
    target = find_target(session.city, options.app)
    for name in options.components:
        find_component(target.app, name)
    cluster = cluster_of(session, target.app, pods="logs")
    run_async(_read(session, cluster, target, options, emit))


async def _read(
    session: Session, cluster: Cluster, target: Target, options: LogsOptions, emit: Callable[[LogEvent], None]
) -> None:
    async with client_of(cluster) as client:
        store = log_store(session, cluster.cloud) if not options.follow and not options.previous else None
        if store is not None and options.since is not None and await _stored(client, store, target, options, emit):
            return
        with needing("list pods", target, cluster):
            pods = await client.list(
                await client.resource("v1", "Pod"),
                target.namespace,
                label_selector=target.selector(_names(target, options)),
            )
        containers = _containers(target, pods, previous=options.previous)
        if not containers:
            if store is not None and options.since is None and await _stored(client, store, target, options, emit):
                return
            raise _nothing(session, target, options, pods)
        read = _follow if options.follow else _print
        with needing("get pods/log", target, cluster):
            errors = await read(client, containers, options, emit)
    if len(errors) == len(containers):
        raise errors[0]


async def _stored(
    client: KubeClient,
    store: CapabilityServer,
    target: Target,
    options: LogsOptions,
    emit: Callable[[LogEvent], None],
) -> bool:
    """Emit the lines that the log store has; return false if it cannot be read, after telling so.

    Once lines have been emitted, its error is raised.
    """
    names, begun = _names(target, options), False
    try:
        async for line in stored_lines(client, store, target, names, tail=options.lines, since=options.since):
            if not begun:
                emit(LogSource(store.name))
            begun = True
            emit(LogLine(line.pod, line.text))
    except WecityError as error:
        if begun:
            raise
        emit(LogSource(store.name, error))
        return False
    if not begun:
        if options.since is None:
            return False
        emit(LogSource(store.name))
        emit(LogEmpty(target.title))
    return True


def _names(target: Target, options: LogsOptions) -> set[str]:
    own = {target.component.name} if target.component is not None else set()
    return own | set(options.components)


def _containers(target: Target, pods: Sequence[Pod], *, previous: bool) -> list[tuple[Pod, str, bool]]:
    """The pods and containers to read, oldest first, and whether it is their last end that counts.

    Of a job, those of its last run, or with `previous` of the run before.
    """
    jobs = {item.name for item in target.app.components if item.is_job}
    found: list[tuple[Pod, str, bool]] = []
    runs = _chosen_runs(pods, jobs, previous=previous)
    for pod in sorted(pods, key=_age):
        component, run = component_of(pod), run_of(pod)
        is_chosen = not run or component not in jobs or runs[component] == run
        for container in pod["spec"]["containers"] if is_chosen else ():
            if run and component in jobs:
                found.append((pod, container["name"], False))
            elif not previous or _restarted(pod, container["name"]):
                found.append((pod, container["name"], previous))
    return found


def _chosen_runs(pods: Sequence[Pod], jobs: set[str], *, previous: bool) -> Mapping[str, str]:
    """The run of each job whose logs are read; empty text where there is none."""
    runs: dict[str, dict[str, str]] = {name: {} for name in jobs}
    for pod in sorted(pods, key=_age):
        if component_of(pod) in jobs and run_of(pod):
            runs[component_of(pod)].setdefault(run_of(pod), _age(pod))
    wanted = 2 if previous else 1
    return {name: list(found)[-wanted] if len(found) >= wanted else "" for name, found in runs.items()}


def component_of(pod: Pod) -> str:
    """The name of the pod's component."""
    return str((pod["metadata"].get("labels") or {}).get(COMPONENT_LABEL) or "")


def run_of(pod: Pod) -> str:
    """The name of the Job that has made the pod; empty if none has."""
    labels = pod["metadata"].get("labels") or {}
    return next((str(labels[name]) for name in JOB_LABELS if labels.get(name)), "")


def _age(pod: Pod) -> str:
    return str(pod["metadata"].get("creationTimestamp") or "")


def _restarted(pod: Pod, container: str) -> bool:
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    return any(item.get("name") == container and (item.get("lastState") or {}).get("terminated") for item in statuses)


def _nothing(session: Session, target: Target, options: LogsOptions, pods: Sequence[Pod]) -> NoSuchStackError:
    jobs = {item.name for item in target.app.components if item.is_job}
    names = _names(target, options)
    if options.previous and pods:
        return NoSuchStackError(
            f"no container of {target.title} has ended and started again, and no job of it ran twice",
            resolution="leave --previous out for what runs now",
        )
    if names and names <= jobs:
        return NoSuchStackError(
            f"{target.title} has not run yet, or its last run is gone",
            resolution=f"run it now: wecityctl run {session.arguments} {target.app.called}/{min(names)}",
        )
    return nothing_deployed(session, target)


async def _print(
    client: KubeClient,
    containers: Sequence[tuple[Pod, str, bool]],
    options: LogsOptions,
    emit: Callable[[LogEvent], None],
) -> list[WecityError]:
    """Emit what is there, pod by pod; return the errors of the containers that could not be read."""
    errors = []
    tasks = [asyncio.create_task(_text(client, *item, options)) for item in containers]
    for (pod, _, _), task in zip(containers, tasks, strict=True):
        name = pod["metadata"]["name"]
        found = await task
        if isinstance(found, WecityError):
            errors.append(found)
            emit(LogUnread(name, found))
            continue
        # Not `splitlines`, which breaks at control characters too.
        for line in found.removesuffix("\n").split("\n") if found else ():
            emit(LogLine(name, line.removesuffix(_RETURN)))
        if not found:
            emit(LogEmpty(name))
    return errors


async def _text(
    client: KubeClient, pod: Pod, container: str, previous: bool, options: LogsOptions
) -> str | WecityError:
    from wecityctl.kube.errors import Forbidden

    metadata = pod["metadata"]
    try:
        return await client.logs(
            metadata["namespace"],
            metadata["name"],
            container,
            tail_lines=options.lines,
            since=options.since,
            previous=previous,
        )
    except Forbidden:
        raise
    except WecityError as error:
        return error


async def _follow(
    client: KubeClient,
    containers: Sequence[tuple[Pod, str, bool]],
    options: LogsOptions,
    emit: Callable[[LogEvent], None],
) -> list[WecityError]:
    """Emit lines as they come, until all containers have ended; return the errors of those that could not be read."""

    async def follow(pod: Pod, container: str) -> WecityError | None:
        from wecityctl.kube.errors import Forbidden

        metadata = pod["metadata"]
        try:
            lines = await client.logs(
                metadata["namespace"],
                metadata["name"],
                container,
                tail_lines=options.lines,
                since=options.since,
                follow=True,
            )
            async for line in lines:
                emit(LogLine(metadata["name"], line.removesuffix(_RETURN)))
        except Forbidden:
            raise
        except WecityError as error:
            emit(LogUnread(metadata["name"], error))
            return error
        return None

    found = await asyncio.gather(*(follow(pod, container) for pod, container, _ in containers))
    return [error for error in found if error is not None]
