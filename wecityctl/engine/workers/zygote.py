"""The process from which workers are forked: it loads the SDKs once, before any thread or gRPC channel exists.

Run as `python -m wecityctl.engine.workers.zygote DESCRIPTOR MODULE…`; `package.*` loads a whole package. When the other
end of its socket is closed, it ends together with all workers and their children, even if the owner was killed. The
ports that these processes open are protected from other users; its first message says why they are not, or is empty.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import pkgutil
import select
import signal
import socket
import sys
from types import FrameType

from wecityctl.deathsignal import die_with_parent
from wecityctl.listeners.guard import divide

MAX_REQUEST = 1 << 12
# What every zygote loads, before the modules that it is given.
ALWAYS = ("grpc", "pulumi", "wecityctl.engine.workers.worker", "wecityctl.engine.state_service.service")


def main(arguments: list[str]) -> None:
    """Load the modules, then fork a process for each request until the owner has ended."""
    # Keep a terminal's Ctrl-C from this process and its port guard.
    os.setsid()
    unguarded = divide()
    control = socket.socket(fileno=int(arguments[0]))
    control.sendall(f"{unguarded}\n".encode())
    for name in (*ALWAYS, *arguments[1:]):
        # A module that fails to load is reported by the worker that needs it, with its traceback.
        with contextlib.suppress(Exception):
            _load(name)
    gc.collect()
    gc.freeze()
    _serve(control)


def _load(name: str) -> None:
    """Import a module or, if the name ends with `.*`, a package with all its modules."""
    module = importlib.import_module(name.removesuffix(".*"))
    if name.endswith(".*"):
        for found in pkgutil.walk_packages(module.__path__, f"{module.__name__}."):
            with contextlib.suppress(Exception):
                importlib.import_module(found.name)


def _serve(control: socket.socket) -> None:
    children: set[int] = set()
    wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake_write)
    signal.signal(signal.SIGCHLD, _ignore)
    signal.signal(signal.SIGTERM, lambda *_: _end(children))
    while True:
        ready, _, _ = select.select([control.fileno(), wake_read], [], [])
        if wake_read in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(wake_read, 512)
            _reap(children)
        if control.fileno() in ready:
            request, descriptors, _, _ = socket.recv_fds(control, MAX_REQUEST, 1)
            if not request:
                _end(children)
            module = request.decode()
            children.add(_fork(module, descriptors[0], control, (wake_read, wake_write)))


def _ignore(number: int, frame: FrameType | None) -> None:
    """Do nothing: SIGCHLD only has to wake the loop."""


def _fork(module: str, descriptor: int, control: socket.socket, pipe: tuple[int, int]) -> int:
    parent = os.getpid()
    child = os.fork()
    if child:
        os.close(descriptor)
        return child
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        # In a session of its own, the worker gets no Ctrl-C, and killing its group ends all processes that it started.
        os.setsid()
        die_with_parent(parent)
        control.close()
        for end in pipe:
            os.close(end)
        importlib.import_module(module).main(descriptor)
        code = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _reap(children: set[int]) -> None:
    for child in tuple(children):
        with contextlib.suppress(ChildProcessError):
            # Checked before the child is reaped: its group may still contain plug-ins that outlived their engine.
            if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                continue
            _kill_group(child)
            os.waitpid(child, 0)
        children.discard(child)


def _end(children: set[int]) -> None:
    for child in children:
        _kill_group(child)
    os._exit(0)


def _kill_group(leader: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1:])
