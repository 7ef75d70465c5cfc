"""Notification on this machine: the image's server over a real PostgreSQL, a real mail relay, and a server that takes
posts."""

from __future__ import annotations

import asyncio
import http.client
import http.server
import json
import os
import ssl
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from subprocess import Popen
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from stacks.platforms.application.notification.access import ADMIN, PROVISION
from stacks.platforms.application.notification.program import CHANNELS, settings
from tests.images.app_databases import ADMIN_PASSWORD, PASSWORD, Database
from tests.images.rootfs import RootFilesystem, free_port, wait_for
from tests.support.addresses import own_address
from tests.support.pki import Authority
from wecityctl.model.notification import Notification

# An app that sends, and another one.
SENDER, OTHER = "parks/web", "roads/bus"
FROM, CREDENTIALS, TOKEN = "noreply@city.example", "relay-user:relay-password", "token-of-the-gateway"


class Relay:
    """A mail relay with STARTTLS and an account. What it takes is in `mails`, by receiver."""

    def __init__(self, authority: Authority | None, place: Path) -> None:
        """Its certificate is written into `place`. Without an authority, it offers no STARTTLS."""
        self.address, self.port = own_address(), free_port()
        self.mails: dict[str, list[EmailMessage]] = {}
        # What is said to receivers that it does not take; and those whose mail waits for `go`, as `came` tells.
        self.answers: dict[str, str] = {}
        self.slow = ""
        self.came, self.go = threading.Event(), threading.Event()
        self._authority, self._place = authority, place
        self._controller: Controller | None = None

    def start(self) -> None:
        options: dict[str, Any] = {}
        if self._authority is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            pair = self._authority.server(addresses=[self.address])
            for name, content in (("relay.crt", pair.cert), ("relay.key", pair.key)):
                (self._place / name).write_bytes(content)
            context.load_cert_chain(self._place / "relay.crt", self._place / "relay.key")
            options = {"tls_context": context, "require_starttls": True, "auth_required": True}
            options["authenticator"] = self._sign_in
        self._controller = Controller(self, self.address, self.port, **options)
        self._controller.start()

    def stop(self) -> None:
        if self._controller is not None:
            self.go.set()
            self._controller.stop()
            self._controller = None

    def _sign_in(self, _server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
        return AuthResult(success=f"{data.login.decode()}:{data.password.decode()}" == CREDENTIALS)

    async def handle_RCPT(  # noqa: N802  # aiosmtpd's name
        self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any
    ) -> str:
        if address in self.answers:
            return self.answers[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802  # as above
        (to,) = envelope.rcpt_tos
        self.mails.setdefault(to, []).append(message_from_bytes(envelope.content, policy=policy.default))
        if to == self.slow:
            self.came.set()
            await asyncio.to_thread(self.go.wait, 60)
        return "250 OK"


@dataclass
class Gateway:
    """A server that takes posts by HTTPS, and answers each receiver with the code in `codes`, or 200."""

    port: int = field(default_factory=free_port)
    posts: list[tuple[dict[str, str], dict[str, Any]]] = field(default_factory=list)
    codes: dict[str, int] = field(default_factory=dict)
    # Posts to this receiver wait for `go`.
    dead: str = ""
    go: threading.Event = field(default_factory=threading.Event)

    def to(self, receiver: str) -> list[dict[str, Any]]:
        """What was posted to a receiver."""
        return [content for _, content in self.posts if content["to"] == receiver]

    @contextmanager
    def running(self, authority: Authority, place: Path) -> Iterator[None]:
        gateway, pair = self, authority.server(addresses=[own_address()])
        for name, content in (("gateway.crt", pair.cert), ("gateway.key", pair.key)):
            (place / name).write_bytes(content)

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                gateway.posts.append(({name.lower(): value for name, value in self.headers.items()}, content))
                if content["to"] == gateway.dead:
                    gateway.go.wait(60)
                self.send_response(gateway.codes.get(content["to"], 200))
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        server = http.server.ThreadingHTTPServer((own_address(), self.port), Handler)
        server.daemon_threads = True
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(place / "gateway.crt", place / "gateway.key")
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            self.go.set()
            server.shutdown()
            server.server_close()
            thread.join()


@dataclass(frozen=True)
class Server:
    """A running server, and the ways to ask it."""

    image: RootFilesystem
    place: Path
    port: int
    admin: int
    authority: bytes
    process: Popen[str]

    def ask(
        self, who: str, method: str, path: str, body: Any = None, *, password: str = PASSWORD, at_admin: bool = False
    ) -> tuple[int, Any]:
        """The code and the content of an answer to the app `who` (tenant/app), or to the administrator."""
        user = who if who == ADMIN else f"{who.replace('/', '.')}.notify"
        context = ssl.create_default_context(cadata=self.authority.decode())
        port = self.admin if at_admin else self.port
        connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=30)
        word = ADMIN_PASSWORD if who == ADMIN else password
        headers = {"Authorization": "Basic " + b64encode(f"{user}:{word}".encode()).decode()}
        text = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        try:
            connection.request(method, path, text, headers)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        is_json = (answer.headers.get("Content-Type") or "").startswith("application/json")
        return answer.status, json.loads(content) if is_json else content.decode()

    def template(self, name: str, channel: str, *, who: str = SENDER, **texts: str) -> None:
        """Put a template; without a text, its text is one place called `what`."""
        content = {"channel": channel, "text": "{{what}}", **texts}
        code, said = self.ask(who, "PUT", f"/templates/{name}", content)
        assert code == 200, said

    def bring(self, template: str, to: str, key: str, *, who: str = SENDER, **values: str) -> tuple[int, Any]:
        """Ask for a message."""
        return self.ask(who, "POST", "/messages", {"template": template, "to": to, "key": key, "values": values})

    def accepted(self, template: str, to: str, key: str, *, who: str = SENDER, **values: str) -> str:
        """The identifier of a message that was accepted."""
        code, said = self.bring(template, to, key, who=who, **values)
        assert code == 202, said
        return str(said["id"])

    def message(self, id: str, *, who: str = SENDER) -> dict[str, Any]:
        """What the sender sees of its message."""
        code, found = self.ask(who, "GET", f"/messages/{id}")
        assert code == 200, found
        return dict(found)

    def until(self, id: str, state: str, *, who: str = SENDER, tries: int = 0) -> dict[str, Any]:
        """The message when it is in a state, after so many tries at least."""

        def reached() -> dict[str, Any] | None:
            found = self.message(id, who=who)
            return found if found["state"] == state and found["tries"] >= tries else None

        return wait_for(f"the message to be {state}", reached, self.process)

    def script(self, text: str, **values: str) -> str:
        """What a script of the capability prints, run in its image as its Job does."""
        given = {
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            "ADMIN_PASSWORD": ADMIN_PASSWORD,
            "AUTHORITY": f"/tmp{self.place}/ca.crt",
        }
        # The administrator's port of a capability is its type's; here it is a free one.
        text = text.replace("-admin 8444", f"-admin {self.admin}")
        done = self.image.run("/bin/sh", "-c", text, shared=[self.place], **given, **values)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def account(self, who: str, password: str = PASSWORD, connections: int = 4, storage: int = 32 * 2**20) -> None:
        """An app's account, as its use gets it."""
        given = {"APP_ROLE": f"{who.replace('/', '.')}.notify", "OWNER": f"{who}/notify", "APP_PASSWORD": password}
        self.script(PROVISION, **given, CONNECTIONS=str(connections), STORAGE=str(storage))


@contextmanager
def serving(
    image: RootFilesystem,
    database: Database,
    role: str,
    place: Path,
    authority: Authority,
    channels: Notification,
    *options: str,
) -> Iterator[Server]:
    """The image's server with its queue in the database of `role`, and files below `place`."""
    port, admin, inside = free_port(), free_port(), f"/tmp{place}"
    secrets = {"relay": CREDENTIALS, "token": TOKEN, "authority": authority.cert.decode()}
    (place / CHANNELS).write_text(settings(channels, secrets))
    if not (place / role).exists():
        database.bind(role, place / role)
    pair = authority.server()
    for name, content in (("tls.crt", pair.cert), ("tls.key", pair.key), ("ca.crt", authority.cert)):
        (place / name).write_bytes(content)
    os.chown(place / "tls.key", 65532, 65532)
    given = [f"-listen=127.0.0.1:{port}", f"-admin=127.0.0.1:{admin}", f"-database={inside}/{role}"]
    given += [f"-channels={inside}/{CHANNELS}", f"-certificate={inside}/tls.crt", f"-key={inside}/tls.key", *options]
    program = "/usr/local/bin/notification"
    with image.running(program, "serve", *given, shared=[place], ADMIN_PASSWORD=ADMIN_PASSWORD) as process:
        found = Server(image, place, port, admin, authority.cert, process)
        wait_for("the server", lambda: found.ask("nobody/nobody", "GET", "/health")[0] == 200 or None, process)
        yield found
