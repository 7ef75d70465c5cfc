"""`logs`: reads the logs of an app's pods from its cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wecityctl.errors import ConfigurationError, NoSuchStackError, WecityError
from wecityctl.event_loops import run_async
from wecityctl.operations.names import no_such

if TYPE_CHECKING:
    from wecityctl.inputs import Cluster
    from wecityctl.kube.client import KubeClient
    from wecityctl.model.city import App, City
    from wecityctl.session import Session

_RETURN = "\r"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogsOptions:
    """Which lines are read: the last `tail` of each container, and with `follow` those that come later.

    `app` is NAME or TENANT/NAME; with `component` only pods of that are read. `previous`: the logs of containers that
    have ended; not with `follow`.
    """

    app: str
    component: str = ""
    tail: int = 50
    follow: bool = False
    previous: bool = False


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


LogEvent = LogLine | LogUnread


def logs(session: Session, options: LogsOptions, emit: Callable[[LogEvent], None]) -> None:
    """Emit the lines of all pods of an app; with `follow`, until they have ended or the caller interrupts.

    Raises `ConfigurationError` for an unknown app and for simulated nodes, `NoSuchStackError` if nothing runs, and the
    error of a cluster that cannot be reached.
    """
    from wecityctl.clusters import open_clusters

    app = find_app(session.city, options.app)
    clusters = open_clusters(session.city, session.catalogue, lambda event: None, start=False)
    cloud = session.plan.placement.apps[(app.tenant, app.name)]
    if cloud in clusters.failed:
        raise clusters.failed[cloud]
    if cloud not in clusters.found:
        raise NoSuchStackError(
            f"cloud {cloud!r} is not running", resolution=f"bring it up: wecityctl up {session.arguments}"
        )
    if clusters.found[cloud].simulated:
        raise ConfigurationError(
            f"{app.name} runs on simulated nodes, which have no logs", resolution="use a cloud with real nodes"
        )
    run_async(_read(clusters.found[cloud], app, options, emit))


def find_app(city: City, name: str) -> App:
    """The app called `name` or `tenant/name`. Raises `ConfigurationError` when there is none, or more than one."""
    tenant, _, short = name.rpartition("/")
    found = [
        item for item in city.apps if short in (item.name, item.known_as) and (not tenant or item.tenant == tenant)
    ]
    if len(found) == 1:
        return found[0]
    if found:
        owners = " or ".join(f"{item.tenant}/{item.name}" for item in found)
        raise ConfigurationError(f"several tenants have an app {short!r}", resolution=f"say {owners}")
    raise no_such("app", name, [f"{item.tenant}/{item.name}" for item in city.apps], "write it as TENANT/NAME")


async def _read(cluster: Cluster, app: App, options: LogsOptions, emit: Callable[[LogEvent], None]) -> None:
    from wecityctl.kube.client import KubeClient
    from wecityctl.kube.config import load_access
    from wecityctl.kube.transport import HttpPool
    from wecityctl.model.naming import COMPONENT_LABEL, NAME_LABEL, PART_OF_LABEL, tenant_namespace

    namespace = tenant_namespace(app.tenant, app.zone)
    selector = f"{NAME_LABEL}={app.name},{PART_OF_LABEL}={app.tenant}"
    if options.component:
        selector += f",{COMPONENT_LABEL}={options.component}"
    async with HttpPool() as pool, KubeClient(load_access(cluster.kubeconfig), pool) as client:
        pods = await client.list(await client.resource("v1", "Pod"), namespace, label_selector=selector)
        if not pods:
            raise NoSuchStackError(f"{app.name} has no pods in {namespace}")
        await asyncio.gather(*(_pod(client, pod, options, emit) for pod in pods))


async def _pod(client: KubeClient, pod: dict[str, Any], options: LogsOptions, emit: Callable[[LogEvent], None]) -> None:
    namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
    for container in pod["spec"]["containers"]:
        try:
            if options.follow:
                lines = await client.logs(namespace, name, container["name"], tail_lines=options.tail, follow=True)
                async for line in lines:
                    emit(LogLine(name, line.removesuffix(_RETURN)))
            else:
                text = await client.logs(
                    namespace, name, container["name"], tail_lines=options.tail, previous=options.previous
                )
                # Not `splitlines`, which breaks at control characters too.
                for line in text.removesuffix("\n").split("\n") if text else ():
                    emit(LogLine(name, line.removesuffix(_RETURN)))
        except WecityError as error:
            emit(LogUnread(name, error))
