"""One configured provider: its settings, its connection to the cluster, and what it remembers during a run.

A port has one instance per connection of the engine: a stack may have several provider resources, which share the port.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from wecityctl.errors import WecityError
from wecityctl.kube.client import KubeClient
from wecityctl.kube.openapi import Schema
from wecityctl.provider.apply import Apply
from wecityctl.provider.cancellation import Cancellation
from wecityctl.provider.connection import Connection
from wecityctl.provider.fieldmanager import choose, derive
from wecityctl.provider.kinds import Kind, kind_of_object, kind_of_token
from wecityctl.provider.log import EngineLog
from wecityctl.provider.settings import Settings


@dataclass(frozen=True, slots=True)
class Target:
    """The resource that an operation is about: its URN, type token and logical name."""

    urn: str
    token: str
    name: str

    def kind(self, obj: dict[str, Any]) -> Kind:
        """The kind that an object names, otherwise that of the type token."""
        return kind_of_object(obj, kind_of_token(self.token))


@dataclass(slots=True)
class Memory:
    """What a run has found out or done that later operations of the same run need."""

    missing_namespaces: set[str] = field(default_factory=set)
    missing_kinds: set[tuple[str, str]] = field(default_factory=set)
    unreachable: str = ""
    # Resources whose old object is deleted before the new one is created: their preview must not read the old one.
    replacing: set[str] = field(default_factory=set)
    # Resources of the stack that could not be created or changed in this run. Their dependents will not be created.
    failed: list[str] = field(default_factory=list)
    # The dry run that a diff made, by URN: (request, response). The preview needs the same one again.
    dry_runs: dict[str, tuple[dict[str, Any], dict[str, Any]]] = field(default_factory=dict)
    # The uids of objects that this run has created: an older state of their resource is not about them.
    made: set[str] = field(default_factory=set)
    # The namespaces that this run has created: every object in one is newer than the run's start. All stacks of the run
    # share it, since tenants put objects into the namespaces of platforms.
    made_namespaces: set[str] = field(default_factory=set)


class Instance:
    """A provider after Configure. `failure` is the reason why its cluster cannot be used at all, if so."""

    def __init__(
        self,
        settings: Settings,
        log: EngineLog,
        cancellation: Cancellation,
        connection: Connection | None,
        failure: WecityError | None,
        made_namespaces: set[str] | None = None,
    ) -> None:
        self.settings = settings
        self.log = log
        self.cancellation = cancellation
        self.memory = Memory(made_namespaces=set() if made_namespaces is None else made_namespaces)
        self._connection = connection
        self._failure = failure

    @property
    def connection(self) -> Connection:
        """The connection to the cluster. Raises the reason if there is none."""
        if self._connection is None:
            raise self._failure or WecityError("the provider is not configured")
        return self._connection

    @property
    def client(self) -> KubeClient:
        """The cluster's client. Raises the reason if there is none."""
        return self.connection.client

    @contextmanager
    def noting_failure(self, target: Target) -> Iterator[None]:
        """Remember the resource if it cannot be created or changed."""
        try:
            yield
        except WecityError:
            self.memory.failed.append(target.name)
            raise

    @property
    def default_namespace(self) -> str:
        """The namespace of objects that name none."""
        return self._connection.access.namespace if self._connection is not None else self.settings.namespace

    async def namespaced(self, kind: Kind) -> bool:
        """Whether a kind's objects are namespaced, as far as it is known."""
        if self._connection is None:
            return kind.known_scope is not False
        return await self._connection.namespaced(kind)

    async def schema(self, obj: dict[str, Any]) -> Schema:
        """The schema of an object's kind. If it is not available: an empty one, which compares exactly."""
        if self._connection is None:
            return Schema()
        return await self.client.schema(str(obj.get("apiVersion")), str(obj.get("kind")))

    async def manager(self, target: Target, inputs: dict[str, Any], state: dict[str, Any] | None) -> str:
        """The field manager of a resource."""
        return choose(inputs, state, "") or (await self.derived_managers(target))[0]

    async def derived_managers(self, target: Target) -> tuple[str, str]:
        """The field managers that are derived from a resource's URN and the cluster."""
        return derive(target.urn, await self.connection.identity(self.settings.cluster_identifier))

    def apply(self, target: Target, manager: str, *, force: bool, timeout: float) -> Apply:
        """The `Apply` for a resource's objects; `timeout` in seconds."""
        return Apply(
            client=self.client,
            manager=manager,
            force=force or self.settings.patch_force,
            warn=lambda text: self.warn(target.urn, text),
            report=lambda text: self.log.status(target.urn, text),
            timeout=timeout,
        )

    def warn(self, urn: str, text: str) -> None:
        """Report a warning of the API server, mostly about deprecated versions."""
        if not self.settings.suppress_deprecation_warnings:
            self.log.warning(urn, text)
