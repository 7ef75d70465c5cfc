"""A server that says `ok` to everybody who speaks. Takes how it accepts and where; prints its port and what it hears.

`blocking` waits in accept, `polling` asks first as most servers do, `forked` is a child's child.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import threading


def serve(server: socket.socket, is_polling: bool) -> None:
    server.setblocking(not is_polling)
    while True:
        if is_polling:
            select.select([server], [], [])
        try:
            connection, address = server.accept()
        except BlockingIOError:
            continue
        threading.Thread(target=answer, args=(connection, address), daemon=True).start()


def answer(connection: socket.socket, address: object) -> None:
    assert connection.getpeername() == address, (connection.getpeername(), address)
    connection.setblocking(True)
    with connection:
        if heard := connection.recv(100):
            print(heard.decode(), flush=True)
            connection.sendall(b"ok")


def main(how: str, host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    server = socket.create_server((host, 0), family=family, backlog=256, dualstack_ipv6=host == "::")
    print(server.getsockname()[1], flush=True)
    if how == "forked":
        if os.fork():
            os.wait()
            return
        os.setsid()
    serve(server, how == "polling")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
