"""Runs the state server until it is stopped: opens its parts, handles signals, and shuts down in order."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from aiohttp import web

from wecityctl.engine.serve.leases import Leases
from wecityctl.engine.serve.listening import IDLE_SECONDS, Listener, parse_address
from wecityctl.engine.serve.log import ServerLog
from wecityctl.engine.serve.server import StateServer
from wecityctl.engine.serve.stacks import Stacks
from wecityctl.engine.serve.tokens import TokenFile
from wecityctl.errors import DeploymentError, WecityError

_THREADS: Final = 32
_SHUTDOWN_SECONDS: Final = 5.0
_LOST_LOOK_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Options:
    """The server's settings: the URL of the states, `HOST:PORT`, the PEM files of certificate and key, the token file,
    and the number of updates kept per stack.
    """

    backend: str
    listen: str
    cert: Path
    key: Path
    tokens: Path
    keep: int


def serve(options: Options, log: IO[bytes], ready: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT. After SIGTERM, the next server continues the running updates; SIGINT ends them.

    `ready` is called with the URL once clients are accepted. `log` must be unbuffered. SIGHUP reloads the certificate.
    Raises `ConfigurationError` for unusable options before clients are accepted, and `DeploymentError` for updates that
    could not be ended.
    """
    written = ServerLog(log)
    try:
        asyncio.run(_serve(options, written, ready))
    finally:
        written.close()


async def _serve(options: Options, log: ServerLog, ready: Callable[[str], None]) -> None:
    # aiohttp logs the headers of malformed requests, which may include tokens.
    logging.getLogger("aiohttp").addHandler(logging.NullHandler())
    logging.getLogger("aiohttp").propagate = False
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(_THREADS))
    address, tokens = parse_address(options.listen), TokenFile(options.tokens)
    stacks = Stacks(options.backend, options.keep)
    with stacks.alone():
        listener = Listener(address, options.cert, options.key, log)
        server = StateServer(stacks, tokens, log)
        await asyncio.to_thread(server.adopt)
        await asyncio.to_thread(_go_on, stacks, log, server.leases)
        runner = web.AppRunner(
            server.application(listener.note_request),
            access_log=None,
            handle_signals=False,
            shutdown_timeout=_SHUTDOWN_SECONDS,
            keepalive_timeout=IDLE_SECONDS,
        )
        await runner.setup()
        assert runner.server is not None
        stop = asyncio.Event()
        ends = asyncio.Event()

        def interrupt() -> None:
            ends.set()
            stop.set()

        loop.add_signal_handler(signal.SIGTERM, stop.set)
        loop.add_signal_handler(signal.SIGINT, interrupt)
        renewals: set[asyncio.Task[None]] = set()
        loop.add_signal_handler(signal.SIGHUP, lambda: renewals.add(loop.create_task(listener.renew(force=True))))
        watching = [loop.create_task(listener.watch()), loop.create_task(_end_lost(server.leases))]
        await listener.open(runner.server)
        log.write("started", url=listener.url, backend=stacks.url)
        if not await asyncio.to_thread(stacks.swaps_safely):
            log.write(
                "warning", reason="the place takes no condition for a write (If-Match): keep other writers away from it"
            )
        ready(listener.url)
        await stop.wait()
        for task in watching:
            task.cancel()
        listener.close()
        failed = await server.close(end=ends.is_set())
        await runner.cleanup()
        log.write("stopped", failed=failed or None)
    if failed:
        raise DeploymentError(
            "some updates could not be brought to their end", details="\n".join(failed), resolution="start it again"
        )


async def _end_lost(leases: Leases) -> None:
    while True:
        await asyncio.sleep(_LOST_LOOK_SECONDS)
        await leases.end_lost()


def _go_on(stacks: Stacks, log: ServerLog, leases: Leases) -> None:
    """Replay journals that a killed server or run has left, and remove their locks.

    Stacks locked by somebody else are left as they are; whoever wants such a stack gets an error.
    """
    for stack in stacks.left_behind():
        if leases.changing(stack) is not None:
            continue
        try:
            stacks.release(stack)
        except WecityError as error:
            log.write("left-behind", stack=stack, result="stays", reason=f"{error.message}: {error.details}")
        except Exception as error:
            # A damaged stack must not keep the others from being served.
            log.write("left-behind", stack=stack, result="stays", reason=type(error).__name__)
        else:
            log.write("left-behind", stack=stack, result="replayed")
