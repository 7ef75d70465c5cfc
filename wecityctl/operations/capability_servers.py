"""Asks a capability's server as its administrator, through the API server's port forward: reading only.

Where the server is follows from the files. Its administrator's password and the certificates by which it is known are
read from the Secrets beside it, so whoever may not read these cannot ask.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import http.client
import json
import socket
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from wecityctl.errors import AuthenticationError, DeploymentError, NoSuchStackError
from wecityctl.model import naming
from wecityctl.model.service_tls import service_names, speaks_tls
from wecityctl.operations.open import receive_from_pod, send_to_pod

if TYPE_CHECKING:
    from wecityctl.kube.client import KubeClient
    from wecityctl.model.catalogue import Catalogue
    from wecityctl.model.city import Capability, City
    from wecityctl.placement import Placement
    from wecityctl.session import Session

# Seconds for one answer.
_PATIENCE = 45.0
# Bytes of one answer.
_LONGEST = 64 * 2**20
_ADMIN = "admin"
# The capability type whose stores dashboards and usage are read from.
METRICS = "metrics"
# Of a query, in pairs; a name may come again.
Parameters = Sequence[tuple[str, str]]


class RefusedRequestError(DeploymentError):
    """The server has answered, and not with success. It can be asked something else."""


@dataclass(frozen=True, slots=True)
class CapabilityServer:
    """An instance of a capability, as the files have it, that has an HTTP server."""

    name: str
    namespace: str
    selector: str
    port: int
    hosts: tuple[str, ...]
    is_tls: bool


def servers_on(
    city: City, catalogue: Catalogue, placement: Placement, cloud: str, kind: str
) -> tuple[CapabilityServer, ...]:
    """The instances of the type `kind` that are placed on `cloud`."""
    return tuple(
        _server(item, catalogue)
        for item in city.capabilities
        if item.type == kind and placement.capabilities.get(item.name) == cloud
    )


def metric_stores(session: Session, cloud: str) -> tuple[CapabilityServer, ...]:
    """The stores of metrics that are placed on `cloud`."""
    return servers_on(session.city, session.catalogue, session.plan.placement, cloud, METRICS)


def _server(capability: Capability, catalogue: Catalogue) -> CapabilityServer:
    labels = {
        naming.NAME_LABEL: capability.name,
        naming.COMPONENT_LABEL: capability.type,
        naming.PART_OF_LABEL: capability.platform,
    }
    return CapabilityServer(
        capability.name,
        naming.platform_namespace(capability.platform, capability.zone),
        ",".join(f"{name}={value}" for name, value in labels.items()),
        catalogue[capability.type].port,
        service_names(capability),
        speaks_tls(capability, catalogue),
    )


class Conversation:
    """A connection to a server, for one question after the other."""

    def __init__(self, connection: http.client.HTTPConnection, password: str, name: str) -> None:
        self._connection, self._name = connection, name
        self._authorization = "Basic " + base64.b64encode(f"{_ADMIN}:{password}".encode()).decode()

    async def ask(self, path: str, parameters: Mapping[str, str] | Parameters = ()) -> str:
        """What the server answers to GET.

        Raises `RefusedRequestError` for anything but success, and `DeploymentError` for no answer.
        """
        return await asyncio.to_thread(self._ask, f"{path}?{urlencode(parameters)}" if parameters else path)

    async def status(self, path: str, parameters: Mapping[str, str] | Parameters = ()) -> Mapping[str, Any]:
        """The same as an object of JSON."""
        text = await self.ask(path, parameters)
        try:
            found = json.loads(text)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise DeploymentError(f"{self._name} answers what is no object in JSON", details=text[:300])
        return found

    def _ask(self, path: str) -> str:
        try:
            self._connection.request("GET", path, headers={"Authorization": self._authorization})
            response = self._connection.getresponse()
            content = response.read(_LONGEST + 1)
        except (OSError, http.client.HTTPException) as error:
            raise DeploymentError(
                f"{self._name} does not answer", details=str(error) or type(error).__name__
            ) from error
        if len(content) > _LONGEST:
            raise DeploymentError(f"{self._name} answers with more than {_LONGEST // 2**20} MiB")
        text = content.decode(errors="replace")
        if response.status != http.client.OK:
            raise RefusedRequestError(f"{self._name} answers with {response.status}", details=text.strip()[:300])
        return text


@asynccontextmanager
async def conversation(client: KubeClient, server: CapabilityServer) -> AsyncIterator[Conversation]:
    """Connect to a server that runs, as its administrator. Raises what `connected` raises."""
    async with connected(client, server) as (connection, password):
        yield Conversation(connection, password, server.name)


@asynccontextmanager
async def connected(
    client: KubeClient, server: CapabilityServer
) -> AsyncIterator[tuple[http.client.HTTPConnection, str]]:
    """Connect to a server that runs; yields the connection and the password of its administrator.

    Raises `AuthenticationError` without the rights, `NoSuchStackError` if it is not up or not ready, and
    `DeploymentError` if nothing listens.
    """
    from wecityctl.kube.errors import Forbidden, NotFound

    try:
        pod = await _ready_pod(client, server)
        secret = await client.get(await client.resource("v1", "Secret"), f"{server.name}-admin", server.namespace)
        authority = b""
        if server.is_tls:
            tls = await client.get(await client.resource("v1", "Secret"), f"{server.name}-tls", server.namespace)
            authority = base64.b64decode((tls.get("data") or {}).get("ca.crt", ""))
        password = base64.b64decode((secret.get("data") or {}).get("password", "")).decode()
        async with client.port_forward(server.namespace, pod, server.port) as remote:
            ours, theirs = socket.socketpair()
            ours.settimeout(_PATIENCE)
            reader, writer = await asyncio.open_connection(sock=theirs)
            tasks = [
                asyncio.create_task(send_to_pod(reader, remote)),
                asyncio.create_task(_received(receive_from_pod(remote, writer), writer)),
            ]
            try:
                connection = await asyncio.to_thread(_connected, server, ours, authority)
                yield connection, password
            finally:
                ours.close()
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                writer.close()
    except Forbidden as error:
        raise AuthenticationError(
            f"these credentials may not read what capability {server.name} needs of its administrator",
            details=error.message,
            resolution="use the credentials of the city's operator",
        ) from error
    except NotFound as error:
        raise NoSuchStackError(f"capability {server.name} is not up", details=error.message) from error


async def _ready_pod(client: KubeClient, server: CapabilityServer) -> str:
    from wecityctl.kube.readiness.pods import problems

    pods = await client.list(await client.resource("v1", "Pod"), server.namespace, label_selector=server.selector)
    for pod in pods:
        conditions = (pod.get("status") or {}).get("conditions") or ()
        if any(item.get("type") == "Ready" and item.get("status") == "True" for item in conditions):
            return str(pod["metadata"]["name"])
    why = ": ".join((f"in {server.namespace}", *problems(pods, limit=1)))
    raise NoSuchStackError(f"capability {server.name} has no pod that is ready", details=why)


async def _received(receiving: Any, writer: asyncio.StreamWriter) -> None:
    """Carry what the pod sends; the other side sees the end of it, whatever has ended it."""
    try:
        await receiving
    finally:
        with contextlib.suppress(OSError, RuntimeError):
            writer.close()


class _Connection(http.client.HTTPConnection):
    """A connection over a socket that is connected already."""

    def __init__(self, host: str, connected: socket.socket) -> None:
        super().__init__(host)
        self.sock = connected

    def connect(self) -> None:
        raise ConnectionError("the connection has ended")


def _connected(server: CapabilityServer, ours: socket.socket, authority: bytes) -> http.client.HTTPConnection:
    host = server.hosts[0]
    if not server.is_tls:
        return _Connection(host, ours)
    context = ssl.create_default_context(cadata=authority.decode())
    try:
        return _Connection(host, context.wrap_socket(ours, server_hostname=host))
    except OSError as error:
        raise DeploymentError(f"no encrypted connection to {server.name}", details=str(error)) from error
