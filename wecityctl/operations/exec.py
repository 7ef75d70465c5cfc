"""`exec`: runs a command in a container of an app, and notes who did."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wecityctl.errors import ConfigurationError, NoSuchStackError
from wecityctl.event_loops import run_async
from wecityctl.operations.app_access import noted
from wecityctl.operations.app_targets import (
    Target,
    client_of,
    cluster_of,
    find_pod,
    find_target,
    needing,
    nothing_deployed,
)

if TYPE_CHECKING:
    from wecityctl.inputs import Cluster
    from wecityctl.kube.client import KubeClient
    from wecityctl.kube.remote import RemoteCommand
    from wecityctl.session import Session

# How often the size of a terminal is looked at, in seconds.
_LOOK_SECONDS = 0.5
# How many pieces of input are read before they can be sent.
_PIECES_AHEAD = 16
Pod = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecOptions:
    """`target` is an app or one of its components, as `find_target` takes it; `pod` the name of one of its pods."""

    target: str
    command: tuple[str, ...]
    pod: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Streams:
    """What a command is connected to.

    `read` blocks until there is input, and returns none at its end; without it the command has no input. `size` returns
    columns and rows; with it the command gets a terminal. `connected` is entered while the command runs.
    """

    write: Callable[[bytes], None]
    write_error: Callable[[bytes], None]
    read: Callable[[], bytes] | None = None
    size: Callable[[], tuple[int, int]] | None = None
    connected: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext


@dataclass(frozen=True, slots=True)
class Entering:
    """A command is about to run in this container of this pod."""

    target: str
    pod: str
    container: str
    cloud: str


def exec_command(session: Session, options: ExecOptions, streams: Streams, emit: Callable[[Entering], None]) -> int:
    """Run a command in a container and return its exit code.

    Raises `ConfigurationError` for an unknown app, component or pod, for simulated nodes and where the component has to
    be named; `NoSuchStackError` if no pod runs; `AuthenticationError` without the right; `ApiError` for a command that
    cannot be started.
    """
    target = one_component(find_target(session.city, options.target))
    cluster = cluster_of(session, target.app, pods="containers")
    return run_async(_exec(session, cluster, target, options, streams, emit))


def one_component(target: Target) -> Target:
    """The target with its component: the named one, the routed one, or the only one that runs all the time.

    Raises `ConfigurationError` where that does not tell.
    """
    if target.component is not None:
        return target
    app = target.app
    steady = [item for item in app.components if not item.is_job and item.canary is None]
    routed = app.web_component if app.route is not None else None
    chosen = routed or (steady[0] if len(steady) == 1 else None)
    if chosen is None:
        names = ", ".join(item.name for item in app.components)
        raise ConfigurationError(
            f"{target.title} has several components, and none of them is the one that its route leads to",
            details=f"components: {names or 'none'}",
            resolution=f"name one, such as {app.called}/{app.components[0].name}" if app.components else "",
        )
    return Target(app, chosen)


async def running_pod(client: KubeClient, session: Session, target: Target, cluster: Cluster, name: str = "") -> Pod:
    """The newest ready pod of the component, or a running one; with `name`, that one.

    Raises `ConfigurationError` for an unknown name, and `NoSuchStackError` if none runs.
    """
    with needing("list pods", target, cluster):
        served = await client.resource("v1", "Pod")
        pods = await client.list(served, target.namespace, label_selector=target.selector())
    if not pods:
        raise nothing_deployed(session, target)
    chosen = [find_pod(pods, name, target.title)] if name else pods
    running = [pod for pod in chosen if _is_running(pod)]
    if not running:
        phases = ", ".join(f"{pod['metadata']['name']} is {_phase(pod)}" for pod in chosen)
        raise NoSuchStackError(
            f"no pod of {target.title} runs",
            details=phases,
            resolution=f"wecityctl events {session.arguments} {target.title}",
        )
    return max(running, key=lambda pod: (_is_ready(pod), str(pod["metadata"].get("creationTimestamp"))))


def _phase(pod: Pod) -> str:
    if pod["metadata"].get("deletionTimestamp"):
        return "ending"
    return str((pod.get("status") or {}).get("phase") or "unknown").lower()


def _is_running(pod: Pod) -> bool:
    return _phase(pod) == "running"


def _is_ready(pod: Pod) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(item.get("type") == "Ready" and item.get("status") == "True" for item in conditions)


async def _exec(
    session: Session,
    cluster: Cluster,
    target: Target,
    options: ExecOptions,
    streams: Streams,
    emit: Callable[[Entering], None],
) -> int:
    async with client_of(cluster) as client:
        pod = await running_pod(client, session, target, cluster, options.pod)
        name, container = pod["metadata"]["name"], pod["spec"]["containers"][0]["name"]
        identity = await client.username()
        with (
            noted(session, cluster, target, "exec", identity=identity, pod=name, what=options.command) as entry,
            needing("create pods/exec", target, cluster),
        ):
            emit(Entering(target.title, name, container, cluster.cloud))
            async with client.exec(
                target.namespace,
                name,
                container,
                options.command,
                stdin=streams.read is not None,
                terminal=streams.size is not None,
            ) as command:
                with streams.connected():
                    code = await _carry(command, streams)
            entry.result = str(code)
            return code


async def _carry(command: RemoteCommand, streams: Streams) -> int:
    """Carry input and output until the command has ended; return its exit code."""
    if streams.read is not None and streams.size is None and not command.can_end_stdin:
        raise ConfigurationError(
            "this cluster cannot tell a command that its input has ended", resolution="leave --stdin out"
        )
    helpers = []
    if streams.read is not None:
        helpers.append(asyncio.create_task(_send_input(command, streams.read)))
    if streams.size is not None:
        helpers.append(asyncio.create_task(_send_size(command, streams.size)))
    try:
        async for output in command.output():
            (streams.write if output.stream == "stdout" else streams.write_error)(output.data)
        return command.exit_code()
    finally:
        for helper in helpers:
            helper.cancel()
        await asyncio.gather(*helpers, return_exceptions=True)


async def _send_input(command: RemoteCommand, read: Callable[[], bytes]) -> None:
    """Send what is read until its end. It is read in a thread that nobody waits for: a terminal may stay silent.

    Input that comes faster than it is sent waits where it comes from.
    """
    loop, pieces, room = asyncio.get_running_loop(), asyncio.Queue[bytes](), threading.Semaphore(_PIECES_AHEAD)

    def pump() -> None:
        # The loop is closed once the command has ended.
        with contextlib.suppress(RuntimeError, OSError, ValueError):
            while piece := read():
                room.acquire()
                loop.call_soon_threadsafe(pieces.put_nowait, piece)
            loop.call_soon_threadsafe(pieces.put_nowait, b"")

    threading.Thread(target=pump, daemon=True, name="stdin").start()
    while piece := await pieces.get():
        await command.write(piece)
        room.release()
    await command.end_stdin()


async def _send_size(command: RemoteCommand, size: Callable[[], tuple[int, int]]) -> None:
    last: tuple[int, int] | None = None
    while True:
        now = size()
        if now != last:
            await command.resize(*now)
            last = now
        await asyncio.sleep(_LOOK_SECONDS)
