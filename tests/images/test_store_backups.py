"""Backups of the stores that are saved whole, with the real servers: metrics, logs and the registry.

Each is written to, backed up, and restored into an empty one and into one that has data.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from stacks.platforms.operations.logs import backup as logs_backup
from stacks.platforms.operations.logs.program import shipper_password
from stacks.platforms.operations.metrics import backup as metrics_backup
from stacks.platforms.operations.metrics.program import SERIES, STORE_PORT, store_command
from stacks.platforms.operations.registry import backup as registry_backup
from stacks.platforms.operations.registry.access import ADMIN_PORT as REGISTRY_ADMIN
from tests.images.rootfs import RootFilesystem, free_port, needs_root, wait_for
from tests.images.test_backup import World, with_tools
from tests.images.test_running import fetch
from tests.support.s3_server import S3Server, s3_server

Unpacked = Callable[[str], RootFilesystem]
pytestmark = [pytest.mark.build, pytest.mark.by_digest, needs_root, pytest.mark.timeout(500)]
PASSWORD = "adminpassword"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DAY = 86400


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("target"), "backups") as made:
        yield made


@dataclass
class Running:
    """A server, asked as its administrator; and the Jobs of its backups, all with the same target."""

    world: World
    values: dict[str, str]
    process: subprocess.Popen[str]

    def ask(
        self, path: str, body: bytes | None = None, *, user: str = "admin", password: str = PASSWORD, method: str = ""
    ) -> tuple[int, str]:
        request = urllib.request.Request(f"http://127.0.0.1:{self.world.port}{path}", body, method=method or None)
        request.add_header("Authorization", "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode())
        request.add_header("Content-Type", MANIFEST if "/manifests/" in path else "application/octet-stream")
        request.add_header("Accept", MANIFEST)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, answer.headers.get("Location", "") or answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def peak(self) -> int:
        """The most memory that the server has had, in MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert found, status
        print(self.values["CAPABILITY"], found[0])
        return int(found[1]) // 1024

    def back_up(self) -> str:
        """Back it up; the digits that say how many bytes were read."""
        done = self.world.task("backup", **self.values)
        assert done.returncode == 0, done
        found = re.search(r"wecity saved whole - [0-9a-f]+ (\d+)", done.stdout)
        assert found, done
        return found[1]

    def restore(self, replace: str, *, then: str = "") -> subprocess.CompletedProcess[str]:
        (*_, last) = self.world.snapshots()
        given = {"SNAPSHOT": last.id, "SOURCE": last.path, "ACCOUNT": last.account, "OWNER": "-"}
        return self.world.task("restore", **self.values, **given, REPLACE=replace, then=then)


@dataclass
class Kind:
    """How servers of a type are run in the tests."""

    image: RootFilesystem
    target: S3Server
    place: Path
    values: dict[str, str]

    @contextmanager
    def running(self, name: str, *commands: Callable[[str, int], list[str]]) -> Iterator[Running]:
        """Servers in an empty directory. A command is made for the directory as they see it, and a free port."""
        data, port = self.place / name, free_port()
        data.mkdir()
        os.chown(data, 65532, 65532)
        first, *rest = commands
        environment = {"ADMIN_PASSWORD": PASSWORD, "NODE_PASSWORD": "nodes", "GOMEMLIMIT": "80MiB"}
        with self.image.running(*first(f"/tmp{data}", port), shared=[data], **environment) as server:
            if rest:
                with self.running_beside(name, port, rest[0], environment) as found:
                    yield found
                return
            wait_for(name, lambda: fetch(f"http://127.0.0.1:{port}/health")[0] == 200 or None, server)
            yield self._found(port, server)

    @contextmanager
    def running_beside(
        self, name: str, behind: int, command: Callable[[str, int], list[str]], environment: dict[str, str]
    ) -> Iterator[Running]:
        data, port = self.place / name, free_port()
        words = [word.replace("BEHIND", str(behind)) for word in command(f"/tmp{data}", port)]
        with self.image.running(*words, shared=[data], **environment) as server:
            wait_for(name, lambda: fetch(f"http://127.0.0.1:{port}/health")[0] == 200 or None, server)
            yield self._found(port, server)

    def _found(self, port: int, server: subprocess.Popen[str]) -> Running:
        world = World(self.image, port, self.target, f"{self.place.name}/{self.values['CAPABILITY']}")
        return Running(world, self.values, server)


@pytest.fixture
def kind_of(
    unpacked: Unpacked, target: S3Server, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, dict[str, str]], Kind]:
    def make(name: str, values: dict[str, str]) -> Kind:
        image, place = unpacked(name), tmp_path_factory.mktemp(name)
        with_tools(image, unpacked("backup"))
        for parent in (place, *place.parents[:3]):
            parent.chmod(parent.stat().st_mode | 0o055)
        return Kind(image, target, place, {"CAPABILITY": name, **values})

    return make


def test_series_come_back_beside_those_of_today_and_count_once(
    kind_of: Callable[[str, dict[str, str]], Kind],
) -> None:
    scripts = metrics_backup.SCRIPTS
    kind = kind_of(
        "metrics",
        {"INVENTORY": scripts.inventory, "DUMP": scripts.dump, "RESTORE": scripts.restore, "ATOMIC": "no"},
    )

    def store(inside: str, port: int) -> list[str]:
        words = [word.replace(SERIES, f"{inside}/series") for word in store_command(160 * 1024**2, 2**30)]
        return [word.replace(f":{STORE_PORT}", f":{port}") for word in words]

    def door(inside: str, port: int) -> list[str]:
        listen = ["-listen", f"127.0.0.1:{port}", "-admin", f"127.0.0.1:{free_port()}"]
        return ["metrics-access", *listen, "-upstream", "http://127.0.0.1:BEHIND", "-accounts", f"{inside}/accounts"]

    now = int(time.time())
    ages = [450 * DAY, 300 * DAY, 2 * DAY, DAY + 7, 3600, 60]

    def counted(server: Running) -> list[float]:
        """How many samples the counter has, how much it has increased, and how many of another tenant there are."""
        server.ask("/internal/force_flush")
        found = []
        for query in (
            'sum(count_over_time(usage_total{tenant="parks"}[460d]))',
            'sum(increase(usage_total{tenant="parks"}[3d]))',
            'sum(count_over_time(usage_total{tenant="roads"}[460d]))',
        ):
            values = urllib.parse.urlencode({"query": query, "time": now + 1, "nocache": 1})
            code, text = server.ask(f"/api/v1/query?{values}")
            assert code == 200, text
            found.append(sum(float(item["value"][1]) for item in json.loads(text)["data"]["result"]))
        return found

    def write(server: Running, *lines: dict[str, object]) -> None:
        body = "\n".join(json.dumps(line) for line in lines).encode()
        code, text = server.ask("/api/v1/import", body)
        assert code == 204, text

    def line(tenant: str, values: list[int], times: list[int]) -> dict[str, object]:
        labels = {"__name__": "usage_total", "tenant": tenant}
        return {"metric": labels, "values": values, "timestamps": [item * 1000 for item in times]}

    many = [line(f"t{number}", list(range(240)), [now - 240 + at for at in range(240)]) for number in range(3000)]
    with kind.running("first", store, door) as server:
        write(server, line("parks", [1, 2, 5, 8, 20, 30], [now - age for age in ages]))
        write(server, line("roads", [7], [now - 30]))
        write(server, *many)
        before = counted(server)
        # The oldest is older than the store keeps any.
        assert before[0] == 5 and before[2] == 1
        first = int(server.back_up())
        # The store's own figures have come.
        assert abs(int(server.back_up()) - first) < 0.5 * first
        assert server.world.task("verify").returncode == 0
        place = kind.target.buckets / "backups" / server.world.prefix / "data"
        stored = sum(item.stat().st_size for item in place.rglob("*") if item.is_file())
        assert stored < 1.5 * first, "an unchanged store is stored twice"

    with kind.running("second", store, door) as server:
        # What was written since the backup is no reason to refuse, and stays.
        later = int(time.time()) + 2
        write(server, line("lanes", [1], [later]))
        done = server.restore("no", then="SNAPSHOT=0123abcd")
        assert done.returncode == 1 and "tampered with: nothing was changed" in done.stdout, done
        done = server.restore("no")
        assert done.returncode == 0 and "wecity restored whole" in done.stdout, done
        assert counted(server) == before
        refused = server.restore("no")
        assert refused.returncode == 1 and "wecity occupied" in refused.stdout, refused
        again = server.restore("yes")
        assert again.returncode == 0, again
        assert counted(server) == before
        code, text = server.ask("/metrics")
        peak = re.search(r"process_resident_memory_peak_bytes (\S+)", text)
        assert peak and float(peak[1]) < 160 * 2**20, "the store has taken more than its pod may"
        code, text = server.ask("/api/v1/export?match[]=usage_total{tenant=%22lanes%22}")
        assert code == 200 and str(later) in text

    # Where fewer series are taken than come back, what is missing is told.
    def narrow(inside: str, port: int) -> list[str]:
        return [*(word for word in store(inside, port) if "HourlySeries" not in word), "-storage.maxHourlySeries=100"]

    with kind.running("third", narrow, door) as server:
        done = server.restore("no")
        assert done.returncode == 1 and "of more series than it takes" in done.stderr, done
        assert "the metrics store has samples of the backup beside its own" in done.stdout, done


def test_lines_come_back_once_with_their_own_time(kind_of: Callable[[str, dict[str, str]], Kind]) -> None:
    scripts = logs_backup.SCRIPTS
    kind = kind_of(
        "logs", {"INVENTORY": scripts.inventory, "DUMP": scripts.dump, "RESTORE": scripts.restore, "ATOMIC": "no"}
    )

    def store(days: int) -> Callable[[str, int], list[str]]:
        def command(inside: str, port: int) -> list[str]:
            listen = ["--listen", f"127.0.0.1:{port}", "--metrics", f"127.0.0.1:{free_port()}"]
            kept = ["--retention-days", str(days), "--memory-bytes", str(64 * 2**20)]
            return ["logs", "store", *listen, "--data", f"{inside}/data", *kept]

        return command

    now = datetime.now(UTC)

    def write(server: Running, *lines: dict[str, str]) -> None:
        for start in range(0, len(lines), 20_000):
            body = "\n".join(json.dumps(line) for line in lines[start : start + 20_000]).encode()
            code, text = server.ask("/insert/jsonline", body, user="shipper", password=shipper_password(PASSWORD))
            assert code == 200, text

    def line(tenant: str, message: str, at: datetime, **more: str) -> dict[str, str]:
        of_it = {"tenant": tenant, "app": "trees", "pod": "trees-1", **more}
        return {"_time": at.isoformat(), **({"_msg": message} if message else {}), **of_it}

    def read(server: Running, query: str) -> list[dict[str, str]]:
        code, text = server.ask("/select/logsql/query?" + urllib.parse.urlencode({"query": query}))
        assert code == 200, text
        return sorted((json.loads(item) for item in text.splitlines()), key=lambda item: str(item.get("_time")))

    def count(server: Running) -> int:
        return int(read(server, "* | stats count() n")[0]["n"])

    old = now - timedelta(days=20)
    few = [
        line("parks", 'an oak 橡树 "<&>" \\ \t end', now - timedelta(hours=5), level="warn", trace="a\nb"),
        line("parks", "", now - timedelta(hours=4)),
        # Written twice, they are there twice.
        line("roads", "again", now - timedelta(hours=3)),
        line("roads", "again", now - timedelta(hours=3)),
        line("parks", "long " + "x" * 300_000, now - timedelta(minutes=3)),
        line("parks", "of long ago", old),
    ]
    burst = now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=30)
    many = [line("lanes", f"line {number}", burst + timedelta(milliseconds=20 * number)) for number in range(45_000)]
    with kind.running("first", store(30)) as server:
        write(server, *few, *many)
        wait_for("the lines", lambda: count(server) == len(few) + len(many) or None, server.process)
        before = read(server, "tenant:in(parks, roads)")
        first = int(server.back_up())
        # The time of the backup has more or fewer digits.
        assert abs(int(server.back_up()) - first) < 100
        place = kind.target.buckets / "backups" / server.world.prefix / "data"
        stored = sum(item.stat().st_size for item in place.rglob("*") if item.is_file())
        assert stored < first, "an unchanged store is stored twice"
        assert server.peak() < 128, "the store has taken more than its pod may"

    with kind.running("second", store(30)) as server:
        write(server, line("parks", "since", datetime.now(UTC)))
        done = server.restore("no")
        assert done.returncode == 0 and "wecity restored whole" in done.stdout, done
        assert count(server) == len(few) + len(many) + 1
        # Streams are made of the same fields, so that a tenant's account finds its own. A stream of a day that is new
        # to the store is found by its fields some seconds after its lines.
        of_parks = [item for item in before if item["tenant"] == "parks"]
        wait_for("the tenant's", lambda: read(server, '{tenant="parks"} !"since"') == of_parks or None, server.process)
        refused = server.restore("no")
        assert refused.returncode == 1 and "wecity occupied" in refused.stdout, refused
        again = server.restore("yes")
        assert again.returncode == 0, again
        time.sleep(3)
        assert count(server) == len(few) + len(many) + 1
        assert server.peak() < 128, "the store has taken more than its pod may"

    # The retention counts from the lines' own time.
    with kind.running("third", store(7)) as server:
        write(server, few[2])
        wait_for("the line", lambda: count(server) == 1 or None, server.process)
        done = server.restore("yes")
        assert done.returncode == 0 and "1 lines are older than the store keeps any" in done.stderr, done
        assert count(server) == len(few) + len(many) - 1


def test_images_come_back_by_their_digests(kind_of: Callable[[str, dict[str, str]], Kind]) -> None:
    scripts, admin = registry_backup.SCRIPTS, free_port()

    def here(text: str) -> str:
        return text.replace(f":{REGISTRY_ADMIN}", f":{admin}")

    kind = kind_of(
        "registry",
        {
            "INVENTORY": scripts.inventory,
            "DUMP": here(scripts.dump),
            "RESTORE": here(scripts.restore),
            "ATOMIC": "yes",
        },
    )

    def registry(inside: str, port: int) -> list[str]:
        return ["registry", "-listen", f"127.0.0.1:{port}", "-admin", f"127.0.0.1:{admin}", "-data", f"{inside}/data"]

    def push(server: Running, repository: str, tag: str, layer: bytes) -> str:
        """Push an image of one layer; the digest of its manifest."""
        described = []
        for content in (b"{}", layer):
            code, place = server.ask(f"/v2/{repository}/blobs/uploads/", b"", method="POST")
            assert code == 202, place
            code, text = server.ask(f"{place}&digest={digest(content)}", content, method="PUT")
            assert code == 201, text
            described.append({"mediaType": "application/x", "digest": digest(content), "size": len(content)})
        manifest = json.dumps(
            {"schemaVersion": 2, "mediaType": MANIFEST, "config": described[0], "layers": described[1:]}
        ).encode()
        code, text = server.ask(f"/v2/{repository}/manifests/{tag}", manifest, method="PUT")
        assert code == 201, text
        return digest(manifest)

    with kind.running("first", registry) as server:
        oak = push(server, "parks/web", "1", os.urandom(30_000_000))
        first = int(server.back_up())
        elm = push(server, "parks/web", "2", b"elm")
        assert int(server.back_up()) > first
        place = kind.target.buckets / "backups" / server.world.prefix / "data"
        stored = sum(item.stat().st_size for item in place.rglob("*") if item.is_file())
        assert stored < 1.5 * first, "layers are stored twice"

    with kind.running("second", registry) as server:
        city = push(server, "city/debian", "12", b"of the city")
        done = server.restore("no")
        assert done.returncode == 0 and "wecity restored whole" in done.stdout, done
        for name in (f"parks/web/manifests/{oak}", f"parks/web/manifests/{elm}", f"city/debian/manifests/{city}"):
            assert server.ask(f"/v2/{name}")[0] == 200, name
        since = push(server, "parks/web", "3", b"since")
        refused = server.restore("no")
        assert refused.returncode == 1 and "wecity occupied" in refused.stdout, refused
        # It was forgotten meanwhile, by somebody else: nothing has changed.
        broken = server.restore("yes", then="SNAPSHOT=0123abcd")
        assert broken.returncode == 1 and "tampered with: nothing was changed" in broken.stdout, broken
        assert server.ask(f"/v2/parks/web/manifests/{since}")[0] == 200
        done = server.restore("yes")
        assert done.returncode == 0, done
        assert server.ask(f"/v2/parks/web/manifests/{since}")[0] == 404
        assert server.ask("/v2/parks/web/manifests/2")[0] == 200
        assert server.peak() < 80, "the registry has taken more than its pod may"


def digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()
