"""Starts the app and ends it in order: no new requests, those under way are finished."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading

from sample_app.log import say
from sample_app.server import App, Server, Settings

FINISH_SECONDS = 20.0


class DualStackServer(Server):
    """Listens on IPv6 and IPv4 at once where the kernel has both."""

    address_family = socket.AF_INET6

    def server_bind(self) -> None:
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()


def main() -> int:
    """Serve until SIGTERM or SIGINT."""
    settings = Settings.from_environment(os.environ)
    app = App(settings)
    try:
        server: Server = DualStackServer(("::", settings.port), app)
    except OSError:
        server = Server(("0.0.0.0", settings.port), app)  # noqa: S104 - a pod's own address is all there is

    def stop(*_: object) -> None:
        app.draining.set()
        # shutdown() waits for the loop that this thread runs, so another thread has to call it.
        threading.Thread(target=server.shutdown, daemon=True).start()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    say("listening", port=settings.port, app=settings.name)
    server.serve_forever(poll_interval=0.1)
    server.socket.close()
    finished = server.wait_until_quiet(FINISH_SECONDS)
    say("stopped", finished=finished)
    return 0


if __name__ == "__main__":
    sys.exit(main())
