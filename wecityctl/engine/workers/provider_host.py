"""The process that serves the built-in provider to all stacks of a run, on one port per stack."""

from __future__ import annotations

import asyncio
from multiprocessing.connection import Connection
from typing import Any

from wecityctl.engine.process.ipc import ClosePort, Opened, OpenPort, adopt, incoming


def main(descriptor: int) -> None:
    """Serve until the other end of the connection is closed."""
    connection = adopt(descriptor)
    asyncio.run(_serve(connection))


async def _serve(connection: Connection) -> None:
    from wecityctl.provider.server import ProviderServer

    async with ProviderServer() as server:
        async for order in incoming(connection):
            connection.send(await _obey(server, order))


async def _obey(server: Any, order: OpenPort | ClosePort) -> Opened:
    try:
        if isinstance(order, OpenPort):
            rights = order.rights
            port = await server.open(
                order.name,
                replace_data=rights.replace_data,
                take_over=rights.take_over,
                kubeconfigs=rights.kubeconfigs,
            )
            return Opened(port)
        await server.close(order.port)
        return Opened(order.port)
    except Exception as error:
        return Opened(0, f"{type(error).__name__}: {error}")
