"""A PostgreSQL of two members on a real node, whose primary is killed, deleted and cut off while an app writes.

The writer is in an app's pod, with the app's binding. It tells each row that was acknowledged, and when.
"""

from __future__ import annotations

import base64
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.files import CityFiles, app, document, tenant
from tests.e2e.machine import Cluster, Machine, eventually
from tests.support.real_node import require_real_node
from wecityctl.toolchain import locate

pytestmark = [pytest.mark.node, pytest.mark.timeout(500)]

NAME = "two"
SPACE, APPS = "platform-application", "parks-internet"
MEMBERS = ("postgresql-0", "postgresql-member-1-0")
PSQL = "/usr/lib/postgresql/15/bin/psql"
# Seconds until writes go on after the primary is gone. The lease alone is 20.
RESUMED = 40
WRITER = """
import os, ssl, time
from pathlib import Path
import pg8000.dbapi as driver

root = Path(os.environ["SERVICE_BINDING_ROOT"], "db")
value = lambda key: root.joinpath(key).read_text()
context = ssl.create_default_context(cafile=root / "ca.crt")

def connect():
    return driver.connect(value("username"), host=value("host"), port=int(value("port")), database=value("database"),
        password=value("password"), timeout=5, ssl_context=context)

row, connection = int(os.environ["FIRST"]), None
while True:
    row += 1
    try:
        connection = connection or connect()
        cursor = connection.cursor()
        cursor.execute("CREATE TABLE IF NOT EXISTS written (row bigint PRIMARY KEY)") if row % 1000 == 1 else None
        cursor.execute("INSERT INTO written VALUES (%s)", (row,))
        connection.commit()
        print(row, time.monotonic(), flush=True)
        time.sleep(0.02)
    except (driver.Error, OSError) as error:
        connection = None
        time.sleep(0.2)
"""


@dataclass(slots=True)
class Writer:
    """A process that writes rows; `acknowledged` has the time of each row whose commit has returned."""

    process: subprocess.Popen[str]
    acknowledged: dict[int, float] = field(default_factory=dict)

    def read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            row, _, at = line.partition(" ")
            self.acknowledged[int(row)] = float(at)

    def goes_on(self) -> None:
        """Wait until rows are acknowledged that were not before."""
        before = len(self.acknowledged)
        eventually(lambda: len(self.acknowledged) > before + 20, 2 * RESUMED)

    @property
    def pause(self) -> float:
        """The longest time without a row, in seconds."""
        times = sorted(self.acknowledged.values())
        return max(after - before for before, after in pairwise(times))


@dataclass(slots=True)
class City:
    home: Machine
    files: CityFiles
    cluster: Cluster
    rows: int = 0

    def primary(self) -> str:
        """The one pod that the Service selects."""
        selector = self.cluster.get("service", "postgresql", "-n", SPACE)["spec"]["selector"]
        labels = ",".join(f"{key}={value}" for key, value in selector.items())
        found = self.cluster.get("pods", "-n", SPACE, "-l", labels)["items"]
        (name,) = (item["metadata"]["name"] for item in found if "deletionTimestamp" not in item["metadata"])
        return str(name)

    def sql(self, member: str, query: str, code: int | None = 0) -> str:
        """A query as the administrator inside a member's pod."""
        secret = self.cluster.get("secret", "postgresql-admin", "-n", SPACE)
        password = base64.b64decode(secret["data"]["password"]).decode()
        inside = ("exec", "-n", SPACE, member, "-c", "postgresql", "--", "env", f"PGPASSWORD={password}")
        call = (PSQL, "-h", "127.0.0.1", "-U", "postgres", "-d", "parks_rows_db", "-Atc", query)
        return self.cluster.kubectl(*inside, *call, code=code).strip()

    def whole(self) -> bool:
        """Whether one member is the primary, and the other noted as the one that may take its place."""
        first = self.primary()
        noted = self.cluster.get("configmap", "postgresql-sync", "-n", SPACE)["metadata"]["annotations"]
        ready = [self.cluster.get("pod", name, "-n", SPACE) for name in MEMBERS]
        return (noted.get("leader"), noted.get("sync_standby")) == (first, other(first)) and all(map(is_ready, ready))

    def binding(self) -> Any:
        return self.cluster.get("secret", "rows-binding-db", "-n", APPS)["data"]

    @contextmanager
    def writer(self) -> Iterator[Writer]:
        words = ["exec", "-n", APPS, "deploy/rows-web", "--", "env", f"FIRST={self.rows}", "python3", "-c", WRITER]
        command = [str(locate("kubectl")), "--kubeconfig", str(self.cluster.kubeconfig), *words]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        found = Writer(process)
        thread = threading.Thread(target=found.read, daemon=True)
        thread.start()
        try:
            found.goes_on()
            yield found
            found.goes_on()
        finally:
            process.kill()
            process.wait(10)
            thread.join(10)
        self.rows = max(found.acknowledged) + 100_000
        kept = set(map(int, self.sql(self.primary(), "SELECT row FROM written").split()))
        lost = set(found.acknowledged) - kept
        assert not lost, f"{len(lost)} rows were acknowledged and are gone, from {min(lost)} to {max(lost)}"
        print(f"{len(found.acknowledged)} rows, the longest pause {found.pause:.1f} s")
        assert found.pause < RESUMED


def other(member: str) -> str:
    return next(name for name in MEMBERS if name != member)


def is_ready(pod: dict[str, Any]) -> bool:
    return any(item["type"] == "Ready" and item["status"] == "True" for item in pod["status"]["conditions"])


@pytest.fixture(scope="module")
def city(home: Machine) -> City:
    require_real_node()
    spec = {
        "domain": f"{NAME}.gov.example",
        "zones": [{"name": "internet", "kind": "internet"}],
        "images": {"source": "built", "architectures": ["amd64"]},
    }
    rows = app("rows", "parks", uses=({"capability": "postgresql", "as": "db"},))
    del rows["spec"]["route"], rows["spec"]["channels"]
    documents = [
        document("City", NAME, spec),
        document("Cloud", "main", {"provider": "local", "zones": ["internet"]}),
        document("Platform", "application", {"capabilities": [{"name": "postgresql", "storage": "1Gi"}]}),
        tenant("parks"),
        rows,
    ]
    files = CityFiles(home.root / "city", {"city.yaml": documents}).save()
    made = City(home, files, Cluster(home.state / "clouds" / f"{NAME}-main" / "kubeconfig"))
    home.run("up", files, "--yes")
    return made


def test_a_single_server_becomes_the_first_of_two_members_with_its_data(city: City) -> None:
    with city.writer():
        pass
    before = city.binding()
    city.files.one("Platform", "application")["spec"]["capabilities"][0]["replicas"] = 2
    city.files.save()
    city.home.run("up", city.files, "--yes")
    eventually(city.whole, 60)
    assert city.primary() == MEMBERS[0]
    assert int(city.sql(MEMBERS[1], "SELECT count(*) FROM written")) > 0
    assert city.binding() == before


def test_no_acknowledged_row_is_lost_when_the_primary_is_killed_twice(city: City) -> None:
    before = city.binding()
    for _ in range(2):
        eventually(city.whole, 90)
        killed = city.primary()
        with city.writer() as writer:
            # Everything in the container but its first process, which then ends too.
            city.cluster.kubectl(
                "exec", "-n", SPACE, killed, "-c", "postgresql", "--", "/bin/sh", "-c", "kill -9 -1", code=None
            )
            writer.goes_on()
        # It comes back as a copy of whoever is the primary now.
        eventually(city.whole, 90)
    assert city.binding() == before


def test_no_acknowledged_row_is_lost_when_the_primarys_pod_is_deleted(city: City) -> None:
    eventually(city.whole, 90)
    gone = city.primary()
    with city.writer() as writer:
        city.cluster.kubectl("delete", "pod", gone, "-n", SPACE, "--force", "--grace-period=0")
        writer.goes_on()
        assert city.primary() == other(gone)
    eventually(city.whole, 90)


def test_a_primary_that_is_cut_off_from_the_api_server_stops_writing_and_another_takes_over(city: City) -> None:
    eventually(city.whole, 90)
    cut = city.primary()
    address = str(city.cluster.get("service", "kubernetes", "-n", "default")["spec"]["clusterIP"])
    enter = ("nsenter", "--net", f"--target={process_of(cut)}", "ip", "route")
    with city.writer() as writer:
        subprocess.run([*enter, "add", "unreachable", address], check=True, timeout=10)
        try:
            eventually(lambda: city.sql(cut, "SELECT pg_is_in_recovery()", code=None) == "t", 60)
            refused = city.sql(cut, "INSERT INTO written VALUES (-1)", code=None)
            assert "read-only transaction" in refused
            writer.goes_on()
            # It cannot take its own label off, but is not ready, so that clients reach the other one alone.
            eventually(lambda: not is_ready(city.cluster.get("pod", cut, "-n", SPACE)))
            assert city.sql(other(cut), "SELECT pg_is_in_recovery()") == "f"
        finally:
            subprocess.run([*enter, "delete", "unreachable", address], check=True, timeout=10)
    eventually(city.whole, 90)
    assert city.primary() == other(cut)


def test_up_has_nothing_to_do_after_all_this_and_serves_a_new_app(city: City) -> None:
    city.home.run("preview", city.files, "--detailed-exitcode")
    more = app("more", "parks", uses=({"capability": "postgresql", "as": "db"},))
    del more["spec"]["route"], more["spec"]["channels"]
    city.files.add("city.yaml", more)
    city.files.save()
    city.home.run("up", city.files, "--yes")
    assert "parks_more_db" in city.sql(city.primary(), "SELECT datname FROM pg_database")


def process_of(member: str) -> int:
    """A process of a member's server, as the machine numbers it."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            environment = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if f"PATRONI_NAME={member}".encode() in environment and int(entry.name) != os.getpid():
            return int(entry.name)
    raise AssertionError(f"no process of {member}")
