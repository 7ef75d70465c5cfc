"""The log store's image: started as its user over a read-only root with a certificate, and used by its own scripts."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import json
import os
import re
import signal
import ssl
import subprocess
import threading
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlencode

import pytest

from stacks.platforms.operations import logs
from stacks.platforms.operations.logs.health import PROBE
from stacks.platforms.operations.logs.program import shipper_password
from stacks.platforms.operations.logs.provision import PROVISION, PROVISIONER
from stacks.platforms.operations.logs.telling import TELLER
from tests.images.rootfs import RootFilesystem, fill, free_port, needs_root, small_volume, wait_for
from tests.support.pki import Authority
from wecityctl.errors import WecityError
from wecityctl.kube.client import KubeClient
from wecityctl.model.city import App, City
from wecityctl.model.since import Since
from wecityctl.operations.app_targets import Target
from wecityctl.operations.capability_servers import CapabilityServer
from wecityctl.operations.stored_logs import stored_lines

Unpacked = Callable[[str], RootFilesystem]
pytestmark = [pytest.mark.build, pytest.mark.by_digest, needs_root, pytest.mark.timeout(500)]

PASSWORD = "administrator"


@pytest.mark.proves("logs", "limited")
def test_the_go_packages() -> None:
    """Their own tests: what a tenant may ask of a real store, and what a shipper does at moments that are rare."""
    done = subprocess.run(
        ["go", "test", "-trimpath", "-buildvcs=false", "-mod=readonly", "-vet=off", "./..."],
        cwd=Path(logs.__file__).parent / "image/go",
        env={**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr


@pytest.mark.proves("logs", "built", "used", "refused")
def test_a_store_with_accounts_over_tls(unpacked: Unpacked, tmp_path_factory: pytest.TempPathFactory) -> None:
    image, authority = unpacked("logs"), Authority()
    place = tmp_path_factory.mktemp("logs")
    for parent in (place, *place.parents[:3]):
        parent.chmod(parent.stat().st_mode | 0o055)
    pair = authority.server()
    for name, content in (("tls.crt", pair.cert), ("tls.key", pair.key), ("ca.crt", authority.cert)):
        (place / name).write_bytes(content)
    (place / "data").mkdir()
    os.chown(place / "data", 65532, 65532)
    os.chown(place / "tls.key", 65532, 65532)
    port, figures, inside = free_port(), free_port(), f"/tmp{place}"
    context = ssl.create_default_context(cafile=str(place / "ca.crt"))

    def ask(
        name: str, password: str, path: str, body: str | None = None, *, at: int = port, **values: str
    ) -> tuple[int, str]:
        connection = http.client.HTTPSConnection("127.0.0.1", at, context=context, timeout=10)
        pair = b64encode(f"{name}:{password}".encode()).decode()
        method = "GET" if body is None else "POST"
        connection.request(method, f"{path}?{urlencode(values)}", body, {"Authorization": f"Basic {pair}"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()

    def script(text: str, **values: str) -> str:
        given = {"HOST": "127.0.0.1", "PORT": str(port), "ADMIN_PASSWORD": PASSWORD, "AUTHORITY": f"{inside}/ca.crt"}
        done = image.run("/bin/sh", "-c", text, shared=[place], **given, **values)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    arguments = ["--listen", f"127.0.0.1:{port}", "--data", f"{inside}/data", "--retention-days", "30"]
    arguments += ["--metrics", f"127.0.0.1:{figures}"]
    arguments += ["--cert", f"{inside}/tls.crt", "--key", f"{inside}/tls.key", "--limit-bytes", "1000000"]
    with image.running("/usr/local/bin/logs", "store", *arguments, shared=[place], ADMIN_PASSWORD=PASSWORD) as server:
        wait_for("the store", lambda: _answers(lambda: ask("", "", "/health")) or None, server)
        assert "a line was found" in script(PROBE)
        for tenant in ("parks", "roads"):
            digest = hashlib.sha256(f"of {tenant}".encode()).hexdigest()
            given = {"APP_ROLE": f"{tenant}.app.logs", "OWNER": f"{tenant}/app/logs", "CONNECTIONS": "4"}
            script(PROVISION, APP_PASSWORD_SHA256=digest, **given)
            line = {"_time": datetime.now(UTC).isoformat(), "tenant": tenant, "_msg": f"line of {tenant}"}
            sent = ask("shipper", shipper_password(PASSWORD), "/insert/jsonline", json.dumps(line))
            assert sent[0] == 200, sent

        def read(tenant: str) -> str | None:
            code, text = ask(f"{tenant}.app.logs", f"of {tenant}", "/select/logsql/query", query="*")
            assert code == 200, text
            return text or None

        assert "line of parks" in wait_for("a line", lambda: read("parks"), server)
        assert "of roads" not in str(read("parks"))
        script(PROVISIONER.deprovision, ACCOUNTS="parks.app.logs parks/app/logs\nroads.app.logs other/app/logs")
        assert ask("parks.app.logs", "of parks", "/select/logsql/query", query="*")[0] == 401
        first, second = script(PROVISIONER.inventory).splitlines()
        assert first.startswith("account parks.app.logs parks/app/logs 0 locked 1")
        assert second == "account roads.app.logs roads/app/logs 0 open -"
        script(PROVISIONER.delete, ACCOUNTS="parks.app.logs parks/app/logs")
        assert script(PROVISIONER.inventory).splitlines() == [second]
        status = json.loads(ask("admin", PASSWORD, TELLER.path)[1])
        assert (status["version"], status["retention_days"]) == (logs.TYPE.versions[0], 30)
        told = TELLER.judge(status, City("c", "d", (), ()), ["one"])
        assert [text.partition(" ")[0] for text in told.problems] == ["it", "no"], told
        code, text = ask("", "", "/metrics", at=figures)
        names = set(re.findall(r"^(\w+)[ {]", text, re.MULTILINE))
        asked = " ".join(f"{panel.query} {panel.limit}" for panel in logs.TYPE.dashboard)
        assert code == 200 and set(re.findall(r"(?:vl|wecity)_\w+", asked)) <= names
        assert {ask("", "", path, at=figures)[0] for path in ("/", "/status", "/select/logsql/query")} == {404}
        read_by_the_command(port, (place / "ca.crt").read_bytes(), ask, server)
        memory = next(
            line for line in Path(f"/proc/{_program(server.pid)}/status").read_text().splitlines() if "VmHWM" in line
        )
        print("the store:", memory)


def test_a_full_volume_is_read_and_taken_up_again(unpacked: Unpacked, tmp_path: Path) -> None:
    """Others fill the volume, as where it is a directory of a node's disk."""
    image, port = unpacked("logs"), free_port()
    tmp_path.chmod(0o755)

    def ask(name: str, password: str, path: str, body: str | None = None) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        pair = b64encode(f"{name}:{password}".encode()).decode()
        connection.request("GET" if body is None else "POST", path, body, {"Authorization": f"Basic {pair}"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()

    def sent(code: int) -> bool | None:
        line = json.dumps({"_time": datetime.now(UTC).isoformat(), "tenant": "parks", "_msg": "a line"})
        return ask("shipper", shipper_password(PASSWORD), "/insert/jsonline", line)[0] == code or None

    def is_kept() -> bool | None:
        code, text = ask("admin", PASSWORD, "/select/logsql/query?query=line")
        return (code == 200 and "a line" in text) or None

    def opened(name: str) -> tuple[int, str]:
        digest = hashlib.sha256(name.encode()).hexdigest()
        account = {"name": name, "tenant": "parks", "owner": "parks/app/logs", "sha256": digest, "requests": 4}
        return ask("admin", PASSWORD, "/accounts", json.dumps({"action": "open", **account}))

    def problems() -> str:
        status = json.loads(ask("admin", PASSWORD, TELLER.path)[1])
        return "\n".join(TELLER.judge(status, City("c", "d", (), ()), []).problems)

    with small_volume(tmp_path / "volume", 128) as volume:
        command = ("/usr/local/bin/logs", "store", "--listen", f"127.0.0.1:{port}", "--data", f"/tmp{volume}")
        command += ("--metrics", f"127.0.0.1:{free_port()}", "--retention-days", "180")
        with image.running(*command, shared=[volume], ADMIN_PASSWORD=PASSWORD) as process:
            wait_for("the store", lambda: _answers(lambda: ask("", "", "/health")) or None, process)
            assert sent(200)
            wait_for("a line", is_kept, process)
            assert "full" not in problems()
            fill(volume, free=2**25)
            wait_for("the refusal", lambda: sent(429), process)
            assert "its volume is full and it takes no lines" in problems()
            assert is_kept()
            assert opened("first")[0] == 204
        filler = fill(volume)
        with image.running(*command, shared=[volume], ADMIN_PASSWORD=PASSWORD) as process:
            wait_for("the store on a full volume", lambda: _answers(lambda: ask("", "", "/health")) or None, process)
            assert is_kept()
            assert ask("first", "first", "/select/logsql/query?query=line")[0] == 200
            assert sent(429)
            code, why = opened("second")
            assert (code, "could not be stored" in why, "no space left" in why) == (500, True, True)
            filler.unlink()
            wait_for("room", lambda: sent(200), process)
            assert opened("second")[0] == 204


class Cluster:
    """What stands in for the API server: the Secrets beside the store, and a way to its port."""

    def __init__(self, port: int, authority: bytes, password: str = PASSWORD) -> None:
        self.port = port
        self.values = {"password": password.encode(), "ca.crt": authority}

    async def resource(self, version: str, kind: str) -> str:
        return kind

    async def list(self, kind: str, namespace: str, label_selector: str) -> list[Any]:
        ready = {"type": "Ready", "status": "True"}
        return [{"metadata": {"name": "logs-0"}, "status": {"conditions": [ready]}}]

    async def get(self, kind: str, name: str, namespace: str) -> dict[str, Any]:
        return {"data": {key: b64encode(value).decode() for key, value in self.values.items()}}

    @asynccontextmanager
    async def port_forward(self, namespace: str, pod: str, port: int) -> AsyncIterator[Any]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        yield Forwarded(reader, writer)
        writer.close()


class Forwarded:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def output(self) -> AsyncIterator[bytes]:
        while data := await self._reader.read(32 * 1024):
            yield data


def read_by_the_command(
    port: int, authority: bytes, ask: Callable[..., tuple[int, str]], process: subprocess.Popen[str]
) -> None:
    """What `wecityctl logs` asks a store: pages, the last lines of each container, components, and refusals."""
    server = CapabilityServer("logs", "platform-operations", "", port, ("localhost",), is_tls=True)
    target = Target(App("books", "library", "published", "internet", "L1", ()))
    began = datetime.now(UTC) - timedelta(hours=1)

    def entry(number: int, pod: str, component: str) -> str:
        # Ten lines at a time have the same one.
        at = (began + timedelta(milliseconds=number // 10)).isoformat()
        fields = {"tenant": "library", "app": "books", "component": component, "pod": pod, "container": "main"}
        return json.dumps({"_time": at, "_msg": f"{pod} {number}", **fields})

    lines = [entry(number, "web-0", "web") for number in range(2503)] + [entry(7, "job-0", "job")]
    sent = ask("shipper", shipper_password(PASSWORD), "/insert/jsonline", "\n".join(lines))
    assert sent[0] == 200, sent

    def read(*components: str, password: str = PASSWORD, **options: Any) -> list[str]:
        async def collect() -> list[str]:
            client = cast(KubeClient, Cluster(port, authority, password))
            given = {"tail": None, "since": Since(seconds=7200), **options}
            return [item.text async for item in stored_lines(client, server, target, components, **given)]

        return asyncio.run(collect())

    wait_for("all lines", lambda: len(read()) == 2504 or None, process)
    assert sorted(read()) == sorted(json.loads(line)["_msg"] for line in lines)
    assert read("job") == ["job-0 7"]
    assert len(read(tail=3)) == 4
    assert set(read("web", tail=3, since=None)) <= {f"web-0 {number}" for number in range(2493, 2503)}
    assert read(since=Since(seconds=60)) == []
    for problem in (lambda: read(password="another"), lambda: read_from_another(port, authority)):
        with pytest.raises(WecityError):
            problem()


def read_from_another(port: int, authority: bytes) -> None:
    """A server that turns out to be another one than that of the certificate."""

    async def connect() -> None:
        server = CapabilityServer("logs", "platform-operations", "", port, ("elsewhere.example",), is_tls=True)
        target = Target(App("books", "library", "published", "internet", "L1", ()))
        client = cast(KubeClient, Cluster(port, authority))
        async for _ in stored_lines(client, server, target, (), tail=1, since=None):
            pass

    asyncio.run(connect())


def _answers(call: Callable[[], tuple[int, str]]) -> bool:
    try:
        return call()[0] == 200
    except OSError:
        return False


@pytest.mark.proves("logs", "limited")
def test_whose_question_ends_the_store_waits(unpacked: Unpacked, tmp_path: Path) -> None:
    """The store is killed, as the kernel does for want of memory, while it answers: whoever asked is kept out then."""
    image, port, inside = unpacked("logs"), free_port(), f"/tmp{tmp_path}"
    for parent in (tmp_path, *tmp_path.parents[:3]):
        parent.chmod(parent.stat().st_mode | 0o055)
    (tmp_path / "data").mkdir()
    os.chown(tmp_path / "data", 65532, 65532)

    def ask(name: str, password: str, path: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        pair = b64encode(f"{name}:{password}".encode()).decode()
        connection.request("GET", path, headers={"Authorization": f"Basic {pair}"})
        return connection.getresponse()

    def code(tenant: str) -> int:
        return ask(f"{tenant}.app.logs", f"of {tenant}", "/select/logsql/query?query=*").status

    def served() -> AbstractContextManager[subprocess.Popen[str]]:
        options = ("--listen", f"127.0.0.1:{port}", "--metrics", "127.0.0.1:0", "--data", f"{inside}/data")
        return image.running("/usr/local/bin/logs", "store", *options, shared=[tmp_path], ADMIN_PASSWORD=PASSWORD)

    def up(server: subprocess.Popen[str]) -> None:
        wait_for("the store", lambda: _answers(lambda: (ask("", "", "/health").status, "")) or None, server)

    with served() as server:
        up(server)
        where = {"HOST": "127.0.0.1", "PORT": str(port), "ADMIN_PASSWORD": PASSWORD, "CONNECTIONS": "4"}
        for tenant in ("parks", "roads"):
            digest = hashlib.sha256(f"of {tenant}".encode()).hexdigest()
            given = {"APP_ROLE": f"{tenant}.app.logs", "OWNER": f"{tenant}/app/logs", "APP_PASSWORD_SHA256": digest}
            done = image.run("/bin/sh", "-c", PROVISION, **where, **given)
            assert done.returncode == 0, done.stdout + done.stderr
        assert (code("parks"), code("roads")) == (200, 200)

        def follow() -> None:
            """Ask what lasts until the store ends."""
            with suppress(OSError, http.client.HTTPException):
                ask("parks.app.logs", "of parks", "/select/logsql/tail?query=*").read()

        threading.Thread(target=follow, daemon=True).start()
        wait_for("the question", lambda: [*(tmp_path / "data" / "asking").glob("parks.*")] or None, server)
        os.kill(_program(server.pid), signal.SIGKILL)
        server.wait(20)
    with served() as server:
        up(server)
        refused = ask("parks.app.logs", "of parks", "/select/logsql/query?query=*")
        assert refused.status == 503 and 0 < int(refused.headers["Retry-After"]) <= 60
        assert code("roads") == 200
        assert not [*(tmp_path / "data" / "asking").iterdir()]


def _program(pid: int) -> int:
    """The process that the shells before it have become, or its child."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0]) if children else pid
