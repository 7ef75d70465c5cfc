"""The log store's image: started as its user over a read-only root with a certificate, and used by its own scripts."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import ssl
import subprocess
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode

import pytest

from stacks.platforms.operations import logs
from stacks.platforms.operations.logs.health import PROBE
from stacks.platforms.operations.logs.program import shipper_password
from stacks.platforms.operations.logs.provision import PROVISION, PROVISIONER
from stacks.platforms.operations.logs.telling import TELLER
from tests.images.rootfs import RootFilesystem, free_port, needs_root, wait_for
from tests.support.pki import Authority
from wecityctl.model.city import City

Unpacked = Callable[[str], RootFilesystem]
pytestmark = [pytest.mark.build, needs_root, pytest.mark.timeout(500)]

PASSWORD = "administrator"


def test_the_go_packages() -> None:
    """Their own tests: what a tenant may ask of a real store, and what a shipper does at moments that are rare."""
    done = subprocess.run(
        ["go", "test", "-trimpath", "-buildvcs=false", "-mod=readonly", "-vet=off", "./..."],
        cwd=Path(logs.__file__).parent / "image/go",
        env={**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr


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
    port, inside = free_port(), f"/tmp{place}"
    context = ssl.create_default_context(cafile=str(place / "ca.crt"))

    def ask(name: str, password: str, path: str, body: str | None = None, **values: str) -> tuple[int, str]:
        connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=10)
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
        memory = next(
            line for line in Path(f"/proc/{_program(server.pid)}/status").read_text().splitlines() if "VmHWM" in line
        )
        print("the store:", memory)


def _answers(call: Callable[[], tuple[int, str]]) -> bool:
    try:
        return call()[0] == 200
    except OSError:
        return False


def _program(pid: int) -> int:
    """The process that the shells before it have become, or its child."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0]) if children else pid
