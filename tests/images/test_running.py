"""The images' programs really run: as their own users, over a read-only root, on the loopback interface."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.images.rootfs import RootFilesystem, free_port, needs_root, wait_for
from tests.support.processes import children
from wecityctl.local.proctable import Identity

Unpacked = Callable[[str], RootFilesystem]
pytestmark = [pytest.mark.build, pytest.mark.by_digest, needs_root, pytest.mark.timeout(300)]

POSTGRES = "/usr/lib/postgresql/15/bin"
CACHE_ACL = "on >cachepassword resetkeys ~health:web:* resetchannels -@all +@read +@write +@connection"


@contextmanager
def postgresql(image: RootFilesystem, data: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    """A server over `data`, made the way the manifests make it."""
    os.chown(data, 999, 999)
    (data / "password").write_text("adminpassword")
    inside = f"/tmp{data}"
    made = image.run(
        f"{POSTGRES}/initdb", f"--pgdata={inside}/pg", "--username=postgres", f"--pwfile={inside}/password",
        "--auth-local=scram-sha-256", "--auth-host=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8",
        "--data-checksums", shared=[data],
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    options = ["-D", f"{inside}/pg", "-c", "listen_addresses=127.0.0.1", "-p", str(port), "-k", "/tmp"]
    with image.running(f"{POSTGRES}/postgres", *options, shared=[data]) as server:
        ready = [f"{POSTGRES}/pg_isready", "--host=127.0.0.1", f"--port={port}", "--quiet"]
        wait_for("a PostgreSQL server", lambda: image.run(*ready).returncode == 0 or None, server)
        yield server


@contextmanager
def cache(image: RootFilesystem, data: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    """A cache server with one user, by the names that manifests use."""
    (data / "cache.conf").write_text(
        f"bind 127.0.0.1\nport {port}\nsave ''\nappendonly no\ndir /tmp\nuser default off\nuser web {CACHE_ACL}\n"
    )
    with image.running("valkey-server", f"/tmp{data}/cache.conf", shared=[data]) as server:
        wait_for("a cache server", lambda: socket.create_connection(("127.0.0.1", port), 1).close() or True, server)
        yield server


def bind(root: Path, name: str, **entries: object) -> None:
    """A binding in the shape of the Service Binding specification."""
    (root / name).mkdir(parents=True)
    for key, value in entries.items():
        (root / name / key).write_text(str(value))


def fetch(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.fixture(scope="module")
def services(unpacked: Unpacked, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A database and a cache that run, and bindings to them."""
    # Not under pytest's own directory, which other users may not enter.
    place = tmp_path_factory.mktemp("services")
    for parent in (place, *place.parents[:3]):
        parent.chmod(parent.stat().st_mode | 0o055)
    (database, kept, bindings) = (place / "database", place / "cache", place / "bindings")
    database.mkdir()
    kept.mkdir()
    ports = free_port(), free_port()
    image = unpacked("postgresql")
    with postgresql(image, database, ports[0]), cache(unpacked("cache"), kept, ports[1]):
        role = "CREATE ROLE web LOGIN PASSWORD 'webpassword'"
        for statement in (role, "CREATE DATABASE web OWNER web"):
            psql = [
                f"{POSTGRES}/psql",
                "--host=127.0.0.1",
                f"--port={ports[0]}",
                "--username=postgres",
                "-c",
                statement,
            ]
            done = image.run(*psql, PGPASSWORD="adminpassword")
            assert done.returncode == 0, done.stderr
        common = {"host": "127.0.0.1", "username": "web"}
        bind(bindings, "db", type="postgresql", port=ports[0], database="web", password="webpassword", **common)
        bind(bindings, "cache", type="redis", port=ports[1], password="cachepassword", prefix="health:web:", **common)
        yield bindings


@contextmanager
def app(image: RootFilesystem, shared: list[Path], **env: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The sample app, its address and its process."""
    port = free_port()
    names = {"APP_NAME": "health-code", "APP_TENANT": "health-commission", "APP_TITLE": "健康码 <&>", "PORT": str(port)}
    with image.running("python3", "-m", "sample_app", shared=shared, **(names | env)) as process:
        url = f"http://127.0.0.1:{port}"
        wait_for("the app", lambda: fetch(f"{url}/healthz")[0] == 200 or None, process)
        yield url, process


@pytest.mark.proves("postgresql", "built", "used")
def test_app_reads_its_database_and_cache(unpacked: Unpacked, services: Path) -> None:
    image = unpacked("sample-app")
    with app(image, [services], SERVICE_BINDING_ROOT=f"/tmp{services}") as (url, _):
        assert fetch(f"{url}/readyz") == (200, '{"problems": {}}\n')
        status, page = fetch(url)
        assert status == 200, page
        assert "健康码 &lt;&amp;&gt;" in page
        assert "health-code" in page
        assert "health-commission" in page
        assert '<dd id="database-role">web</dd>' in page
        assert '<dd id="cache-visits">1</dd>' in page
        first = json.loads(fetch(f"{url}/api/state")[1])
        assert first["cache"] == {"visits": 2, "prefix": "health:web:"}
        assert first["database"]["note"] == "健康码 <&>: health-code / health-commission"
    with app(image, [services], SERVICE_BINDING_ROOT=f"/tmp{services}", APP_TITLE="another") as (url, _):
        again = json.loads(fetch(f"{url}/api/state")[1])
        # The row of the first run is still there: it came from the database, not from the app.
        assert again["database"] == first["database"]
        assert again["cache"]["visits"] == 3


def test_app_without_bindings(unpacked: Unpacked) -> None:
    with app(unpacked("sample-app"), []) as (url, _):
        status, page = fetch(url)
        assert status == 200
        assert page.count("未绑定 Not bound") == 2
        assert fetch(f"{url}/readyz")[0] == 200
        assert fetch(f"{url}/nothing")[0] == 404


def test_app_says_what_is_wrong_and_lives_on(unpacked: Unpacked, services: Path, tmp_path: Path) -> None:
    bindings = services.parent / "broken"
    bind(
        bindings, "db", type="postgresql", host="127.0.0.1", port=free_port(), database="x", username="x", password="x"
    )
    with app(unpacked("sample-app"), [bindings], SERVICE_BINDING_ROOT=f"/tmp{bindings}") as (url, _):
        assert fetch(f"{url}/healthz") == (200, "ok\n")
        status, problems = fetch(f"{url}/readyz")
        assert status == 503
        assert "database" in json.loads(problems)["problems"]
        status, page = fetch(url)
        assert status == 503
        assert "暂不可用 Unavailable" in page


def test_app_ends_in_order(unpacked: Unpacked) -> None:
    with app(unpacked("sample-app"), []) as (_, process):
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert time.monotonic() - started < 5


def test_check_refuses_what_the_credentials_do_not_allow(unpacked: Unpacked, services: Path) -> None:
    image = unpacked("sample-app")

    def check(*arguments: str) -> tuple[int, dict[str, object]]:
        root = {"SERVICE_BINDING_ROOT": f"/tmp{services}"}
        done = image.run("python3", "-m", "sample_app.check", *arguments, shared=[services], **root)
        return done.returncode, json.loads(done.stdout)

    assert check("postgresql", "SELECT current_user")[1]["rows"] == [["web"]]
    code, refused = check("postgresql", "--password", "wrong", "SELECT 1")
    assert (code, refused["ok"]) == (1, False)
    assert "password authentication failed" in str(refused["message"])
    assert check("cache", "SET", "health:web:checks", "1")[1]["answer"] is True
    code, refused = check("cache", "GET", "other:web:visits")
    assert (code, refused["error"]) == (1, "NoPermissionError")
    code, refused = check("tcp", "127.0.0.1", str(free_port()))
    assert (code, refused["error"]) == (1, "ConnectionRefusedError")


@pytest.mark.proves("gateway", "built")
def test_gateway_judges_and_reloads_its_configuration(unpacked: Unpacked, services: Path) -> None:
    image, place, port = unpacked("gateway"), services.parent / "gateway", free_port()
    place.mkdir()

    def configure(answer: str) -> None:
        temporary = "".join(
            f"{kind}_temp_path /tmp/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (place / "nginx.conf").write_text(
            f"pid /tmp/nginx.pid; error_log stderr; events {{}} http {{ include /etc/nginx/mime.types; {temporary}"
            f" access_log off; server {{ listen 127.0.0.1:{port}; location / {{ return 200 '{answer}'; }} }} }}"
        )

    path = f"/tmp{place}/nginx.conf"
    configure("one")
    judged = image.run("nginx", "-t", "-e", "stderr", "-c", path, shared=[place])
    assert judged.returncode == 0, judged.stderr
    with image.running("nginx", "-e", "stderr", "-c", path, "-g", "daemon off;", shared=[place]) as process:
        url = f"http://127.0.0.1:{port}/"
        wait_for("nginx", lambda: fetch(url) == (200, "one") or None, process)
        configure("two")
        process.send_signal(signal.SIGHUP)
        wait_for("the new configuration", lambda: fetch(url) == (200, "two") or None, process)
    (place / "nginx.conf").write_text("events {} http { nonsense; }")
    judged = image.run("nginx", "-t", "-e", "stderr", "-c", path, shared=[place])
    assert judged.returncode != 0
    assert 'unknown directive "nonsense"' in judged.stderr


def test_pause_reaps_orphans_and_ends_when_told(built: Callable[..., dict], unpacked: Unpacked) -> None:  # type: ignore[type-arg]
    program = unpack_program(built("pause")["pause"].archive)
    # As the first process of a PID namespace it inherits what its shell leaves.
    script = f"(sleep 0.3 & exec sleep 0.1) & sleep 0.2; exec {program}"
    process = subprocess.Popen(["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c", script])
    try:
        first = wait_for("pause", lambda: _child_running(process.pid, str(program)), process)
        # A zombie would be in the kernel's list, and not among those that run.
        kept = Path(f"/proc/{first.pid}/task/{first.pid}/children")
        wait_for("no child of pause", lambda: kept.read_text() == "" or None, process, 30)
        assert first.send(signal.SIGTERM)
        assert process.wait(5) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def unpack_program(archive: Path) -> Path:
    from wecityctl.oci.layout import read_layers

    place = archive.with_name("program")
    place.mkdir(exist_ok=True)
    _, files = read_layers(archive, place)
    program = place / "pause"
    program.write_bytes(files["pause"].read())
    program.chmod(0o755)
    return program


def _child_running(pid: int, program: str) -> Identity | None:
    for child in children(pid):
        if str(Path(f"/proc/{child.pid}/exe").readlink()) == program:
            return child
    return None


def test_coredns_starts(built: Callable[..., dict], tmp_path: Path) -> None:  # type: ignore[type-arg]
    from wecityctl.oci.layout import read_layers

    _, files = read_layers(built("coredns")["coredns"].archive, tmp_path)
    program = tmp_path / "coredns"
    program.write_bytes(files["coredns"].read())
    program.chmod(0o755)
    done = subprocess.run([program, "-version"], capture_output=True, text=True, check=True)
    assert "1.14.7" in done.stdout
