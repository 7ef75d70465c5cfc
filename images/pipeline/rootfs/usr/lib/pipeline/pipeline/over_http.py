"""Collects records by HTTP: `POST /records` with JSON. Says how many there were on `/metrics`."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from sample_app.log import say

from pipeline import intake
from pipeline.description import Description
from pipeline.errors import PipelineError
from pipeline.store import Store

# Of a connection that sends nothing, and of a request that waits for its turn.
IDLE_SECONDS = 10


class Server(ThreadingHTTPServer):
    """A thread for each connection."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], description: Description, store: Store) -> None:
        super().__init__(address, Handler)
        self.description, self.store = description, store
        # One body at a time is in memory; the store takes them one after the other anyway.
        self.place = threading.Lock()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up are everyday life."""


class Handler(BaseHTTPRequestHandler):
    """The requests of a connection."""

    server: Server
    server_version = "pipeline"
    sys_version = ""
    timeout = IDLE_SECONDS

    def do_GET(self) -> None:
        if self.path == "/healthz":
            self._send(HTTPStatus.OK, {"ok": True})
        elif self.path == "/readyz":
            self._try(lambda: {"counted": len(self.server.store.counts(days=1))})
        elif self.path == "/metrics":
            self._try(lambda: _metrics(self.server.store))
        else:
            self._send(HTTPStatus.NOT_FOUND, {"reason": "there are POST /records, GET /metrics"})

    def do_POST(self) -> None:
        if self.path != "/records":
            self._send(HTTPStatus.NOT_FOUND, {"reason": "records are sent to POST /records"})
            return
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit() and len(length) < 12):
            self._send(HTTPStatus.LENGTH_REQUIRED, {"reason": "the request has no Content-Length"})
        elif int(length) > intake.BYTES_MOST:
            self._send(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, {"reason": f"the request has more than {intake.BYTES_MOST} bytes"}
            )
        elif not self.server.place.acquire(timeout=IDLE_SECONDS):
            self._send(HTTPStatus.SERVICE_UNAVAILABLE, {"reason": "other requests take long; try again"})
        else:
            try:
                body = self.rfile.read(int(length))
                about, store = self.server.description, self.server.store
                self._try(lambda: intake.take(about, store, "http", intake.records_of_json(body)))
            finally:
                self.server.place.release()

    def _try(self, action: Callable[[], Any]) -> None:
        try:
            found = action()
        except intake.WholeError as error:
            self._send(HTTPStatus.BAD_REQUEST, {"reason": str(error)})
        except PipelineError as error:
            say("failed", source="http", problem=str(error)[:300])
            self._send(HTTPStatus.SERVICE_UNAVAILABLE, {"reason": "nothing was stored: the database failed; try again"})
        else:
            self._send(HTTPStatus.OK, found)

    def _send(self, status: HTTPStatus, content: Any) -> None:
        body = (content if isinstance(content, str) else json.dumps(content, ensure_ascii=False) + "\n").encode()
        self.send_response(status)
        kind = "text/plain; version=0.0.4" if isinstance(content, str) else "application/json"
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """What was taken is logged where it is stored."""


def _metrics(store: Store) -> str:
    """Records of today by source and outcome, in the Prometheus format."""
    lines = ["# TYPE pipeline_records_today gauge"]
    for (source, outcome), number in store.counts(days=1).items():
        lines.append(f'pipeline_records_today{{source="{source}",outcome="{outcome}"}} {number}')
    return "\n".join([*lines, ""])
