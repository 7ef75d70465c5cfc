"""Connections to API servers: a client and the cluster's identity, shared by all providers with the same access.

Requests and discovery are in `wecityctl.kube`.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from wecityctl.errors import WecityError
from wecityctl.kube import config as kubeconfig
from wecityctl.kube.client import KubeClient
from wecityctl.kube.config import Access, load_access
from wecityctl.kube.errors import ApiError, KindNotFound, KindUnavailable, Unreachable
from wecityctl.kube.kubeconfig import Entry, Kubeconfig, parse, read, read_all
from wecityctl.kube.transport import HttpPool
from wecityctl.provider.kinds import Kind
from wecityctl.provider.settings import Settings

USER_AGENT: Final = "wecityctl-provider"


class Connection:
    """A client and what is known about its cluster."""

    def __init__(self, access: Access, pool: HttpPool) -> None:
        self.access = access
        self.client = KubeClient(access, pool, user_agent=USER_AGENT)
        self._identity = ""
        self._lock = asyncio.Lock()

    async def identity(self, fallback: str) -> str:
        """The UID of the namespace kube-system. If that cannot be read: `fallback`, or the server's address."""
        if not self._identity:
            async with self._lock:
                if not self._identity:
                    self._identity = await self._ask_identity(fallback)
        return self._identity

    async def namespaced(self, kind: Kind) -> bool:
        """Whether the kind's objects are namespaced. Most kinds are; a kind that is not served (yet) counts as such."""
        known = kind.known_scope
        if known is not None:
            return known
        try:
            return (await self.client.resource(kind.api_version, kind.name)).namespaced
        except (KindNotFound, KindUnavailable, Unreachable):
            return True

    async def _ask_identity(self, fallback: str) -> str:
        try:
            found = await self.client.request("GET", "/api/v1/namespaces/kube-system")
            return str(found["metadata"]["uid"])
        except ApiError:
            named = fallback or self.access.server
            return hashlib.sha256(named.encode()).hexdigest()


class Connections:
    """The connections of a process, one per distinct access."""

    def __init__(self, pool: HttpPool) -> None:
        self._pool = pool
        self._open: dict[Access, tuple[Connection, int]] = {}
        self._made_namespaces: dict[tuple[str, bytes | None], set[str]] = {}

    def made_namespaces(self, access: Access) -> set[str]:
        """The namespaces that the run has created on that API server, for all of its stacks."""
        return self._made_namespaces.setdefault((access.server, access.ca_data), set())

    def forget_made(self) -> None:
        """Forget them: another run begins."""
        self._made_namespaces.clear()

    def take(self, access: Access) -> Connection:
        """The connection for that access. Return it with `release`."""
        connection, users = self._open.get(access, (None, 0))
        if connection is None:
            connection = Connection(access, self._pool)
        self._open[access] = (connection, users + 1)
        return connection

    async def release(self, connection: Connection) -> None:
        """Return a connection. When the last user returns it, its client's watches end."""
        kept, users = self._open.get(connection.access, (connection, 1))
        if users > 1:
            self._open[connection.access] = (kept, users - 1)
            return
        self._open.pop(connection.access, None)
        await connection.client.aclose()


def access_for(settings: Settings, environ: Mapping[str, str]) -> Access:
    """The access that a provider's settings describe. Raises the errors of `load_access`."""
    if settings.cluster:
        access = _with_cluster(settings, environ)
    else:
        access = load_access(settings.kubeconfig or None, settings.context or None, environ=environ)
    return dataclasses.replace(access, namespace=settings.namespace) if settings.namespace else access


def unreachable(error: WecityError) -> bool:
    """Whether the error means that the whole cluster cannot be used, not that it rejected one request."""
    return not isinstance(error, ApiError | KindNotFound | KindUnavailable)


def _with_cluster(settings: Settings, environ: Mapping[str, str]) -> Access:
    # The context's user, combined with another cluster of the same kubeconfig.
    loaded = _load(settings.kubeconfig, environ)
    name = settings.context or loaded.current_context
    context = loaded.contexts.get(name)
    if context is None:
        return load_access(settings.kubeconfig or None, settings.context or None, environ=environ)
    changed = Entry({**context.body, "cluster": settings.cluster}, context.source)
    return kubeconfig._select(dataclasses.replace(loaded, contexts={**loaded.contexts, name: changed}), name, environ)


def _load(text: str, environ: Mapping[str, str]) -> Kubeconfig:
    if not text:
        found = read_all(kubeconfig._standard_paths(environ))
        return found if found is not None else Kubeconfig({}, {}, {}, "", ())
    stripped = text.strip()
    if "\n" in stripped or stripped.startswith("{"):
        return parse(text, None)
    return read(Path(stripped).expanduser())
