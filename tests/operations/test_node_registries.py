"""Nodes of embedded clouds are told of the city's registries when their platform is up; a silent API server is left."""

from __future__ import annotations

import base64
import json
import shutil
import ssl
import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.cli.program import ROOT
from tests.support.pki import Authority
from wecityctl.inputs import Cluster, Clusters
from wecityctl.local import assembly
from wecityctl.local import cloud as clouds
from wecityctl.local.api import Api
from wecityctl.local.driver import Network
from wecityctl.model.events import Diagnostic, Event
from wecityctl.operations.node_registries import trust_registries
from wecityctl.session import Session, open_session

VAULT = "    - {name: vault}\n"
STACK = "xingcheng-operations.platform.operations.main"
FOUND = Clusters({"main": Cluster("main", "", "", "uid")})


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    place = tmp_path_factory.mktemp("files") / "city"
    file = Path(shutil.copytree(ROOT / "examples/xingcheng-operations", place)) / "city.yaml"
    file.write_text(file.read_text().replace(VAULT, f"{VAULT}    - {{name: images, type: registry, storage: 1Gi}}\n"))
    return open_session(place)


class Server:
    """An API server of one Secret. It answers nobody while `silent`."""

    def __init__(self, directory: Path) -> None:
        self.asked: list[str] = []
        self.secret: dict[str, Any] | None = None
        self.silent = threading.Event()
        self._done = threading.Event()
        authority, here = Authority(), self
        pair, client = authority.server(), authority.client("admin")
        for name, content in {"ca": authority.cert, "server.crt": pair.cert, "server.key": pair.key}.items():
            (directory / name).write_bytes(content)
        (directory / "client.crt").write_bytes(client.cert)
        (directory / "client.key").write_bytes(client.key)

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                here.asked.append(self.path)
                if here.silent.is_set():
                    here._done.wait(60)
                    return
                content = json.dumps(here.secret or {"message": "there is none"}).encode()
                self.send_response(200 if here.secret else 404)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(directory / "server.crt", directory / "server.key")
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        url = f"https://127.0.0.1:{self._server.server_port}"
        self.api = Api(url, directory / "ca", directory / "client.crt", directory / "client.key")
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._done.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    found = Server(tmp_path)
    yield found
    found.close()


@pytest.fixture
def node(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the node of the cloud `main`, which is said to run, reads of registries."""
    network = Network("127.0.0.1", "", "", saved="198.18.0.0/21")
    context = SimpleNamespace(
        api=server.api,
        directory=tmp_path,
        run=tmp_path / "run",
        network=network,
        cloud_id="0",
        server=server.api.server,
    )
    loaded: list[str] = []

    def load(name: str, report: object) -> object:
        loaded.append(name)
        return SimpleNamespace(driver=object(), context=context)

    monkeypatch.setattr(assembly, "load", load)
    monkeypatch.setattr(clouds, "is_running", lambda name: True)
    return tmp_path / "node/etc/registries"


def told(session: Session, stack: str) -> list[str]:
    events: list[Event] = []
    trust_registries(session, FOUND, stack, events.append)
    assert all(isinstance(item, Diagnostic) and item.severity == "warning" for item in events)
    return [item.message for item in events if isinstance(item, Diagnostic)]


def test_the_node_knows_the_registrys_names_and_certificates(session: Session, server: Server, node: Path) -> None:
    assert told(session, STACK) == []
    # Its Secret is not there yet.
    assert list(node.iterdir()) == []
    server.secret = {"data": {"ca.crt": base64.b64encode(b"AUTHORITY").decode()}}
    assert told(session, STACK) == []
    assert server.asked == ["/api/v1/namespaces/platform-operations/secrets/images-tls"] * 2
    place = node / "images.platform-operations.svc.cluster.local:5000"
    assert (place / "ca.crt").read_text() == "AUTHORITY"
    assert tomllib.loads((place / "hosts.toml").read_text())["server"] == f"https://{place.name}"


def test_other_stacks_and_clouds_are_left_alone(session: Session, server: Server, node: Path) -> None:
    for stack in (
        "xingcheng-operations.platform.application.other",
        "xingcheng-operations.base.main",
        "xingcheng-operations.entry",
    ):
        assert told(session, stack) == []
    trust_registries(session, Clusters(), STACK, lambda event: None)
    assert not server.asked and not node.exists()


@pytest.mark.timeout(25)
def test_a_silent_api_server_is_a_warning_and_holds_nobody_up(session: Session, server: Server, node: Path) -> None:
    # The client itself is patient: 30 s.
    server.silent.set()
    (message,) = told(session, STACK)
    assert message.startswith("the node of cloud main cannot pull from the city's registry: GET /api/v1/namespaces/")
    assert len(server.asked) < 5


def test_a_node_that_cannot_be_written_is_a_warning(session: Session, server: Server, node: Path) -> None:
    server.secret = {"data": {"ca.crt": base64.b64encode(b"AUTHORITY").decode()}}
    node.parent.mkdir(parents=True)
    node.write_text("no directory")
    (message,) = told(session, STACK)
    assert message.startswith("the node of cloud main cannot pull from the city's registry: ")
