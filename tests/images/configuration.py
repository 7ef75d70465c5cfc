"""The configuration in a city of scripts: the image's server over a real PostgreSQL, and the ways to ask it."""

from __future__ import annotations

import http.client
import json
import os
import ssl
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from stacks.platforms.application.configuration.access import ADMIN, PROVISION
from tests.images.data_services import ADMIN_PASSWORD, PASSWORD, Database
from tests.images.rootfs import RootFilesystem, free_port, wait_for
from tests.support.pki import Authority

DATABASE = "capability_configuration_db"
# Bytes that the limits of all accounts come to at the most.
STORAGE = 2 * 2**20


@dataclass(frozen=True)
class Answer:
    """An answer: its code, its content, which is parsed if it is JSON, and its headers."""

    code: int
    content: Any
    headers: http.client.HTTPMessage

    @property
    def reason(self) -> str:
        """Why the request was refused."""
        return str(self.content["reason"])


@dataclass(frozen=True)
class Service:
    """A running server."""

    image: RootFilesystem
    place: Path
    port: int
    admin: int
    authority: bytes

    def ask(
        self,
        who: str,
        method: str,
        path: str,
        body: str | bytes | None = None,
        *,
        password: str = PASSWORD,
        headers: dict[str, str] | None = None,
        **parameters: Any,
    ) -> Answer:
        """The answer to the app `who` (tenant/app), or to the administrator."""
        user = who if who in (ADMIN, "") else f"{who.replace('/', '.')}.settings"
        at = self.admin if path.startswith(("/accounts", "/metrics")) else self.port
        context = ssl.create_default_context(cadata=self.authority.decode())
        connection = http.client.HTTPSConnection("127.0.0.1", at, context=context, timeout=30)
        word = ADMIN_PASSWORD if who == ADMIN else password
        given = {"Authorization": "Basic " + b64encode(f"{user}:{word}".encode()).decode()} | (headers or {})
        query = f"?{urlencode(parameters)}" if parameters else ""
        try:
            connection.request(method, path + query, body.encode() if isinstance(body, str) else body, given)
            answer = connection.getresponse()
            content = answer.read().decode()
        finally:
            connection.close()
        is_json = (answer.headers.get("Content-Type") or "").startswith("application/json")
        return Answer(answer.status, json.loads(content) if is_json else content, answer.headers)

    def put(self, who: str, key: str, value: str) -> int:
        """Set a key; its revision."""
        answer = self.ask(who, "PUT", f"/values/{key}", value)
        assert answer.code == 200, answer.content
        return int(answer.content["revision"])

    def values(self, who: str) -> dict[str, str]:
        """All values of an app."""
        return {item["key"]: item["value"] for item in self.ask(who, "GET", "/values").content["values"]}

    def script(self, text: str, code: int = 0, **values: str) -> str:
        """What a script of the capability prints, run in its image as its Job does."""
        given = {
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            "ADMIN_PASSWORD": ADMIN_PASSWORD,
            "AUTHORITY": f"/tmp{self.place}/ca.crt",
        }
        # The administrator's port of a capability is its type's; here it is a free one.
        text = text.replace("-admin 8544", f"-admin {self.admin}")
        done = self.image.run("/bin/sh", "-c", text, shared=[self.place], **given, **values)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def account(
        self, who: str, password: str = PASSWORD, connections: int = 3, storage: int = 100_000, code: int = 0
    ) -> str:
        """Make an app's account, as its use gets it; what the Job prints."""
        given = {"APP_ROLE": f"{who.replace('/', '.')}.settings", "OWNER": f"{who}/settings", "APP_PASSWORD": password}
        return self.script(PROVISION, code, **given, CONNECTIONS=str(connections), STORAGE=str(storage))

    def accounts(self, script: str) -> dict[str, list[str]]:
        """The words after each account's name in the inventory."""
        return {words[1]: words[2:] for words in map(str.split, self.script(script).splitlines())}


@contextmanager
def serving(image: RootFilesystem, database: Database, place: Path) -> Iterator[Service]:
    """The image's server; `place` is for its binding and its certificate."""
    authority = Authority()
    for parent in (place, *place.parents[:3]):
        parent.chmod(parent.stat().st_mode | 0o055)
    pair = authority.server()
    for name, content in (("tls.crt", pair.cert), ("tls.key", pair.key), ("ca.crt", authority.cert)):
        (place / name).write_bytes(content)
    os.chown(place / "tls.key", 65532, 65532)
    (place / "db").mkdir()
    entries = {"host": "127.0.0.1", "port": str(database.server.port), "database": DATABASE, "username": DATABASE}
    for name, text in {**entries, "password": PASSWORD}.items():
        (place / "db" / name).write_text(text)
    port, admin, inside = free_port(), free_port(), f"/tmp{place}"
    options = [f"-listen=127.0.0.1:{port}", f"-admin=127.0.0.1:{admin}", f"-database={inside}/db"]
    options += [f"-storage={STORAGE}", f"-certificate={inside}/tls.crt", f"-key={inside}/tls.key"]
    command = ("/usr/local/bin/configuration", "serve", *options)
    with image.running(*command, shared=[place], ADMIN_PASSWORD=ADMIN_PASSWORD) as process:
        found = Service(image, place, port, admin, authority.cert)
        wait_for("the server", lambda: found.ask("", "GET", "/health").code == 200 or None, process)
        yield found
