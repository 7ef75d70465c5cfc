"""The image of alerts: Alertmanager tells webhooks through the proxy beside it, which bounds where to and how much."""

from __future__ import annotations

import http.server
import json
import os
import socket
import ssl
import subprocess
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from stacks.platforms.operations import alerts
from stacks.platforms.operations.alerts.program import PACE
from stacks.platforms.operations.alerts.rules import Receiver as Receiving
from stacks.platforms.operations.alerts.rules import routing, webhooks
from tests.images.rootfs import RootFilesystem, free_port, needs_root, wait_for
from tests.support.pki import Authority
from wecityctl.model import city

pytestmark = [pytest.mark.build, pytest.mark.by_digest, needs_root, pytest.mark.timeout(500)]


def test_the_go_program_passes_its_own_tests() -> None:
    done = subprocess.run(
        ["go", "test", "-trimpath", "-buildvcs=false", "-mod=readonly", "-vet=off", "./webhooks"],
        cwd=Path(alerts.__file__).parent / "image/go",
        env={**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def own_address() -> str:
    """An address of this machine that is not the loopback device's, which no webhook may have. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no address but that of the loopback device")
        return str(probe.getsockname()[0])


@dataclass
class Receiver:
    """A webhook over TLS: what it was told, by path, and how many bytes of an endless answer were taken from it."""

    port: int = field(default_factory=free_port)
    told: dict[str, list[str]] = field(default_factory=dict)
    taken: list[int] = field(default_factory=list)


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    found, authority = Receiver(), Authority()
    pair = authority.server(["oncall.example", "inner.example", "local.example"], [own_address()])
    for name, content in (("ca.crt", authority.cert), ("tls.crt", pair.cert), ("tls.key", pair.key)):
        (tmp_path / name).write_bytes(content)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            found.told.setdefault(self.path, []).extend(item["labels"]["alertname"] for item in body["alerts"])
            self.send_response(500 if self.path == "/endless" else 200)
            self.end_headers()
            if self.path != "/endless":
                return
            sent = 0
            try:
                # Alertmanager takes what comes in ten seconds.
                while sent < 2**30:
                    sent += self.wfile.write(b"x" * 65536)
            except OSError:
                pass
            found.taken.append(sent)

        def log_message(self, *words: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer((own_address(), found.port), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "tls.crt", tmp_path / "tls.key")
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield found
    server.shutdown()
    server.server_close()


def prepare(place: Path, told: list[Receiving], proxy: int) -> None:
    """Write the files of Alertmanager and of the proxy on this port, and an empty log."""
    for parent in (place, *place.parents[:3]):
        parent.chmod(parent.stat().st_mode | 0o055)
    settings = routing(told)
    for item in settings["receivers"]:
        for webhook in item.get("webhook_configs", ()):
            webhook["http_config"]["proxy_url"] = f"http://127.0.0.1:{proxy}"
            webhook["http_config"]["tls_config"]["ca_file"] = f"/tmp{place}/ca.crt"
    (place / "alertmanager.yaml").write_text(json.dumps(settings))
    (place / "webhooks.json").write_text(json.dumps([asdict(item) for item in webhooks(told)]))
    (place / "log").touch()
    os.chown(place / "log", 65532, 65532)


def test_alerts_do_not_end_because_the_store_does_not_answer(
    unpacked: Callable[[str], RootFilesystem], tmp_path: Path
) -> None:
    """An alert ends for Alertmanager when vmalert has said, unless it is told again: not while a rule has no answer."""
    image, port, own, inside = unpacked("alerts"), free_port(), free_port(), f"/tmp{tmp_path}"
    for parent in (tmp_path, *tmp_path.parents[:3]):
        parent.chmod(parent.stat().st_mode | 0o055)
    answers = [True]
    ends: list[float] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            now = datetime.now(UTC)
            if self.path.startswith("/api/v2/alerts"):
                ends.extend((datetime.fromisoformat(item["endsAt"]) - now).total_seconds() for item in json.loads(body))
                answers[0] = False
            found = {"metric": {"app": "a"}, "value": [now.timestamp(), "1"]}
            text = json.dumps({"status": "success", "data": {"resultType": "vector", "result": [found]}}).encode()
            self.send_response(200 if answers[0] or self.path.startswith("/api/v2") else 503)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *words: Any) -> None:
            pass

    group = {"name": "one", "rules": [{"alert": "Down", "expr": "down", "for": "0s"}]}
    (tmp_path / "rules.yaml").write_text(json.dumps({"groups": [group]}))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with image.running(
        *("/usr/local/bin/vmalert", f"-rule={inside}/rules.yaml", *PACE, "-loggerLevel=WARN"),
        *(f"-datasource.url=http://127.0.0.1:{port}", f"-notifier.url=http://127.0.0.1:{port}"),
        f"-httpListenAddr=127.0.0.1:{own}",
        shared=[tmp_path],
    ) as running:
        wait_for("an alert", lambda: ends or None, running)
    server.shutdown()
    server.server_close()
    # So long may a store take to come back.
    assert ends[0] > 100


@pytest.mark.proves("alerts", "built")
def test_alerts_reach_webhooks_of_the_files_and_no_answer_fills_the_memory(
    unpacked: Callable[[str], RootFilesystem], receiver: Receiver, tmp_path: Path
) -> None:
    image, address, port = unpacked("alerts"), own_address(), receiver.port
    # The image of a pod has the kubelet's file.
    names = f"{address} oncall.example\n{address} inner.example\n127.0.0.1 local.example\n"
    (image.root / "etc/hosts").write_text(names)
    proxy, manager, inside = free_port(), free_port(), f"/tmp{tmp_path}"
    told = [
        ("named", "", city.Alerts(f"https://oncall.example:{port}/named", (f"{address}/32",))),
        ("literal", "", city.Alerts(f"https://{address}:{port}/literal")),
        ("endless", "", city.Alerts(f"https://oncall.example:{port}/endless", (f"{address}/32",))),
        ("inner", "", city.Alerts(f"https://inner.example:{port}/inner")),
        ("local", "", city.Alerts(f"https://local.example:{port}/local", ("127.0.0.0/8",))),
    ]
    prepare(tmp_path, told, proxy)
    with ExitStack() as servers:
        servers.enter_context(
            image.running(
                *("/bin/sh", "-c", f"exec alerts-webhooks -listen=127.0.0.1:{proxy} -webhooks=$FILE 2> $LOG"),
                shared=[tmp_path],
                FILE=f"{inside}/webhooks.json",
                LOG=f"{inside}/log",
            )
        )
        running = servers.enter_context(
            image.running(
                *("alertmanager", f"--config.file={inside}/alertmanager.yaml", "--storage.path=/tmp/state"),
                *(f"--web.listen-address=127.0.0.1:{manager}", "--cluster.listen-address=", "--log.level=warn"),
                shared=[tmp_path],
            )
        )
        at = f"http://127.0.0.1:{manager}"
        wait_for("Alertmanager", lambda: urllib.request.urlopen(f"{at}/-/ready", timeout=5), running)
        fired = json.dumps([{"labels": {"alertname": "Down", "tenant": "parks"}}]).encode()
        request = urllib.request.Request(f"{at}/api/v2/alerts", fired, {"Content-Type": "application/json"})
        urllib.request.urlopen(request, timeout=5).close()
        wait_for("the alerts", lambda: {"/named", "/literal", "/endless"} <= receiver.told.keys() or None, running)
        wait_for("the end of an answer without one", lambda: receiver.taken or None, running)

        def refused() -> bool | None:
            text = (tmp_path / "log").read_text()
            return all(f"webhook {name}.example:{port}: no address" in text for name in ("inner", "local")) or None

        wait_for("what is refused", refused, running)
    assert receiver.told.keys() == {"/named", "/literal", "/endless"}
    assert receiver.told["/named"] == receiver.told["/literal"] == ["Down"]
    # What the proxy takes, and what is under way in the sockets' buffers.
    assert max(receiver.taken) < 20 * 2**20


def test_people_are_told_when_no_rule_can_be_evaluated(
    unpacked: Callable[[str], RootFilesystem], receiver: Receiver, tmp_path: Path
) -> None:
    """The metrics are away, as with a dead node: that is told after a minute, and its end once they answer."""
    image, inside = unpacked("alerts"), f"/tmp{tmp_path}"
    proxy, manager, evaluator, store = (free_port() for _ in range(4))
    prepare(tmp_path, [("city", "", city.Alerts(f"https://{own_address()}:{receiver.port}/city"))], proxy)
    rule = {"alert": "Down", "expr": "vector(1) == 2"}
    (tmp_path / "rules.yaml").write_text(json.dumps({"groups": [{"name": "city", "interval": "1s", "rules": [rule]}]}))
    (tmp_path / "password").write_text("secret")
    with ExitStack() as servers:
        running = servers.enter_context(
            image.running(
                *("alertmanager", f"--config.file={inside}/alertmanager.yaml", "--storage.path=/tmp/state"),
                *(f"--web.listen-address=127.0.0.1:{manager}", "--cluster.listen-address=", "--log.level=warn"),
                shared=[tmp_path],
            )
        )
        servers.enter_context(
            image.running(
                *("vmalert", f"-rule={inside}/rules.yaml", f"-datasource.url=http://127.0.0.1:{store}"),
                *(f"-notifier.url=http://127.0.0.1:{manager}", f"-httpListenAddr=127.0.0.1:{evaluator}"),
                *("-httpAuth.username=admin", f"-httpAuth.password=file://{inside}/password", "-loggerLevel=ERROR"),
                shared=[tmp_path],
            )
        )
        servers.enter_context(
            image.running(
                *("alerts-webhooks", f"-listen=127.0.0.1:{proxy}", f"-webhooks={inside}/webhooks.json"),
                *(f"-evaluator=http://127.0.0.1:{evaluator}", f"-manager=http://127.0.0.1:{manager}"),
                f"-password={inside}/password",
                shared=[tmp_path],
            )
        )
        wait_for("the alert", lambda: receiver.told.get("/city"), running, 150)
        assert receiver.told == {"/city": ["NotEvaluated"]}

        class Empty(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                body = b'{"status": "success", "data": {"resultType": "vector", "result": []}}'
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *words: Any) -> None:
                pass

        with http.server.ThreadingHTTPServer(("127.0.0.1", store), Empty) as answering:
            threading.Thread(target=answering.serve_forever, daemon=True).start()
            wait_for("its end", lambda: len(receiver.told["/city"]) > 1 or None, running, 60)
            answering.shutdown()
    assert set(receiver.told["/city"]) == {"NotEvaluated"}
