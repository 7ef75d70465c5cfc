"""The gateway's own scripts and configuration in its real image: what apps are told, who is refused, and what a new
certificate costs."""

from __future__ import annotations

import http.client
import json
import re
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from stacks.catalogue import load_catalogue
from stacks.pem import certificates_of, key_of
from stacks.platforms.application.gateway.claimed_headers import CLAIMED_HEADERS
from stacks.platforms.application.gateway.counting import METRICS
from stacks.platforms.application.gateway.health import PROBE
from stacks.platforms.application.gateway.program import (
    APPS_AUTHORITY,
    CONFIGURATION,
    LOAD,
    NGINX_CONF,
    RUN,
)
from stacks.platforms.application.gateway.routes import render_routes
from tests.images.rootfs import RootFilesystem, free_port, needs_root, wait_for
from tests.stacks.cities import app, city
from wecityctl.engine.secrets.certificates import renewed
from wecityctl.model.city import App, Route
from wecityctl.model.entries import AUTHORITY_KEY
from wecityctl.model.outputs import RouteTarget
from wecityctl.model.service_tls import SERVICE_AUTHORITY_KEY, app_certificate_key, app_service_names
from wecityctl.plan import make_plan

pytestmark = [pytest.mark.build, pytest.mark.by_digest, needs_root]

DOMAIN = "xc.example"
# An app that serves TLS by itself, and another one.
SECURE, OTHER = app("vault", route=Route("vault", tls=True)), app("other", route=Route("other", tls=True))
PLAN = make_plan(city(app("code"), SECURE, OTHER), load_catalogue())
KEY = "entry/gateway/tls"


# Mebibytes that an app answers with, and what of it was taken.
FLOOD = 64
FLOODED: list[int] = []
# What an app tries to say to other hosts' browsers, and to the gateway.
WIDE = (
    "Domain=xc.example",
    "domain=.xc.example; Path=/",
    "DOMAIN =xc.example",
    " Domain= xc.example",
    "Domain=a; Domain=xc.example",
)
SAYS = (
    *(("Set-Cookie", f"c{number}=1; {text}; HttpOnly") for number, text in enumerate(WIDE)),
    ("Set-Cookie", "own=1; Path=/"),
    ("X-Accel-Redirect", "/-/health"),
    ("X-Accel-Limit-Rate", "1"),
    ("X-Accel-Charset", "utf-7"),
)

# Some of each kind, written as their products do.
FORGED = (
    *("WL-Proxy-Client-IP", "Proxy-Client-IP", "X-Forwarded-Access-Token", "X-Amzn-Oidc-Identity", "X-Azure-ClientIP"),
    *("X-Goog-Authenticated-User-Email", "X-MS-CLIENT-PRINCIPAL-NAME", "X-authentik-username", "Tailscale-User-Login"),
    *("Fly-Client-IP", "Ali-Cdn-Real-Ip", "Cf-Access-Authenticated-User-Email", "X-Pomerium-Jwt-Assertion"),
)


class Echo(BaseHTTPRequestHandler):
    """An app that answers with what it was sent."""

    def do_GET(self) -> None:
        if self.path == "/flood":
            self._flood()
            return
        if self.path.startswith("/lines/broken"):
            self.send_error(503)
            return
        headers = {key.lower(): value for key, value in self.headers.items()}
        body = json.dumps({"port": self.connection.getsockname()[1], "headers": headers})
        self.send_response(200)
        self.send_header("Strict-Transport-Security", "max-age=1")
        if self.path == "/says":
            for name, value in SAYS:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body.encode())

    def _flood(self) -> None:
        self.send_response(200)
        self.end_headers()
        part = bytes(1024**2)
        self.connection.settimeout(3)
        with suppress(OSError):
            for _ in range(FLOOD):
                self.wfile.write(part)
                FLOODED.append(len(part))

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@dataclass(slots=True)
class Entry:
    """A running gateway: nginx and the loader with the directory that stands for their volumes."""

    place: Path
    port: int
    apps: tuple[int, int, int]
    authority: str = ""
    values: dict[str, str] = field(default_factory=dict)
    secure: int = field(default_factory=free_port)
    metrics: int = field(default_factory=free_port)

    def routes(self) -> tuple[RouteTarget, ...]:
        places = (("code", "/login"), ("code", "/"), ("bus", "/lines/"))
        plain = (
            RouteTarget("health", "app", f"{host}.{DOMAIN}", path, "health-internet", "app", 80, "127.0.0.1", port)
            for (host, path), port in zip(places, self.apps, strict=True)
        )
        service, namespace, *_ = app_service_names(SECURE)[0].split(".")
        host = f"vault.{DOMAIN}"
        secure = RouteTarget("health", "vault", host, "/", namespace, service, 8080, "127.0.0.1", self.secure, tls=True)
        ended = RouteTarget("health", "ended", f"code.{DOMAIN}", "/ended", "health-internet", "", 0)
        return (ended, *plain, secure) if self.values else (ended, *plain)

    def serve(self, digest: str, *, tls: bool) -> None:
        """Give it routes as the kubelet would: the certificate and the configuration one after the other."""
        routes = self.place / "gateway-routes"
        text = render_routes(DOMAIN, "xc", self.routes(), tls=tls)
        (routes / "routes.conf").write_text(self.here(text))
        (routes / APPS_AUTHORITY).write_text(self.values.get(SERVICE_AUTHORITY_KEY, ""))
        if tls:
            (routes / "certificate").write_text(digest)
        (routes / "digest").write_text(digest)

    def certify(self, digest: str) -> None:
        self.values = renewed(PLAN, {}, datetime.now(UTC))
        self.authority = self.values[AUTHORITY_KEY]
        secret = self.place / "gateway-tls"
        for name in ("tls.crt", "tls.key"):
            (secret / name).write_text(self.values[KEY])
        (secret / "digest").write_text(digest)

    def here(self, text: str) -> str:
        text = text.replace(f"listen {METRICS.number};", f"listen {self.metrics};")
        return text.replace("/etc/gateway", f"/tmp{self.place}/gateway").replace("8080", str(self.port))

    def counted(self, number: int) -> dict[str, int]:
        """How many requests went to an app, by the class of the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.metrics, timeout=10)
        connection.request("GET", METRICS.metrics_path)
        answer = connection.getresponse()
        text = answer.read().decode()
        assert (answer.status, answer.getheader("content-type")) == (200, "text/plain"), text
        owner = 'tenant="health",app="app"'
        pattern = (
            rf'^wecity_gateway_requests_total{{{owner},service="127.0.0.1:{self.apps[number]}",.*code="(.*)"}} (\d+)$'
        )
        return {code: int(count) for code, count in re.findall(pattern, text, re.MULTILINE)}

    def digest(self) -> str:
        return self.ask("check", "/-/routes", tls=False)[1].strip()

    def ask(
        self, host: str, path: str = "/", *, tls: bool = True, sni: str | None = None, **headers: str
    ) -> tuple[int, str, dict[str, str]]:
        """Status, body and headers of an answer. `sni` is the name that the connection is for; by default the host."""
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        connection.sock = plain
        if tls:
            context = ssl.create_default_context(cadata=self.authority)
            context.check_hostname = sni != ""
            connection.sock = context.wrap_socket(plain, server_hostname=(host if sni is None else sni) or None)
        try:
            connection.request("GET", path, headers={"Host": host, **headers})
            answer = connection.getresponse()
            names = {key.lower() for key in answer.headers}
            found = {name: "\n".join(answer.headers.get_all(name) or ()) for name in names}
            return answer.status, answer.read().decode(), found
        finally:
            connection.close()


@pytest.fixture(scope="module")
def entry(unpacked: Callable[[str], RootFilesystem], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Entry]:
    image = unpacked("gateway")
    place = tmp_path_factory.mktemp("gateway")
    for parent in (place, *place.parents[:3]):
        parent.chmod(parent.stat().st_mode | 0o055)
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), Echo) for _ in range(3)]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    first, second, third = (server.server_port for server in servers)
    found = Entry(place, free_port(), (first, second, third))
    # A name server that nobody asks: the routes' apps are addresses.
    (image.root / "etc" / "resolv.conf").write_text("nameserver 127.0.0.1\n")
    for name in ("gateway", "gateway-routes", "gateway-tls"):
        (place / name).mkdir()
    conf = NGINX_CONF.replace("/dev/stdout", f"/tmp{place}/access.log")
    (place / "access.log").touch()
    (place / "access.log").chmod(0o666)
    for name, text in {"nginx.conf": conf, "run.sh": RUN, "load.sh": LOAD}.items():
        (place / "gateway" / name).write_text(found.here(text))
    scripts = found.here(CONFIGURATION)
    try:
        # One /tmp for the two, as in the pod.
        both = f"/bin/bash {scripts}/load.sh & exec /bin/sh {scripts}/run.sh"
        with image.running("/bin/bash", "-c", both, shared=[place]) as process:
            wait_for("nginx", lambda: found.ask("check", "/-/health", tls=False)[0] == 200 or None, process)
            yield found
    finally:
        for server in servers:
            server.shutdown()


def wait_until(holds: Callable[[], bool], seconds: float = 30) -> None:
    done = threading.Event()
    for _ in range(int(seconds / 0.1)):
        if holds():
            return
        done.wait(0.1)
    raise AssertionError("it did not come to hold")


def echo(entry: Entry, host: str, path: str, *, tls: bool = True, **headers: str) -> dict[str, str]:
    status, body, _ = entry.ask(f"{host}.{DOMAIN}", path, tls=tls, **headers)
    assert status == 200, body
    found: dict[str, str] = json.loads(body)["headers"]
    return found


def test_a_configuration_waits_for_its_certificate(entry: Entry) -> None:
    entry.serve("plain", tls=False)
    wait_until(lambda: entry.digest() == "plain")
    assert echo(entry, "code", "/", tls=False)["x-forwarded-proto"] == "http"
    entry.serve("first", tls=True)
    threading.Event().wait(3)
    assert entry.digest() == "plain"
    entry.certify("first")
    wait_until(lambda: entry.digest() == "first")


def test_the_probe_passes_with_tls_and_fails_where_something_else_answers(
    entry: Entry, unpacked: Callable[[str], RootFilesystem]
) -> None:
    def probe(port: int) -> subprocess.CompletedProcess[str]:
        return unpacked("gateway").run("/bin/sh", "-c", PROBE, HOST="127.0.0.1", PORT=str(port))

    done = probe(entry.port)
    assert (done.returncode, done.stdout.count("\n"), done.stderr) == (0, 1, ""), done.stderr
    for port in (entry.apps[0], 1):
        done = probe(port)
        assert done.returncode == 1
        assert "GET /-/health of host health is not answered by 200" in done.stderr


def test_what_callers_say_of_themselves_does_not_reach_an_app(entry: Entry) -> None:
    forged = dict.fromkeys([*CLAIMED_HEADERS, *FORGED], "admin")
    ours = {
        "X-Forwarded-For": "1.2.3.4",
        "X-Real-IP": "1.2.3.4",
        "X-Forwarded-Host": "evil",
        "X-Forwarded-Proto": "http",
    }
    seen = echo(entry, "code", "/", **forged, **ours, X_Remote_User="admin", Accept="text/html", Authorization="own")
    assert "admin" not in seen.values()
    assert {key: seen[key] for key in ("x-forwarded-for", "x-real-ip", "x-forwarded-host", "x-forwarded-proto")} == {
        "x-forwarded-for": "127.0.0.1",
        "x-real-ip": "127.0.0.1",
        "x-forwarded-host": f"code.{DOMAIN}",
        "x-forwarded-proto": "https",
    }
    assert (seen["accept"], seen["authorization"]) == ("text/html", "own")
    assert "upgrade" not in echo(entry, "code", "/", Upgrade="h2c", Connection="Upgrade, HTTP2-Settings")
    assert echo(entry, "code", "/", Upgrade="WebSocket", Connection="Upgrade")["upgrade"] == "websocket"


def test_an_app_speaks_for_its_own_host_and_not_to_the_gateway(entry: Entry) -> None:
    status, body, headers = entry.ask(f"code.{DOMAIN}", "/says")
    assert status == 200 and "headers" in json.loads(body)
    assert not [name for name in headers if name.startswith("x-accel")]
    assert "utf-7" not in headers.get("content-type", "")
    cookies = headers["set-cookie"].split("\n")
    assert len(cookies) == len(WIDE) + 1
    for cookie in cookies:
        domains = [value.strip() for name, _, value in _attributes(cookie) if name.strip().lower() == "domain"]
        assert set(domains) <= {f"code.{DOMAIN}"}, cookie
    assert "own=1; Path=/" in cookies


def _attributes(cookie: str) -> list[tuple[str, str, str]]:
    return [part.partition("=") for part in cookie.split(";")[1:]]


def test_an_answer_that_nobody_reads_waits_at_its_app(entry: Entry) -> None:
    context = ssl.create_default_context(cadata=entry.authority)
    host = f"code.{DOMAIN}"
    with socket.create_connection(("127.0.0.1", entry.port), timeout=10) as plain:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with context.wrap_socket(plain, server_hostname=host) as connection:
            connection.sendall(f"GET /flood HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            threading.Event().wait(4)
    assert 0 < len(FLOODED) < FLOOD // 2


def test_the_log_names_the_caller(entry: Entry) -> None:
    entry.ask(f"code.{DOMAIN}", '/logged"', **{"X-Forwarded-For": "1.2.3.4"})

    def lines() -> list[dict[str, object]]:
        text = (entry.place / "access.log").read_text().splitlines()
        return [found for found in map(json.loads, text) if found["uri"] == '/logged"']

    wait_until(lambda: bool(lines()))
    (line,) = lines()
    assert (line["client"], line["status"], line["host"]) == ("127.0.0.1", 200, f"code.{DOMAIN}")
    assert line["tls"] == "TLSv1.3"


def test_requests_are_counted_by_where_they_go_and_how_they_are_answered(entry: Entry) -> None:
    before = entry.counted(2)
    for _ in range(3):
        assert entry.ask(f"bus.{DOMAIN}", "/lines/1")[0] == 200
    for path in ("/lines/broken", "/lines/broken/2"):
        entry.ask(f"bus.{DOMAIN}", path)
    # What the gateway answers by itself goes nowhere.
    assert entry.ask(f"bus.{DOMAIN}", "/lines3")[0] == 404

    def added() -> dict[str, int]:
        return {code: count - before.get(code, 0) for code, count in entry.counted(2).items()}

    wait_until(lambda: added() == {"2xx": 3, "5xx": 2})
    # A reload of the configuration, with its new processes, loses none.
    entry.serve("again", tls=False)
    wait_until(lambda: entry.digest() == "again")
    assert entry.ask(f"bus.{DOMAIN}", "/lines/1", tls=False)[0] == 200
    wait_until(lambda: added() == {"2xx": 4, "5xx": 2})
    entry.serve("first", tls=True)
    wait_until(lambda: entry.digest() == "first")


@pytest.mark.parametrize(
    ("host", "path", "number"),
    [
        ("code", "/", 1),
        ("code", "/login", 0),
        ("code", "/login/", 0),
        ("code", "/login/x", 0),
        ("code", "/login?next=/", 0),
        ("code", "/loginfo", 1),
        ("code", "/login.html", 1),
        ("code", "/x/../login", 0),
        ("code", "/login/%2e%2e/x", 1),
        ("bus", "/lines", 2),
        ("bus", "/lines/3", 2),
        ("bus", "/lines3", None),
    ],
)
def test_a_path_ends_where_its_segment_does(entry: Entry, host: str, path: str, number: int | None) -> None:
    status, body, _ = entry.ask(f"{host}.{DOMAIN}", path)
    assert status == (404 if number is None else 200)
    if number is not None:
        assert json.loads(body)["port"] == entry.apps[number]


@pytest.mark.parametrize(("path", "is_ended"), [("/ended", True), ("/ended/forms?x=1", True), ("/endedness", False)])
def test_a_suspended_app_is_told_to_be_so(entry: Entry, path: str, *, is_ended: bool) -> None:
    status, body, headers = entry.ask(f"code.{DOMAIN}", path)
    assert status == (503 if is_ended else 200)
    assert ("该服务已暂停" in body) is is_ended
    if is_ended:
        assert headers["content-type"] == "text/html; charset=utf-8"
        assert headers["strict-transport-security"] == "max-age=31536000"
        assert "/ended" not in entry.ask(DOMAIN)[1]


def test_plain_http_is_sent_to_https_on_the_same_port(entry: Entry) -> None:
    host = f"code.{DOMAIN}:{entry.port}"
    status, _, headers = entry.ask(host, "/a?b=c", tls=False)
    assert (status, headers["location"]) == (308, f"https://{host}/a?b=c")
    assert "strict-transport-security" not in headers
    for more in (":80@evil.example", ":80:81", ":80/evil.example", ":x"):
        status, _, headers = entry.ask(f"code.{DOMAIN}{more}", "/a", tls=False)
        assert status in (400, 404) or headers["location"] == f"https://code.{DOMAIN}/a", more
    assert entry.ask("nobody.example", "/", tls=False)[0] == 404
    status, _, headers = entry.ask(f"code.{DOMAIN}")
    assert (status, headers["strict-transport-security"]) == (200, "max-age=31536000")


def test_the_name_of_the_connection_is_that_of_the_request(entry: Entry) -> None:
    host = f"code.{DOMAIN}"
    assert entry.ask(host)[0] == 200
    assert entry.ask(host.upper(), sni=host)[0] == 200
    assert entry.ask(host, sni=f"bus.{DOMAIN}")[0] == 421
    assert entry.ask(host, sni="")[0] == 421
    assert entry.ask("nobody.example", sni=host)[0] == 421
    assert entry.ask(f"nobody.{DOMAIN}")[0] == 404
    assert re.search("<h1>xc</h1>", entry.ask(DOMAIN)[1])


def test_ciphers_without_authentication_of_what_they_encrypt_are_refused(entry: Entry) -> None:
    context = ssl.create_default_context(cadata=entry.authority)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE-ECDSA-AES256-SHA384:ECDHE-ECDSA-AES128-SHA")
    with socket.create_connection(("127.0.0.1", entry.port), timeout=10) as plain, pytest.raises(ssl.SSLError):
        context.wrap_socket(plain, server_hostname=f"code.{DOMAIN}")


def test_a_renewed_certificate_is_taken_over_without_a_failed_request(entry: Entry) -> None:
    over, statuses, old = threading.Event(), [], entry.authority

    def load() -> None:
        while not over.is_set():
            context = ssl.create_default_context(cadata=old + entry.authority)
            with socket.create_connection(("127.0.0.1", entry.port), timeout=10) as plain:
                connection = http.client.HTTPConnection("127.0.0.1", entry.port)
                connection.sock = context.wrap_socket(plain, server_hostname=f"code.{DOMAIN}")
                connection.request("GET", "/", headers={"Host": f"code.{DOMAIN}"})
                statuses.append(connection.getresponse().status)

    thread = threading.Thread(target=load, daemon=True)
    thread.start()
    try:
        entry.certify("second")
        threading.Event().wait(2)
        assert entry.digest() == "first"
        entry.serve("second", tls=True)
        wait_until(lambda: entry.digest() == "second")
        wait_until(lambda: entry.ask(f"code.{DOMAIN}")[0] == 200)
    finally:
        over.set()
        thread.join(10)
    assert len(statuses) > 10
    assert set(statuses) == {200}


@contextmanager
def secure_app(
    entry: Entry, image: RootFilesystem, values: Mapping[str, str], of: App, place: Path
) -> Iterator[subprocess.Popen[str]]:
    """The sample app with an app's certificate, where its Secret would be."""
    pair = values[app_certificate_key(of)]
    for name, text in {"tls.crt": certificates_of(pair), "tls.key": key_of(pair)}.items():
        (place / name).write_text(text)
    settings = {"PORT": str(entry.secure), "TLS_DIRECTORY": f"/tmp{place}", "APP_NAME": "vault"}
    with image.running("/usr/bin/python3", "-m", "sample_app", shared=[place], **settings) as process:
        wait_for("the app", lambda: socket.create_connection(("127.0.0.1", entry.secure), 5), process).close()
        yield process


def test_an_app_that_serves_tls_is_known_by_its_own_certificate(
    entry: Entry, unpacked: Callable[[str], RootFilesystem], tmp_path: Path
) -> None:
    image, host, place = unpacked("sample-app"), f"vault.{DOMAIN}", tmp_path / "tls"
    place.mkdir()
    for parent in (place, *place.parents[:4]):
        parent.chmod(parent.stat().st_mode | 0o055)
    entry.certify("apps")
    entry.serve("apps", tls=True)
    wait_until(lambda: entry.digest() == "apps")
    wait_until(lambda: entry.ask(host)[0] == 502)
    with secure_app(entry, image, entry.values, SECURE, place):
        status, body, _ = entry.ask(host, "/api/state")
        assert (status, json.loads(body)["app"]) == (200, "vault")
        # One who says nothing keeps nobody waiting.
        with socket.create_connection(("127.0.0.1", entry.secure), 5):
            assert entry.ask(host, "/healthz")[0] == 200
    with secure_app(entry, image, entry.values, OTHER, place):
        assert entry.ask(host)[0] == 502
    with secure_app(entry, image, renewed(PLAN, {}, datetime.now(UTC)), SECURE, place):
        assert entry.ask(host)[0] == 502
    server = ThreadingHTTPServer(("127.0.0.1", entry.secure), Echo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        assert entry.ask(host)[0] == 502
    finally:
        server.shutdown()
        server.server_close()
