"""The way of a request from a browser to an app at whose route people sign in: the gateway, the sign-in service and
Keycloak as the stacks configure them, each the programs of its image. Only addresses and ports are the test's."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal

from stacks.entry.sign_in import SignIn, clients_of, sign_in
from stacks.pem import certificates_of, key_of
from stacks.platforms import tls
from stacks.platforms.application.gateway.program import APPS_AUTHORITY, CONFIGURATION, NGINX_CONF, ROUTES, RUN, TLS
from stacks.platforms.application.gateway.routes import render_routes
from stacks.platforms.application.sign_in import program as service
from stacks.platforms.application.sign_in.configuration import PORT, render_without_clients
from tests.attack.identity.browser import Browser
from tests.attack.identity.keycloak import Keycloak
from tests.attack.served import ADMIN, wait_until
from tests.images.rootfs import RootFilesystem, free_port
from tests.stacks.cities import inputs_for
from wecityctl.engine.secrets.certificates import renewed
from wecityctl.model.entries import AUTHORITY_KEY
from wecityctl.model.outputs import RouteTarget
from wecityctl.model.service_tls import SERVICE_AUTHORITY_KEY, certificate_key

DOMAIN = "xc.example"
ROOT = "generated-value-of-the-secret-store"
ENTRY_CERTIFICATE = "entry/gateway/tls"
# Tenant, app, host, path, and whether people sign in.
Asks = Literal["required", "optional", ""]
APPS: tuple[tuple[str, str, str, str, Asks], ...] = (
    ("health", "code", "code", "/", "required"),
    ("health", "forms", "code", "/forms", "required"),
    ("health", "maps", "maps", "/", "optional"),
    ("transport", "bus", "bus", "/", "required"),
    ("health", "open", "open", "/", ""),
)


class Echo(BaseHTTPRequestHandler):
    """An app that answers with what it was sent."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers: dict[str, str] = {}
        for key, value in self.headers.items():
            headers[key.lower()] = "\n".join(filter(None, (headers.get(key.lower()), value)))
        told = {"headers": headers, "path": self.path, "method": self.command, "body": body.decode()}
        text = json.dumps(told).encode()
        self.send_response(401 if self.path == "/says-401" else 200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@dataclass
class Chain:
    """The running chain. `routes` are those that it serves, `port` is the gateway's and so the public one."""

    keycloak: Keycloak
    gateway: RootFilesystem
    service: RootFilesystem
    app: int
    values: dict[str, str]
    port: int = field(default_factory=free_port)
    service_port: int = field(default_factory=free_port)
    metrics: int = field(default_factory=free_port)
    routes: tuple[RouteTarget, ...] = ()

    @property
    def public(self) -> str:
        return f":{self.port}"

    def url(self, host: str, path: str = "/") -> str:
        return f"https://{host}.{DOMAIN}{self.public}{path}"

    def browser(self) -> Browser:
        return Browser(self.port, self.values[AUTHORITY_KEY])

    def own(self) -> SignIn:
        """The city's sign-in, at the ports of the test."""
        plan = self.keycloak.served.city.plan
        found = sign_in(inputs_for(plan, "xc.entry", {}))
        assert found is not None
        here = {"host": "127.0.0.1", "port": self.service_port}
        people = {"people_host": "127.0.0.1", "people_port": self.keycloak.served.port}
        return replace(found, service=replace(found.service, **here, **people))

    def configure(self, routes: tuple[RouteTarget, ...]) -> None:
        """Put the configuration of these routes where the kubelet would, and make their clients."""
        self.routes = routes
        own = self.own()
        clients = clients_of(routes, self.public, ROOT)
        text = own.interface.render(clients, own.realm(self.public)).replace(str(PORT), str(self.service_port))
        digest = f"digest-{len(routes)}"
        place = self.service.root / service.CLIENTS.lstrip("/")
        (place / "digest").write_text(digest)
        (place / "clients.new").write_text(text)
        (place / "clients.new").replace(place / "clients.conf")
        rendered = render_routes(DOMAIN, "xc", routes, tls=True, sign_in=own.service)
        (self.gateway.root / ROUTES.lstrip("/") / "routes.conf").write_text(self.here(rendered))
        server = self.keycloak.served
        env = {"HOST": "127.0.0.1", "PORT": str(server.port), "ADMIN_PASSWORD": ADMIN, "AUTHORITY": tls.AUTHORITY}
        env |= {**own.environment(clients, self.public, ["health", "transport"]), "DIGEST": digest}
        done = server.image.run("/bin/sh", "-c", own.interface.script, **env)
        assert done.returncode == 0, done.stdout + done.stderr

    def here(self, text: str) -> str:
        text = text.replace("/dev/stdout", "/tmp/access.log")
        return text.replace("listen 8080", f"listen {self.port}").replace("listen 8081", f"listen {self.metrics}")


def _route(port: int, tenant: str, name: str, host: str, path: str, asks: Asks) -> RouteTarget:
    own = (tenant, name, f"{host}.{DOMAIN}", path, f"{tenant}-internet", name, 80)
    return RouteTarget(*own, external_host="127.0.0.1", external_port=port, sign_in=asks)


def _files(root: Path, directory: str, files: Mapping[str, str]) -> None:
    place = root / directory.lstrip("/")
    place.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        path = place / name
        path.write_text(text)
        path.chmod(0o444)


@contextmanager
def chain(keycloak: Keycloak, unpacked: Callable[[str], RootFilesystem]) -> Iterator[Chain]:
    """The chain in front of `keycloak`, with the routes of `APPS`."""
    plan, known = keycloak.served.city.plan, keycloak.served.values
    kept = {key: value for key, value in known.items() if key != certificate_key("sign-in")}
    values = {**kept, **renewed(plan, kept, datetime.now(UTC), {"sign-in": "127.0.0.1", "identity": "127.0.0.1"})}
    app = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=app.serve_forever, daemon=True).start()
    made = Chain(keycloak, unpacked("gateway"), unpacked("sign-in"), app.server_port, values)
    routes = tuple(_route(made.app, *item) for item in APPS)
    entry, own, authority = values[ENTRY_CERTIFICATE], values[certificate_key("sign-in")], values[SERVICE_AUTHORITY_KEY]
    gateway, root = made.gateway.root, made.service.root
    (gateway / "etc/resolv.conf").write_text("nameserver 127.0.0.1\n")
    nginx = made.here(NGINX_CONF).replace("worker_processes 2", "worker_processes 1")
    _files(gateway, CONFIGURATION, {"nginx.conf": nginx, "run.sh": RUN})
    _files(gateway, TLS, {"tls.crt": certificates_of(entry), "tls.key": key_of(entry), "digest": "1"})
    _files(gateway, ROUTES, {"certificate": "1", "digest": "1", APPS_AUTHORITY: authority})
    own_files = {"apache.conf": service.APACHE_CONF, "none.conf": render_without_clients(), "run.sh": service.RUN}
    here = {name: text.replace(str(PORT), str(made.service_port)) for name, text in own_files.items()}
    _files(root, service.CONFIGURATION, here)
    _files(root, tls.DIRECTORY, {"tls.crt": certificates_of(own), "tls.key": key_of(own), "ca.crt": authority})
    _files(root, "/bindings/users", {"ca.crt": authority})
    _files(root, service.CLIENTS, {})
    os.chown(root / service.CLIENTS.lstrip("/"), service.USER, service.USER)
    try:
        with made.service.running("/bin/bash", f"{service.CONFIGURATION}/run.sh"):
            made.configure(routes)
            with made.gateway.running("/bin/sh", f"{CONFIGURATION}/run.sh"):
                wait_until(lambda: _answers(made))
                yield made
    finally:
        app.shutdown()


def _answers(made: Chain) -> bool:
    try:
        return made.browser().ask(made.url("open")).status == 200
    except OSError:
        return False
