"""The provider as a plug-in executable, so that plain `pulumi` can use it.

Prints its port and serves until its parent process ends. The engine passes its own address as an argument, along with
logging flags, which are ignored.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import re
import signal
import sys
from typing import Final

from wecityctl.listeners.guard import divide

_ENGINE: Final = re.compile(r"(127\.0\.0\.1|localhost|\[::1\]):\d+")
_PR_SET_PDEATHSIG: Final = 1
_LOOK: Final = 1.0


async def serve(engine: str, *, is_guarded: bool) -> None:
    """Serve one port until asked to stop or until the parent process ends, which the guard process reports."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    parent = os.getppid()
    if not is_guarded:
        _wake_when_parent_dies(loop)
    from wecityctl.provider.server import ProviderServer  # after the guard has forked, which needs none of it

    async with ProviderServer() as server:
        port = await server.open(engine or "plug-in")
        sys.stdout.write(f"{port}\n")
        sys.stdout.flush()
        while not stopped.is_set() and os.getppid() == parent:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK):
                    await stopped.wait()


def _wake_when_parent_dies(loop: asyncio.AbstractEventLoop) -> None:
    # The kernel sends the signal when the parent's *thread* ends, possibly long before its process does. So the signal
    # is a reason to check, not to stop.
    if sys.platform == "linux":
        loop.add_signal_handler(signal.SIGUSR1, lambda: None)
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGUSR1, 0, 0, 0)


def main() -> None:
    """Entry point."""
    # Without a guard process, the server checks for each call which process sent it.
    is_guarded = not divide()
    engine = next((a for a in reversed(sys.argv[1:]) if _ENGINE.fullmatch(a)), "")
    asyncio.run(serve(engine, is_guarded=is_guarded))


if __name__ == "__main__":
    main()
