"""Another user of the machine beside a city's `up`: tries every port and socket that belongs to it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import ssl
import stat
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attack.ports import listening
from tests.attack.stranger import answers_of
from tests.e2e.files import SIMULATED, CityFiles, hamlet
from tests.e2e.machine import Machine
from tests.listeners.second_user import NEEDS_ROOT, as_second_user
from wecityctl.local.store import run_path

pytestmark = [pytest.mark.cluster, NEEDS_ROOT]

NAME = "watched"
PASSPHRASE = "a passphrase that nobody else may see"
# What an unauthenticated client may know of the cloud's processes: that they live, and kwok's counters.
PATHS = ("/", "/api", "/api/v1/secrets", "/apis", "/configz", "/debug/pprof/heap", "/exec/a/b/c", "/logs/", "/metrics")
HEALTH = ("/healthz", "/livez", "/readyz")


@pytest.fixture(scope="module")
def city(home: Machine) -> CityFiles:
    home.passphrase = PASSPHRASE
    return hamlet(home.root / "city", NAME, SIMULATED)


@pytest.fixture(scope="module")
def cloud(home: Machine) -> Path:
    return home.state / "clouds" / f"{NAME}-main"


def services(cloud: Path) -> dict[str, int]:
    """The processes of the embedded cloud, its supervisor among them."""
    try:
        record = json.loads((cloud / "supervisor.json").read_text())
    except (OSError, ValueError):
        return {}
    return {"supervisor": record["supervisor"]["pid"], **{name: it["pid"] for name, it in record["children"].items()}}


def words_of(process: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return ""


@contextlib.contextmanager
def stopped(process: int) -> Iterator[None]:
    """The process stands still meanwhile."""
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


def engine_ports(home: Machine) -> dict[int, int]:
    """The run's ports, once an engine, a language host and the built-in provider listen; empty before."""
    found = listening(home.processes())
    owners = {process: words_of(process) for process in found.values()}
    engines = [process for process, words in owners.items() if "/pulumi " in words and " up " in words]
    others = [process for process in owners if process not in engines]
    return found if engines and len(others) > 1 else {}


def test_during_up_nobody_else_is_answered(home: Machine, city: CityFiles, cloud: Path, tmp_path: Path) -> None:
    mark = tmp_path / "run-by-a-stranger"
    with home.running("up", city, "--yes", "-o", "json") as up:
        ports: dict[int, int] = {}
        deadline = time.monotonic() + 200
        while up.poll() is None and time.monotonic() < deadline:
            # While the API server stands still the stack's run waits for it: there is time for every attempt.
            known = services(cloud) if engine_ports(home) else {}
            if server := known.get("kube-apiserver"):
                # Its supervisor too, which would start a server anew that does not answer.
                with stopped(known["supervisor"]), stopped(server):
                    # The engine may have opened one of its ports, and not yet the other.
                    for _ in range(10):
                        time.sleep(0.3)
                        ports = engine_ports(home)
                        if len(ports) >= 4:
                            break
                    if ports:
                        answers = answers_of(ports, str(mark))
                        break
            time.sleep(0.02)
        assert ports, "the run's ports were not seen"
        out, _ = up.communicate(timeout=200)
    # Engine: monitor, engine service and what it opens for its plug-ins. One port each of language host and provider.
    assert len(ports) >= 4
    for port, found in answers.items():
        assert found.pop("hello") == "nothing", (port, words_of(ports[port]))
        assert set(found.values()) <= {"UNAVAILABLE", "DEADLINE_EXCEEDED"}, (port, found)
    assert not mark.exists()
    assert up.returncode == 0, out
    assert "a stranger was here" not in out
    result = next(line["result"] for line in map(json.loads, out.splitlines()) if line["event"] == "run_finished")
    assert {item["outcome"] for item in result["stacks"]} == {"succeeded"}
    state = (home.state / "state").rglob("*.json")
    assert not any("stranger" in path.read_text(errors="replace") for path in state)
    assert not home.processes(), "a guard or a plug-in was left behind"


def status(url: str) -> int:
    """What an HTTP server answers to somebody without credentials; 0 where it is none."""
    context = ssl._create_unverified_context()

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: object) -> None:
            return None

    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), Stay)
    try:
        return int(opener.open(url, timeout=5).status)
    except urllib.error.HTTPError as error:
        return error.code
    except (OSError, ValueError):
        return 0


def test_the_clouds_ports_give_nothing_away(home: Machine, cloud: Path) -> None:
    running = services(cloud)
    ports = listening(running.values())
    names = {process: name for name, process in running.items()}
    assert {names[process] for process in ports.values()} == {
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
        "kwok",
    }
    asked = {(names[process], path): port for port, process in ports.items() for path in (*PATHS, *HEALTH)}

    def ask() -> dict[tuple[str, str], list[int]]:
        return {
            (name, path): [status(f"{scheme}://127.0.0.1:{port}{path}") for scheme in ("http", "https")]
            for (name, path), port in asked.items()
        }

    status("https://127.0.0.1:1/")
    answers = as_second_user(ask)
    open_to_all = {key for key, found in answers.items() if any(200 <= code < 300 for code in found)}
    assert {key for key in open_to_all if key[1] not in HEALTH} == {("kwok", "/metrics")}
    assert {name for name, path in open_to_all} == set(names.values()) - {"supervisor", "etcd", "volume-provisioner"}


def test_the_clouds_sockets_are_their_owners(cloud: Path) -> None:
    run = run_path(cloud)
    sockets = [path for path in run.rglob("*") if stat.S_ISSOCK(path.stat().st_mode)]
    assert {path.name for path in sockets} >= {"control.sock", "etcd.sock"}

    def connect() -> list[str]:
        found = []
        for path in sockets:
            with socket.socket(socket.AF_UNIX) as connection:
                try:
                    connection.connect(str(path))
                    found.append("connected")
                except OSError as error:
                    found.append(type(error).__name__)
        return found

    assert set(as_second_user(connect)) == {"PermissionError"}
    # An abstract socket has no directory around it: nobody has one.
    inodes = {
        str(each.readlink()).removeprefix("socket:[").removesuffix("]")
        for process in services(cloud).values()
        for each in Path(f"/proc/{process}/fd").iterdir()
        if str(each.readlink()).startswith("socket:")
    }
    lines = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    assert not [line for line in lines if line[6] in inodes and len(line) > 7 and line[7].startswith("@")]


def test_no_process_that_stays_has_the_passphrase(home: Machine, cloud: Path) -> None:
    running = services(cloud)
    assert {"supervisor", "etcd", "kwok"} <= set(running)
    for name, process in running.items():
        environment = Path(f"/proc/{process}/environ").read_bytes()
        assert b"PATH=" in environment, name
        assert PASSPHRASE.encode() not in environment, name
        assert b"PULUMI_" not in environment and b"WECITYCTL_" not in environment, name


def test_afterwards_the_city_is_as_its_files_say(home: Machine, city: CityFiles) -> None:
    assert home.run("up", city, "--yes", "--no-skip", "-o", "json").changes() == set()
