"""`events`: reads what the cluster tells about an app's objects, and how its jobs' last runs ended."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from wecityctl.event_loops import run_async
from wecityctl.model.naming import component_workload
from wecityctl.model.since import Since
from wecityctl.operations.app_runs import JobRun, is_of, runs_of
from wecityctl.operations.app_targets import Target, client_of, cluster_of, find_target, needing

if TYPE_CHECKING:
    from wecityctl.inputs import Cluster
    from wecityctl.kube.client import KubeClient
    from wecityctl.model.city import App
    from wecityctl.session import Session

# Seconds of one watch; the next one begins where it has ended.
_WATCH_SECONDS = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class EventsOptions:
    """Which events are read: of `app`, as `find_target` takes it; with `warnings`, no others; newer than `since`."""

    app: str
    warnings: bool = False
    since: Since | None = None


@dataclass(frozen=True, slots=True)
class AppEvent:
    """An event of one object, told `count` times from `first` to `last` (RFC 3339). `type` is Normal or Warning.

    `component` is the app's component that the object belongs to; empty if it is the app's as a whole.
    """

    component: str
    kind: str
    name: str
    type: str
    reason: str
    message: str
    count: int
    first: str
    last: str


@dataclass(frozen=True, slots=True)
class AppEvents:
    """The events, newest last, and the last runs of the app's jobs, newest last. `notes` say what was not read."""

    cloud: str
    namespace: str
    simulated: bool
    events: tuple[AppEvent, ...]
    runs: tuple[JobRun, ...] = ()
    notes: tuple[str, ...] = ()


def events(session: Session, options: EventsOptions) -> AppEvents:
    """Return the events of an app's objects.

    Raises `ConfigurationError` for an unknown app or component, `NoSuchStackError` if its cloud does not run,
    `AuthenticationError` without the right, and the error of a cluster that cannot be reached.
    """
    target = find_target(session.city, options.app)
    cluster = cluster_of(session, target.app)
    return run_async(_read(session.city.apps_of(target.app.tenant), cluster, target, options))


def follow_events(session: Session, options: EventsOptions, emit: Callable[[AppEvent], None]) -> None:
    """Emit the events that are there, then each as it comes, until the caller interrupts. Raises as `events`."""
    target = find_target(session.city, options.app)
    cluster = cluster_of(session, target.app)
    run_async(_follow(session.city.apps_of(target.app.tenant), cluster, target, options, emit))


async def _read(apps: Sequence[App], cluster: Cluster, target: Target, options: EventsOptions) -> AppEvents:
    from wecityctl.kube.errors import Forbidden

    owners = Owners.of(apps, target.app.zone)
    async with client_of(cluster) as client:
        with needing("list events", target, cluster):
            found = await client.list(await client.resource("v1", "Event"), target.namespace)
        runs: tuple[JobRun, ...] = ()
        notes: tuple[str, ...] = ()
        if any(item.is_job for item in _components(target)):
            try:
                runs = await _runs(client, target)
            except Forbidden:
                notes = ("the runs of its jobs are not shown: these credentials may not list jobs",)
    chosen = joined(_chosen(found, owners, target, options))
    return AppEvents(cluster.cloud, target.namespace, cluster.simulated, chosen, runs, notes)


def _components(target: Target) -> Sequence[Any]:
    return (target.component,) if target.component is not None else target.app.components


async def _runs(client: KubeClient, target: Target) -> tuple[JobRun, ...]:
    jobs = await client.list(await client.resource("batch/v1", "Job"), target.namespace)
    pods = await client.list(await client.resource("v1", "Pod"), target.namespace, label_selector=target.selector())
    names = {item.name for item in _components(target) if item.is_job}
    return runs_of([job for job in jobs if is_of(job, target, names)], pods)


async def _follow(
    apps: Sequence[App],
    cluster: Cluster,
    target: Target,
    options: EventsOptions,
    emit: Callable[[AppEvent], None],
) -> None:
    from wecityctl.kube.errors import Gone

    owners = Owners.of(apps, target.app.zone)
    async with client_of(cluster) as client:
        served = await client.resource("v1", "Event")
        version, told = "", dict[tuple[str, ...], tuple[int, str]]()
        while True:
            if not version:
                with needing("list events", target, cluster):
                    page = await client.list_page(served, target.namespace)
                version = page.resource_version
                for event in joined(_chosen(page.items, owners, target, options)):
                    # After a gap, what was told already comes again.
                    if told.get(_key(event)) != (event.count, event.last):
                        told[_key(event)] = (event.count, event.last)
                        emit(event)
            try:
                with needing("watch events", target, cluster):
                    changes = client.watch(
                        served, target.namespace, resource_version=version, timeout_seconds=_WATCH_SECONDS
                    )
                    async for change in changes:
                        version = str(change.object["metadata"].get("resourceVersion") or version)
                        if change.type in ("ADDED", "MODIFIED"):
                            for event in joined(_chosen([change.object], owners, target, options)):
                                told[_key(event)] = (event.count, event.last)
                                emit(event)
            except Gone:
                version = ""


def _key(event: AppEvent) -> tuple[str, ...]:
    return (event.kind, event.name, event.type, event.reason, event.message)


@dataclass(frozen=True, slots=True)
class Owners:
    """Tells by the name of an object in a namespace to which app and component it belongs.

    Objects that are gone have events for an hour, and no labels any more. What a controller makes has the name of what
    it was made from, a hyphen and something of its own.
    """

    names: Mapping[str, tuple[str, str]]

    @classmethod
    def of(cls, apps: Iterable[App], zone: str) -> Owners:
        """Those of the apps that are in one namespace: of one tenant, in one zone."""
        found: dict[str, tuple[str, str]] = {}
        for app in apps:
            if app.zone == zone:
                found.setdefault(app.name, (app.name, ""))
        for app in apps:
            for part in app.components if app.zone == zone else ():
                found[component_workload(app.name, part.name)] = (app.name, part.name)
        return cls(found)

    def component(self, name: str) -> tuple[str, str] | None:
        """The app and the component (empty: the app's as a whole) of an object; `None` for a foreign one."""
        parts = name.split("-")
        # The longest name wins: `web-api` is an app of its own beside `web`.
        for size in range(len(parts), 0, -1):
            owner = self.names.get("-".join(parts[:size]))
            if owner is not None:
                return owner
        return None


def _chosen(
    found: Iterable[Mapping[str, Any]], owners: Owners, target: Target, options: EventsOptions
) -> Iterable[AppEvent]:
    begin = options.since.begin(datetime.now(UTC)) if options.since is not None else None
    for item in found:
        event = event_of(item, owners)
        if event is None or event[0] != target.app.name:
            continue
        told = event[1]
        is_wanted = target.component is None or told.component == target.component.name
        is_new = begin is None or (told.last and datetime.fromisoformat(told.last) >= begin)
        if is_wanted and is_new and (told.type == "Warning" or not options.warnings):
            yield told


def event_of(item: Mapping[str, Any], owners: Owners) -> tuple[str, AppEvent] | None:
    """An Event object as an app's event, with the app's name; `None` if its object is no app's."""
    about = item.get("involvedObject") or {}
    owner = owners.component(str(about.get("name") or ""))
    if owner is None:
        return None
    series = item.get("series") or {}
    made = str((item.get("metadata") or {}).get("creationTimestamp") or "")
    last = str(series.get("lastObservedTime") or item.get("lastTimestamp") or item.get("eventTime") or made)
    first = str(item.get("firstTimestamp") or item.get("eventTime") or last)
    return owner[0], AppEvent(
        component=owner[1],
        kind=str(about.get("kind") or ""),
        name=str(about.get("name") or ""),
        type=str(item.get("type") or "Normal"),
        reason=str(item.get("reason") or ""),
        message=str(item.get("message") or "").strip(),
        count=int(series.get("count") or item.get("count") or 1),
        first=first,
        last=last,
    )


def joined(found: Iterable[AppEvent]) -> tuple[AppEvent, ...]:
    """Join the events that say the same of the same object; newest last."""
    by_key: dict[tuple[str, ...], AppEvent] = {}
    for event in found:
        other = by_key.get(_key(event))
        if other is not None:
            event = AppEvent(
                event.component,
                event.kind,
                event.name,
                event.type,
                event.reason,
                event.message,
                event.count + other.count,
                min(event.first, other.first, key=_time),
                max(event.last, other.last, key=_time),
            )
        by_key[_key(event)] = event
    return tuple(sorted(by_key.values(), key=lambda item: (_time(item.last), item.name, item.reason)))


def _time(text: str) -> float:
    """The seconds of an RFC 3339 time: those of Kubernetes come with and without fractions."""
    return datetime.fromisoformat(text).timestamp() if text else 0.0
