"""A program `wecityctl` for PATH whose processes are forks of one that has the command line loaded.

For shells that run many commands, also several at once, and into one another. What such a fork is, and what it is not,
is said in `tests.support.forks`.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from tests.support import forks
from tests.support.processes import ENDING_WITH_PARENT

# Says what to run, passes its streams on, and ends as what it has started has ended.
PROGRAM = """#!{python} -IS
import array, json, os, signal, socket, sys
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
    server.connect({address!r})
    order = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode(errors="surrogateescape")
    server.sendmsg([order], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", (0, 1, 2)))])
    code = int(server.recv(64) or b"70")
if code < 0:
    signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
sys.exit(code)
"""


@cache
def directory() -> Path:
    """A directory with the program. Its server ends with this process, and so does everything that it runs."""
    found = Path(tempfile.mkdtemp(prefix="wf-"))
    address, program = found / "socket", found / "wecityctl"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with listener:
        listener.bind(str(address))
        # Who calls before everything is loaded waits.
        listener.listen(16)
        alone = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        subprocess.Popen(
            [*ENDING_WITH_PARENT, sys.executable, "-m", "tests.support.fork_program", str(listener.fileno())],
            pass_fds=(listener.fileno(),),
            stdin=subprocess.DEVNULL,
            env={**os.environ, **alone},
            cwd=Path(__file__).parents[2],
        )
    program.write_text(PROGRAM.format(python=sys.executable, address=str(address)))
    program.chmod(0o755)
    return found


def serve(listener: socket.socket) -> None:
    """Fork for each call. A caller that has gone has its process ended with SIGTERM."""
    forks.load()
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is listener:
                    _begin(selector, listener)
                else:
                    _go_on(selector, key)


def _begin(selector: selectors.BaseSelector, listener: socket.socket) -> None:
    connection, _ = listener.accept()
    order, descriptors, _, _ = socket.recv_fds(connection, 1 << 20, 3)
    if len(descriptors) != 3:
        connection.close()
        return
    pid = os.fork()
    if pid == 0:
        os.setpgid(0, 0)
        connection.close()
        listener.close()
        selector.close()
        forks.become(order, descriptors)
    for each in descriptors:
        os.close(each)
    selector.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, connection))
    selector.register(connection, selectors.EVENT_READ, (pid, connection))


def _go_on(selector: selectors.BaseSelector, key: selectors.SelectorKey) -> None:
    pid, connection = key.data
    selector.unregister(key.fileobj)
    if key.fileobj is connection:
        os.kill(pid, signal.SIGTERM)
        return
    assert isinstance(key.fileobj, int)
    os.close(key.fileobj)
    _, status = os.waitpid(pid, 0)
    with contextlib.suppress(KeyError):
        selector.unregister(connection)
    with connection, contextlib.suppress(OSError):
        connection.send(str(os.waitstatus_to_exitcode(status)).encode())


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as _listener:
        serve(_listener)
