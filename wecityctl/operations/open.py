"""`open`: tells where an app is reached, or forwards a local port to it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from shlex import quote
from typing import TYPE_CHECKING

from wecityctl.errors import ConfigurationError, DeploymentError, NoSuchStackError, WecityError
from wecityctl.event_loops import run_async
from wecityctl.model.naming import entry_host, stack_name
from wecityctl.model.outputs import EntryOutputs, outputs_from_json
from wecityctl.operations.app_access import noted
from wecityctl.operations.app_targets import Target, client_of, cluster_of, find_target, needing, not_running
from wecityctl.operations.entry_urls import authority_file
from wecityctl.operations.exec import one_component, running_pod

if TYPE_CHECKING:
    from wecityctl.inputs import Cluster, Clusters
    from wecityctl.kube.client import KubeClient
    from wecityctl.kube.remote import ForwardedConnection
    from wecityctl.session import Session

LOOPBACK = "127.0.0.1"
_MOST_CONNECTIONS = 64
_PIECE = 32 * 1024
# How long the pod may go on sending to a client that sends no more.
_LINGER_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class AppAddress:
    """Where an app is reached: its URL, and where that host's entry point answers (`address` is empty if unknown).

    `curl` is a command that reaches it from this machine without a name service; empty if the address is unknown.
    """

    url: str
    host: str
    path: str
    port: int
    tls: bool
    address: str
    curl: str
    notes: tuple[str, ...] = ()


def app_address(session: Session, name: str) -> AppAddress:
    """Where the entry point serves an app.

    Raises `ConfigurationError` for an unknown app, one without a route and a component that the route does not lead to;
    `NoSuchStackError` if it is not served yet, its stage is neither published nor suspended, or the entry point's cloud
    does not run; and the error of a cloud that is not reached.
    """
    from wecityctl.clusters import open_clusters
    from wecityctl.engine.state.backend import open_backend

    target = find_target(session.city, name)
    app = target.app
    if app.route is None:
        raise ConfigurationError(
            f"{target.title} has no route", resolution="forward a port with --forward, or give it a route"
        )
    if target.component is not None and target.component is not app.web_component:
        to = f"the route of {app.tenant}/{app.called} leads to "
        raise ConfigurationError(
            f"no route leads to {target.title}",
            details=to
            + (f"component {app.web_component.name!r}" if app.web_component else "a Service of its manifests"),
            resolution="forward a port with --forward",
        )
    if not app.holds_route:
        raise NoSuchStackError(
            f"the entry point does not serve {target.title}: its stage is {app.stage}",
            resolution="set `stage: published`, then `wecityctl up`",
        )
    backend = open_backend(session.city)
    host = entry_host(app.route.host, session.city.domain)
    outputs = _entry_outputs(backend.read_state(stack_name(session.city.name, "entry")))
    if outputs is None or host not in dict(outputs.addresses):
        raise NoSuchStackError(
            f"the entry point does not serve {host} yet", resolution=f"bring it up: wecityctl up {session.arguments}"
        )
    clusters = open_clusters(session.city, session.catalogue, lambda event: None, start=False, backend=backend)
    cloud = session.plan.placement.entry
    if cloud in clusters.failed:
        raise clusters.failed[cloud]
    if cloud not in clusters.found:
        raise not_running(session, cloud)
    found = address_of(
        outputs,
        host,
        app.route.path,
        address=clusters.found[cloud].address or _balancer(clusters, cloud, app.zone),
        simulated=clusters.found[cloud].simulated,
        authority=str(authority_file(session.city.name)),
    )
    if app.is_routed:
        return found
    return replace(found, notes=(*found.notes, "it is suspended: the entry point answers with a page that says so"))


def address_of(
    outputs: EntryOutputs, host: str, path: str, *, address: str, simulated: bool, authority: str
) -> AppAddress:
    """The address of a host that the entry points serve.

    `address` is where they answer, `authority` the file with the certificates of the city's own authority.
    """
    tls, node_port = outputs.tls, dict(outputs.addresses)[host]
    port = node_port or (443 if tls else 80)
    shown = "" if port == (443 if tls else 80) else f":{port}"
    url = f"{'https' if tls else 'http'}://{host}{shown}{path}"
    trust = f"--cacert {quote(authority)} " if outputs.authority else ""
    curl = f"curl {trust if tls else ''}--resolve {host}:{port}:{address} {quote(url)}" if address else ""
    notes: list[str] = []
    if simulated:
        notes.append("its nodes are simulated: nothing answers there")
    elif not address:
        notes.append("where the entry point answers is known to the cluster's owner; have the host name point there")
    return AppAddress(url, host, path, port, tls, address, "" if simulated else curl, tuple(notes))


def _entry_outputs(state: object) -> EntryOutputs | None:
    outputs = getattr(state, "outputs", None)
    if not outputs:
        return None
    try:
        found = outputs_from_json("entry", dict(outputs))
    except (ValueError, TypeError):
        return None
    return found if isinstance(found, EntryOutputs) else None


def _balancer(clusters: Clusters, cloud: str, zone: str) -> str:
    """The address of the load balancer of a landing zone; empty without one."""
    found = clusters.provisioned.get(cloud)
    return found.addresses.get(zone, "") if found is not None else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardOptions:
    """`target` is an app or one of its components; `port` the name or number of a port of it (empty: its main one).

    `local_port` is the port on this machine (0: any free one), `seconds` how long it is forwarded at most.
    """

    target: str
    port: str = ""
    local_port: int = 0
    pod: str = ""
    seconds: float


@dataclass(frozen=True, slots=True)
class Forwarding:
    """A local port is forwarded to a port of a pod, from now on."""

    url: str
    local_port: int
    target: str
    pod: str
    port: int


@dataclass(frozen=True, slots=True)
class Refused:
    """A connection was not forwarded, for this reason."""

    reason: str


def forward(session: Session, options: ForwardOptions, emit: Callable[[Forwarding | Refused], None]) -> None:
    """Forward a loopback port to a pod until the time is over or the caller interrupts.

    Connections of other users of this machine are refused: the port would give them what the cluster keeps from them.
    Raises `ConfigurationError` for an unknown app, component or port, for simulated nodes, for a local port that is
    taken and where the machine does not tell whose a connection is; `NoSuchStackError` if no pod runs;
    `AuthenticationError` without the right.
    """
    from wecityctl.listeners import peers

    target = one_component(find_target(session.city, options.target))
    number = port_of(target, options.port)
    if not peers.can_tell():
        raise ConfigurationError(
            "this machine does not tell whose a connection is, and a forwarded port would be open to all its users",
            resolution="use Linux, or the address that `wecityctl open` prints without --forward",
        )
    cluster = cluster_of(session, target.app, pods="ports")
    with _listening(options.local_port) as listener:
        run_async(_forward(session, cluster, target, number, options, listener, emit))


def port_of(target: Target, name: str) -> int:
    """The number of a component's port, by name or number. Raises `ConfigurationError` for one that it has not."""
    assert target.component is not None
    ports = target.component.ports
    if not name:
        is_routed = target.app.route is not None and target.component is target.app.web_component
        found = target.app.web_port if is_routed else target.component.port
        if found is None:
            raise ConfigurationError(f"{target.title} has no port")
        return found
    if name in ports:
        return ports[name]
    if name.isdigit() and int(name) in ports.values():
        return int(name)
    known = ", ".join(f"{key} ({number})" for key, number in ports.items())
    raise ConfigurationError(f"{target.title} has no port {name!r}", details=f"ports: {known or 'none'}")


@contextlib.contextmanager
def _listening(port: int) -> Iterator[socket.socket]:
    """A socket that listens on a loopback port. Raises `ConfigurationError` for one that is taken."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((LOOPBACK, port))
        except OSError as error:
            raise ConfigurationError(
                f"port {port} of this machine cannot be had: {error.strerror}", resolution="choose another --local-port"
            ) from error
        listener.listen(_MOST_CONNECTIONS)
        listener.setblocking(False)
        yield listener


async def _forward(
    session: Session,
    cluster: Cluster,
    target: Target,
    number: int,
    options: ForwardOptions,
    listener: socket.socket,
    emit: Callable[[Forwarding | Refused], None],
) -> None:
    async with client_of(cluster) as client:
        pod = await running_pod(client, session, target, cluster, options.pod)
        name, local = pod["metadata"]["name"], listener.getsockname()[1]
        identity = await client.username()
        with (
            noted(session, cluster, target, "forward", identity=identity, pod=name, what=(str(number),)) as entry,
            needing("create pods/portforward", target, cluster),
        ):
            # One connection tells whether it may be done and whether anything listens there.
            async with client.port_forward(target.namespace, name, number):
                pass
            is_tls = target.component is target.app.web_component and target.app.serves_tls
            url = f"{'https' if is_tls else 'http'}://{LOOPBACK}:{local}/"
            emit(Forwarding(url, local, target.title, name, number))
            relay = _Relay(client, target.namespace, name, number, emit)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(options.seconds):
                    await relay.serve(listener)
            entry.result = "0"


class _Relay:
    """Carries the connections of a listener to a port of a pod, at most `_MOST_CONNECTIONS` at once."""

    def __init__(
        self,
        client: KubeClient,
        namespace: str,
        pod: str,
        port: int,
        emit: Callable[[Forwarding | Refused], None],
    ) -> None:
        self._client, self._namespace, self._pod, self._port = client, namespace, pod, port
        self._emit = emit
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, listener: socket.socket) -> None:
        """Accept until cancelled; then all connections are closed."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                connection, _ = await loop.sock_accept(listener)
                if reason := await asyncio.to_thread(self._refusal, connection):
                    connection.close()
                    self._emit(Refused(reason))
                    continue
                task = asyncio.create_task(self._carry(connection))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _refusal(self, connection: socket.socket) -> str:
        from wecityctl.listeners.guard import is_from

        if not is_from(connection, os.getuid()):
            return "a connection of another user of this machine was refused"
        if len(self._tasks) >= _MOST_CONNECTIONS:
            return f"a connection was refused: {_MOST_CONNECTIONS} are open"
        return ""

    async def _carry(self, connection: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=connection)
        try:
            async with self._client.port_forward(self._namespace, self._pod, self._port) as remote:
                sending = asyncio.create_task(send_to_pod(reader, remote))
                receiving = asyncio.create_task(receive_from_pod(remote, writer))
                try:
                    await asyncio.wait((sending, receiving), return_when=asyncio.FIRST_COMPLETED)
                    if not receiving.done():
                        await asyncio.wait((receiving,), timeout=_LINGER_SECONDS)
                finally:
                    for task in (sending, receiving):
                        task.cancel()
                    results = await asyncio.gather(sending, receiving, return_exceptions=True)
                for result in results:
                    if isinstance(result, DeploymentError):
                        raise result
        except WecityError as error:
            self._emit(Refused(": ".join(filter(None, (error.message, error.details)))))
        except OSError:
            # The client has gone.
            pass
        finally:
            writer.close()


async def send_to_pod(reader: asyncio.StreamReader, remote: ForwardedConnection) -> None:
    """Send what a client writes, until it ends."""
    while data := await reader.read(_PIECE):
        await remote.write(data)


async def receive_from_pod(remote: ForwardedConnection, writer: asyncio.StreamWriter) -> None:
    """Write what the pod sends, until it ends."""
    async for data in remote.output():
        writer.write(data)
        await writer.drain()
