"""`wecityctl logs`: an app's logs, from all its pods."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wecityctl.cli._arguments import PathBeforeName
from wecityctl.cli._common import EPILOG, HERE, CityPath, note, say
from wecityctl.cli._complete import complete_app
from wecityctl.errors import ConfigurationError, NoSuchStackError

if TYPE_CHECKING:
    from wecityctl.inputs import Cluster
    from wecityctl.kube.client import KubeClient
    from wecityctl.model.city import App, City

SUMMARY = "Show an app's logs."
ORDER = 110
app = typer.Typer()
_RETURN = "\r"


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What of each log is shown, and whether as it is."""

    tail: int
    follow: bool
    previous: bool
    raw: bool


@app.command(
    cls=PathBeforeName,
    epilog=EPILOG.format(
        "wecityctl logs examples/xingcheng health-code",
        "wecityctl logs examples/xingcheng transport-bureau/bus-arrival --follow",
    ),
)
def logs(
    path: CityPath = HERE,
    *,
    name: Annotated[
        str,
        typer.Argument(
            metavar="APP", help="The app, as NAME or TENANT/NAME.", show_default=False, autocompletion=complete_app
        ),
    ],
    component: Annotated[str, typer.Option("--component", "-c", help="Only this component.")] = "",
    tail: Annotated[int, typer.Option("--tail", min=0, help="Lines of each pod, from the end.")] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as the logs grow.")] = False,
    previous: Annotated[bool, typer.Option("--previous", help="The logs of containers that have ended.")] = False,
    raw: Annotated[
        bool, typer.Option("--raw", help="Show lines on a terminal as they are, with the colours and commands in them.")
    ] = False,
) -> None:
    """Show the logs of an app's pods, each line led by its pod's name.

    On a terminal control characters are shown as escapes: what an app prints commands it otherwise.
    """
    from wecityctl.clusters import open_clusters
    from wecityctl.operations.current_placement import current_placement
    from wecityctl.session import open_session

    session = open_session(path, current_placement)
    chosen = find_app(session.city, name)
    clusters = open_clusters(session.city, session.catalogue, lambda event: None, start=False)
    cloud = session.plan.placement.apps[(chosen.tenant, chosen.name)]
    if cloud in clusters.failed:
        raise clusters.failed[cloud]
    if cloud not in clusters.found:
        raise NoSuchStackError(f"cloud {cloud!r} is not running", resolution=f"bring it up: wecityctl up {path}")
    if clusters.found[cloud].simulated:
        raise ConfigurationError(
            f"{chosen.name} runs on simulated nodes, which have no logs", resolution="use a cloud with real nodes"
        )
    wanted = _Wanted(tail, follow, previous, raw or not sys.stdout.isatty())
    asyncio.run(_show(clusters.found[cloud], chosen, component, wanted))


def find_app(city: City, name: str) -> App:
    """The app called `name` or `tenant/name`. Raises `ConfigurationError` when there is none, or more than one."""
    tenant, _, short = name.rpartition("/")
    found = [item for item in city.apps if item.name == short and (not tenant or item.tenant == tenant)]
    if len(found) == 1:
        return found[0]
    if found:
        owners = " or ".join(f"{item.tenant}/{item.name}" for item in found)
        raise ConfigurationError(f"several tenants have an app {short!r}", resolution=f"say {owners}")
    known = ", ".join(f"{item.tenant}/{item.name}" for item in city.apps)
    raise ConfigurationError(f"there is no app {name!r}", details=f"apps: {known or 'none'}")


async def _show(cluster: Cluster, chosen: App, component: str, wanted: _Wanted) -> None:
    from wecityctl.kube.client import KubeClient
    from wecityctl.kube.config import load_access
    from wecityctl.kube.transport import HttpPool
    from wecityctl.model.naming import COMPONENT_LABEL, NAME_LABEL, PART_OF_LABEL, tenant_namespace

    namespace = tenant_namespace(chosen.tenant, chosen.zone)
    selector = f"{NAME_LABEL}={chosen.name},{PART_OF_LABEL}={chosen.tenant}"
    if component:
        selector += f",{COMPONENT_LABEL}={component}"
    async with HttpPool() as pool, KubeClient(load_access(cluster.kubeconfig), pool) as client:
        pods = await client.list(await client.resource("v1", "Pod"), namespace, label_selector=selector)
        if not pods:
            raise NoSuchStackError(f"{chosen.name} has no pods in {namespace}")
        await asyncio.gather(*(_pod(client, pod, wanted) for pod in pods))


async def _pod(client: KubeClient, pod: dict[str, Any], wanted: _Wanted) -> None:
    from wecityctl.errors import WecityError

    namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
    for container in pod["spec"]["containers"]:
        try:
            if wanted.follow:
                lines = await client.logs(namespace, name, container["name"], tail_lines=wanted.tail, follow=True)
                async for line in lines:
                    say(f"{name} | {line.removesuffix(_RETURN)}", raw=wanted.raw)
            else:
                text = await client.logs(
                    namespace, name, container["name"], tail_lines=wanted.tail, previous=wanted.previous
                )
                # Not `splitlines`, which breaks at control characters too.
                for line in text.removesuffix("\n").split("\n") if text else ():
                    say(f"{name} | {line.removesuffix(_RETURN)}", raw=wanted.raw)
        except WecityError as error:
            note(f"{name}: {error.message}")
