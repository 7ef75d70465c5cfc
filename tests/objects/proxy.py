"""A TCP proxy on loopback that loses, delays or replaces what a server answers."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

FAILURE = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Proxy:
    """Forwards connections to a port. The server always gets what the client sends.

    Each of the next `faulty` answers is `lose`: dropped, with its connection; `fail`: replaced by HTTP's 500; `delay`:
    forwarded after `seconds`.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._lock = threading.Lock()
        self._fault, self._left, self._seconds = "", 0, 0.0
        self.met = 0
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def next(self, fault: str, count: int = 1, seconds: float = 0.0) -> None:
        """Treat the next `count` answers so; none of them has been met yet."""
        with self._lock:
            self._fault, self._left, self._seconds, self.met = fault, count, seconds, 0

    def close(self) -> None:
        """End all connections."""
        self._server.close()
        for each in self._open:
            _end(each)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._server.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                self._open += [client, server]
                for source, goal, answers in ((client, server, False), (server, client, True)):
                    threading.Thread(target=self._forward, args=(source, goal, answers), daemon=True).start()

    def _forward(self, source: socket.socket, goal: socket.socket, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                fault = self._take() if answers else ""
                if fault == "lose":
                    break
                if fault == "fail":
                    goal.sendall(FAILURE)
                    break
                if fault == "delay":
                    time.sleep(self._seconds)
                goal.sendall(data)
        _end(source)
        _end(goal)

    def _take(self) -> str:
        with self._lock:
            if not self._left:
                return ""
            self._left -= 1
            self.met += 1
            return self._fault


def _end(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


@contextlib.contextmanager
def proxy(target: int) -> Iterator[Proxy]:
    """A proxy to a port of this machine."""
    made = Proxy(target)
    try:
        yield made
    finally:
        made.close()
