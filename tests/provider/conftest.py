"""A provider server, and engines on ports of it; a namespace of its own for each test."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from tests.provider.protocol import Engine
from tests.support.control_plane import ControlPlane
from wecityctl.provider.server import ProviderServer

_COUNTER = itertools.count(1)
EngineFactory = Callable[..., Awaitable[Engine]]
MUTABLE = {"enableConfigMapMutable": "true", "enableSecretMutable": "true"}


@pytest.fixture
async def server() -> AsyncIterator[ProviderServer]:
    async with ProviderServer() as running:
        yield running


@pytest.fixture
async def engines(server: ProviderServer, cluster: ControlPlane) -> AsyncIterator[EngineFactory]:
    """Makes engines, each with a port and a configured provider of its own."""
    async with AsyncExitStack() as stack:

        async def make(stack_name: str = "dev", **settings: str) -> Engine:
            engine = await stack.enter_async_context(Engine(await server.open(stack_name), stack_name))
            await engine.configure(cluster.kubeconfig_text, **{**MUTABLE, **settings})
            return engine

        yield make


@pytest.fixture
async def engine(engines: EngineFactory) -> Engine:
    return await engines()


@pytest.fixture
def namespace(cluster: ControlPlane) -> str:
    name = f"provider-{next(_COUNTER)}"
    cluster.kubectl("create", "namespace", name)
    return name
