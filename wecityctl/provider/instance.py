"""One configured provider: its settings, its way to the cluster, and what it has learnt in this run.

A port has one per connection of the engine: a stack may hold several provider resources, and they share the port.
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
    """Which resource an operation is about: its URN, type token and logical name."""

    urn: str
    token: str
    name: str

    def kind(self, obj: dict[str, Any]) -> Kind:
        """The kind that an object names, or else the type token."""
        return kind_of_object(obj, kind_of_token(self.token))


@dataclass(slots=True)
class Memory:
    """What was found out or done in this run, and matters for what comes later in it."""

    missing_namespaces: set[str] = field(default_factory=set)
    missing_kinds: set[tuple[str, str]] = field(default_factory=set)
    unreachable: str = ""
    # Resources whose old object goes before the new one comes: their preview must not look at the old one.
    replacing: set[str] = field(default_factory=set)
    # Resources of the stack that could not be made or changed in this run: what depends on them will not come.
    failed: list[str] = field(default_factory=list)
    # The dry run that a diff made, by URN: (what was sent, what came back). The preview asks the same again.
    dry_runs: dict[str, tuple[dict[str, Any], dict[str, Any]]] = field(default_factory=dict)
    # The objects (by uid) that this run has made: no older state of their resource is about them.
    made: set[str] = field(default_factory=set)
    # The namespaces that this run has made: what is in one came after it.
    made_namespaces: set[str] = field(default_factory=set)


class Instance:
    """A provider after Configure. `failure` is why its cluster cannot be used at all, if so."""

    def __init__(
        self,
        settings: Settings,
        log: EngineLog,
        cancellation: Cancellation,
        connection: Connection | None,
        failure: WecityError | None,
    ) -> None:
        self.settings = settings
        self.log = log
        self.cancellation = cancellation
        self.memory = Memory()
        self._connection = connection
        self._failure = failure

    @property
    def connection(self) -> Connection:
        """The way to the cluster; raises why there is none."""
        if self._connection is None:
            raise self._failure or WecityError("the provider is not configured")
        return self._connection

    @property
    def client(self) -> KubeClient:
        """The cluster's client; raises why there is none."""
        return self.connection.client

    @contextmanager
    def noting_failure(self, target: Target) -> Iterator[None]:
        """Remember a resource that could not be made or changed."""
        try:
            yield
        except WecityError:
            self.memory.failed.append(target.name)
            raise

    @property
    def default_namespace(self) -> str:
        """Where objects go that name no namespace."""
        return self._connection.access.namespace if self._connection is not None else self.settings.namespace

    async def namespaced(self, kind: Kind) -> bool:
        """Whether a kind's objects live in namespaces, as far as can be known."""
        if self._connection is None:
            return kind.known_scope is not False
        return await self._connection.namespaced(kind)

    async def schema(self, obj: dict[str, Any]) -> Schema:
        """The structure of an object's kind; an empty one, with which everything is compared exactly, if need be."""
        if self._connection is None:
            return Schema()
        return await self.client.schema(str(obj.get("apiVersion")), str(obj.get("kind")))

    async def manager(self, target: Target, inputs: dict[str, Any], state: dict[str, Any] | None) -> str:
        """The field manager of a resource."""
        return choose(inputs, state, "") or (await self.derived_managers(target))[0]

    async def derived_managers(self, target: Target) -> tuple[str, str]:
        """The field managers that follow from a resource's URN and the cluster."""
        return derive(target.urn, await self.connection.identity(self.settings.cluster_identifier))

    def apply(self, target: Target, manager: str, *, force: bool, timeout: float) -> Apply:
        """How this provider applies objects of a resource."""
        return Apply(
            client=self.client,
            manager=manager,
            force=force or self.settings.patch_force,
            warn=lambda text: self.warn(target.urn, text),
            report=lambda text: self.log.status(target.urn, text),
            timeout=timeout,
        )

    def warn(self, urn: str, text: str) -> None:
        """A warning of the API server: mostly deprecated versions."""
        if not self.settings.suppress_deprecation_warnings:
            self.log.warning(urn, text)
