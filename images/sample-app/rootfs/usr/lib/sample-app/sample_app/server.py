"""Answers HTTP: the page, its content as JSON, liveness and readiness."""

from __future__ import annotations

import json
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from sample_app import cache, database, page
from sample_app.bindings import first, read_bindings
from sample_app.log import say

IDLE_SECONDS = 65
SECURITY = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True, slots=True)
class Settings:
    """What the environment says. `path` is the prefix that the entry point routes to this app."""

    name: str
    tenant: str
    title: str
    port: int
    bindings: str
    path: str
    tls: str = ""

    @classmethod
    def from_environment(cls, env: Mapping[str, str]) -> Settings:
        """Read APP_NAME, APP_TENANT, APP_TITLE, APP_PATH, PORT, SERVICE_BINDING_ROOT and TLS_DIRECTORY."""
        name = env.get("APP_NAME") or "sample-app"
        return cls(
            name=name,
            tenant=env.get("APP_TENANT") or "nobody",
            title=env.get("APP_TITLE") or name,
            port=int(env.get("PORT") or 8080),
            bindings=env.get("SERVICE_BINDING_ROOT", ""),
            path=(env.get("APP_PATH") or "/").rstrip("/"),
            tls=env.get("TLS_DIRECTORY", ""),
        )


class App:
    """What the app knows and shows, apart from HTTP."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.draining = threading.Event()
        bindings = read_bindings(settings.bindings)
        found_database = first(bindings, *database.TYPES)
        found_cache = first(bindings, *cache.TYPES)
        prefix = f"{settings.tenant}:{settings.name}:"
        self._database = database.Database(found_database) if found_database else None
        self._cache = cache.Cache(found_cache, prefix) if found_cache else None

    def state(self) -> dict[str, Any]:
        """Everything the page shows; a part that fails holds its problem instead."""
        settings = self.settings
        return {
            "app": settings.name,
            "tenant": settings.tenant,
            "title": settings.title,
            "database": _attempt(self._row) if self._database else None,
            "cache": _attempt(self._visits) if self._cache else None,
        }

    def problems(self) -> dict[str, str]:
        """What keeps the app from being ready, by part."""
        if self.draining.is_set():
            return {"app": "is shutting down"}
        checks: dict[str, Callable[[], None]] = {}
        if self._database:
            checks["database"] = self._database.ping
        if self._cache:
            checks["cache"] = self._cache.ping
        found = {name: _attempt(partial(_answered, check)) for name, check in checks.items()}
        return {name: str(result["problem"]) for name, result in found.items() if "problem" in result}

    def _row(self) -> dict[str, Any]:
        assert self._database is not None
        note = f"{self.settings.title}: {self.settings.name} / {self.settings.tenant}"
        return asdict(self._database.row(note))

    def _visits(self) -> dict[str, Any]:
        assert self._cache is not None
        return {"visits": self._cache.visit(), "prefix": self._cache.prefix}


class Server(ThreadingHTTPServer):
    """A thread per connection; `busy` counts requests under way, so that a stop can wait for them.

    With a directory for TLS it serves nothing but HTTPS. Connections are agreed on in their own threads, where one that
    says nothing holds nobody up.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], app: App) -> None:
        super().__init__(address, Handler)
        self.app = app
        self.busy = 0
        # Answers by status, without those to probes and to who reads metrics.
        self.answered: dict[int, int] = {}
        self._change = threading.Condition()
        self._tls: ssl.SSLContext | None = None
        if app.settings.tls:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(f"{app.settings.tls}/tls.crt", f"{app.settings.tls}/tls.key")

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        if self._tls is not None:
            connection = self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def began(self) -> None:
        with self._change:
            self.busy += 1

    def count(self, status: int) -> None:
        with self._change:
            self.answered[status] = self.answered.get(status, 0) + 1

    def metrics(self) -> str:
        """What is counted, in the Prometheus format."""
        with self._change:
            answered, busy = dict(self.answered), self.busy
        lines = [f'sample_app_requests_total{{code="{code}"}} {count}' for code, count in sorted(answered.items())]
        head = "# TYPE sample_app_requests_total counter"
        return "\n".join((head, *lines, "# TYPE sample_app_busy gauge", f"sample_app_busy {busy}", ""))

    def ended(self) -> None:
        with self._change:
            self.busy -= 1
            self._change.notify_all()

    def wait_until_quiet(self, seconds: float) -> bool:
        """Whether no request was under way before `seconds` went by."""
        deadline = time.monotonic() + seconds
        with self._change:
            return self._change.wait_for(lambda: self.busy == 0, max(0.0, deadline - time.monotonic()))

    def handle_error(self, request: Any, client_address: Any) -> None:
        """One line instead of a traceback: clients that hang up are everyday life."""
        say("error", problem=repr(sys.exc_info()[1]))


class Handler(BaseHTTPRequestHandler):
    """One connection's requests."""

    server: Server
    protocol_version = "HTTP/1.1"
    server_version = "sample-app"
    sys_version = ""
    timeout = IDLE_SECONDS

    def do_GET(self) -> None:
        self.server.began()
        try:
            self._answer()
        finally:
            self.server.ended()

    do_HEAD = do_GET  # noqa: N815 - http.server's name

    def _answer(self) -> None:
        app = self.server.app
        path = urlsplit(self.path).path
        prefix = app.settings.path
        if prefix and (path == prefix or path.startswith(f"{prefix}/")):
            path = path[len(prefix) :] or "/"
        if path == "/healthz":
            self._send(HTTPStatus.OK, "text/plain; charset=utf-8", "ok\n")
        elif path == "/metrics":
            self._send(HTTPStatus.OK, "text/plain; version=0.0.4; charset=utf-8", self.server.metrics())
        elif path == "/readyz":
            problems = app.problems()
            self._send_json(HTTPStatus.SERVICE_UNAVAILABLE if problems else HTTPStatus.OK, {"problems": problems})
        elif path in ("/", "/api/state"):
            state = {**app.state(), "person": _person(self.headers)}
            failed = any("problem" in (state[part] or {}) for part in ("database", "cache"))
            status = HTTPStatus.SERVICE_UNAVAILABLE if failed else HTTPStatus.OK
            if path == "/":
                self._send(status, "text/html; charset=utf-8", page.render(state))
            else:
                self._send_json(status, state)
        else:
            self._send(HTTPStatus.NOT_FOUND, "text/plain; charset=utf-8", "not found\n")

    def _send_json(self, status: HTTPStatus, document: dict[str, Any]) -> None:
        self._send(status, "application/json", json.dumps(document, ensure_ascii=False) + "\n")

    def _send(self, status: HTTPStatus, kind: str, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in SECURITY.items():
            self.send_header(name, value)
        if self.server.app.draining.is_set():
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_request(self, code: Any = "-", size: Any = "-") -> None:
        """One JSON line per request; probes are left out, or they would be all there is to read."""
        if urlsplit(self.path).path not in ("/healthz", "/readyz", "/metrics"):
            status = code.value if isinstance(code, HTTPStatus) else code
            if isinstance(status, int):
                self.server.count(status)
            say("request", method=self.command, path=self.path, status=status)

    def log_message(self, format: str, *args: Any) -> None:
        say("message", text=format % args)


def _person(headers: Mapping[str, str]) -> dict[str, Any] | None:
    """Who is signed in, as the entry point tells in headers; `None` where nobody is."""
    subject = headers.get("X-WeCity-Subject")
    if not subject:
        return None
    groups = headers.get("X-WeCity-Groups") or ""
    return {
        "user": unquote(headers.get("X-WeCity-User") or ""),
        "groups": [unquote(group) for group in groups.split(",") if group],
        "subject": unquote(subject),
    }


def _answered(check: Callable[[], None]) -> dict[str, Any]:
    check()
    return {}


def _attempt(action: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The action's result, or its problem: one part that fails does not take the page down."""
    try:
        return action()
    except Exception as error:  # drivers raise what they like, from sockets to protocol errors
        return {"problem": f"{type(error).__name__}: {error}"[:300]}
