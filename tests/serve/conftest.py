"""A state server as a process of its own, clients that speak to it as the engine does, and plain `pulumi`."""

from __future__ import annotations

import http.client
import json
import os
import signal
import ssl
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.cli.program import ROOT
from tests.objects.conftest import postgres, s3  # noqa: F401
from tests.support.control_plane import binary
from tests.support.language import PROJECT, install
from tests.support.pki import Authority
from tests.support.postgres_server import PostgresServer
from tests.support.processes import ENDING_WITH_PARENT
from tests.support.s3_server import S3Server
from wecityctl.engine.serve.tokens import Role, add_token

_PROGRAM = "from wecityctl.cli.main import main; main()"
# The places that the server is tested with.
PLACES = ("directory", "s3", "postgres")


# What `pulumi stack init --secrets-provider passphrase` sends: the salt is of no passphrase here.
STATE = {
    "version": 3,
    "deployment": {"manifest": {}, "secrets_providers": {"type": "passphrase", "state": {"salt": "x"}}},
}


def backend_of(place: str, directory: Path, request: pytest.FixtureRequest) -> tuple[str, dict[str, str]]:
    """The URL of an empty place of a kind, and the variables with which it is reached."""
    if place == "directory":
        return f"file://{directory}/state", {}
    name = f"t{uuid.uuid4().hex[:12]}"
    if place == "s3":
        server: S3Server = request.getfixturevalue("s3")
        return server.url("states", name), server.environment
    base: PostgresServer = request.getfixturevalue("postgres")
    return base.url(name), {}


@dataclass
class Client:
    """Asks the server as the engine does."""

    address: str
    authority: bytes
    token: str = ""

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """The status and the parsed body of an answer."""
        context = ssl.create_default_context(cadata=self.authority.decode())
        connection = http.client.HTTPSConnection(self.address, timeout=30, context=context)
        data = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else None
        connection.request(method, path, data, {"Authorization": self.token, **headers})
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        return answer.status, json.loads(text or b"null")

    def create(self, stack: str, **values: Any) -> tuple[int, Any]:
        """Make a stack."""
        body = {"stackName": stack, "state": STATE, **values}
        return self.ask("POST", "/api/stacks/organization/wecity", body)

    def begin(self, stack: str, kind: str = "update", **options: Any) -> tuple[str, Client]:
        """An update that is under way: its path, and a client with its token."""
        place = f"/api/stacks/organization/wecity/{stack}/{kind}"
        code, created = self.ask("POST", place, {"options": options, "metadata": {"message": "m"}})
        assert code == 200, created
        path = f"{place}/{created['updateID']}"
        code, started = self.ask("POST", path, {"journalVersion": 1})
        assert (code, started.get("journalVersion")) == (200, 1), started
        return path, Client(self.address, self.authority, f"update-token {started['token']}")


@dataclass
class Server:
    """The program, its files below `directory`, and one token of each kind."""

    directory: Path
    backend: str
    authority: Authority
    port: int = 0
    environment: dict[str, str] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[str] | None = None

    def prepare(self) -> None:
        """The certificate, and the tokens: of each role, one for some stacks alone, and one that has expired."""
        self.directory.mkdir(exist_ok=True)
        self.renew()
        (self.directory / "ca.pem").write_bytes(self.authority.cert)
        for name, role, stacks in (
            ("ada", Role.ADMIN, ()),
            ("uma", Role.UPDATE, ()),
            ("pia", Role.PREVIEW, ()),
            ("tom", Role.UPDATE, ("city.tenant.water.*",)),
        ):
            self.tokens[name] = add_token(self.file("tokens.json"), name, role, stacks)[0]
        self.tokens["old"] = add_token(self.file("tokens.json"), "old", Role.ADMIN, (), timedelta(seconds=-1))[0]

    def file(self, name: str) -> Path:
        return self.directory / name

    def renew(self) -> None:
        """Write a new certificate."""
        pair = self.authority.server()
        self.file("tls.crt").write_bytes(pair.cert)
        self.file("tls.key").write_bytes(pair.key)

    def start(self, *, log: bool = True) -> None:
        """Start it, and wait until it lets clients in. Without its `log`, that goes to a pipe that nobody reads."""
        arguments = ["--backend", self.backend, "--tls-cert", self.file("tls.crt"), "--tls-key", self.file("tls.key")]
        arguments += ["--tokens", self.file("tokens.json"), "--listen", f"127.0.0.1:{self.port}"]
        arguments += ["--log", self.file("log.jsonl")] if log else []
        self.process = subprocess.Popen(
            [*ENDING_WITH_PARENT, sys.executable, "-c", _PROGRAM, "state", "serve", *map(str, arguments)],
            cwd=ROOT,
            env={**os.environ, **self.environment},
            stdout=None if log else subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr is not None
        line = self.process.stderr.readline()
        assert " at https://" in line, line + self.process.stderr.read()
        self.port = urlsplit(line.rpartition(" ")[2]).port or 0

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it, and wait until it has; its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        code = self.process.wait(60)
        assert self.process.stderr is not None
        self.process.stderr.close()
        if self.process.stdout is not None:
            self.process.stdout.close()
        self.process = None
        return code

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def client(self, name: str) -> Client:
        """A client with the token of a user."""
        return Client(f"127.0.0.1:{self.port}", self.authority.cert, f"token {self.tokens[name]}")

    def lines(self, event: str = "request") -> list[dict[str, Any]]:
        """The lines of the log."""
        found = [json.loads(line) for line in self.file("log.jsonl").read_text().splitlines()]
        return [line for line in found if line["event"] == event]


@pytest.fixture(scope="module", params=PLACES)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for a module's tests, on an empty place."""
    directory = tmp_path_factory.mktemp("served")
    url, environment = backend_of(request.param, directory, request)
    found = Server(directory, url, Authority(), environment=environment)
    found.prepare()
    found.start()
    yield found
    if found.process is not None:
        found.end()


@dataclass
class Pulumi:
    """Plain `pulumi` with a home and a project of its own."""

    directory: Path

    def prepare(self) -> Pulumi:
        """Make the project and the plug-in of its language."""
        binary("pulumi")
        install(self.directory / "bin")
        (self.directory / "project").mkdir()
        (self.directory / "project" / "Pulumi.yaml").write_text(PROJECT)
        return self

    def start(self, url: str, arguments: tuple[str, ...], **environment: str) -> subprocess.Popen[str]:
        """Start it with a back end."""
        program = binary("pulumi")
        kept = {key: value for key, value in os.environ.items() if not key.startswith("PULUMI_")}
        env = kept | {
            "PATH": f"{self.directory}/bin:{os.environ['PATH']}",
            "PULUMI_HOME": str(self.directory / "home"),
            "PULUMI_BACKEND_URL": url,
            "PULUMI_CONFIG_PASSPHRASE": "correct horse",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "NO_COLOR": "1",
            **environment,
        }
        command = [*ENDING_WITH_PARENT, str(program), *arguments, "--non-interactive"]
        return subprocess.Popen(
            [*command, "--cwd", str(self.directory / "project")],
            env=env,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def beside(self, server: Server, *arguments: str) -> subprocess.Popen[str]:
        """Start it on the server's own back end."""
        return self.start(server.backend, arguments, **server.environment)

    def at(self, server: Server, user: str, *arguments: str) -> subprocess.Popen[str]:
        """Start it as a user of the server."""
        extra = {"PULUMI_ACCESS_TOKEN": server.tokens[user], "SSL_CERT_FILE": str(server.file("ca.pem"))}
        return self.start(server.url, arguments, **extra)

    def run(self, server: Server, user: str, *arguments: str, code: int | None = 0) -> str:
        """What it prints; `code` is the exit code that is expected, `None` for any failure."""
        # The first one logs in by itself, and says so.
        return ended(self.at(server, user, *arguments), code).removeprefix(
            "Logging in using access token from PULUMI_ACCESS_TOKEN\n"
        )


def ended(process: subprocess.Popen[str], code: int | None = 0) -> str:
    """Wait for a program: what it has printed."""
    output, _ = process.communicate(timeout=120)
    assert process.returncode == code if code is not None else process.returncode != 0, output
    return output


@pytest.fixture
def pulumi(tmp_path: Path) -> Pulumi:
    """Plain `pulumi`, logged in to nothing."""
    return Pulumi(tmp_path / "pulumi").prepare()
