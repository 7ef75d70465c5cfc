"""The metrics image: the store behind its door, scripts that make accounts, and dashboards in a real browser."""

from __future__ import annotations

import asyncio
import base64
import http.client
import http.server
import json
import os
import re
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from stacks.platforms.application import configuration, notification, workflow
from stacks.platforms.application.gateway import TYPE
from stacks.platforms.data import data_services, iot
from stacks.platforms.operations import alerts, logs, metrics, registry, vault
from stacks.platforms.operations.alerts.rules import DEFAULT, backups_missing
from stacks.platforms.operations.metrics.access import ADMIN_PORT, DELETE, DEPROVISION, INVENTORY, PROVISION
from stacks.platforms.operations.metrics.health import PROBE
from stacks.platforms.operations.metrics.program import SERIES, STORE_PORT, store_command
from stacks.platforms.operations.metrics.scraping import Target, job_of
from tests.images import city_series
from tests.images.rootfs import RootFilesystem, fill, free_port, needs_root, small_volume, wait_for
from tests.images.test_running import fetch
from tests.support import browser
from wecityctl.dashboards import pages
from wecityctl.dashboards.boards import Dashboard
from wecityctl.dashboards.lines import Span
from wecityctl.event_loops import run_async
from wecityctl.model.catalogue import Panel
from wecityctl.model.metering import USAGE_SECONDS, CloudUsage, Coverage, Gap, Owner, Period
from wecityctl.operations.capability_servers import Conversation
from wecityctl.operations.dashboards import answers_of, dashboards, filled
from wecityctl.operations.usage.reading import Counter, read_usage
from wecityctl.session import Session, open_session

Unpacked = Callable[[str], RootFilesystem]
pytestmark = [pytest.mark.build, pytest.mark.by_digest, needs_root, pytest.mark.timeout(500)]
ROOT = Path(__file__).parents[2]
# Pictures of dashboards in the documentation: file, page, and the window's size in pixels. With WECITYCTL_PICTURES set
# the tests write them anew.
PICTURES = ROOT / "docs" / "pictures"
SHOWN = {
    "dashboard-city": (pages.FIRST, 1180, 1360),
    "dashboard-app": ("app.transport-bureau.bus-arrival.html", 1180, 880),
    "dashboard-capability": ("capability.metrics.html", 1180, 1180),
}
PASSWORD = "the-password-of-an-administrator"


def test_the_go_programs_pass_their_own_tests() -> None:
    done = subprocess.run(
        ["go", "test", "-trimpath", "-buildvcs=false", "-mod=readonly", "-vet=off", "./access", "./state"],
        cwd=Path(metrics.__file__).parent / "image/go",
        env={**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


class Store:
    """A store that runs, and its administrator's scripts."""

    def __init__(self, image: RootFilesystem, port: int) -> None:
        self.image, self.port = image, port

    def script(self, text: str, **env: str) -> str:
        where = {"HOST": "127.0.0.1", "PORT": str(self.port), "ADMIN_PASSWORD": PASSWORD}
        done = self.image.run("/bin/sh", "-c", text, **where, **env)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def ask(self, user: str, password: str, path: str, body: bytes | None = None) -> tuple[int, str]:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data=body)
        account = base64.b64encode(f"{user}:{password}".encode()).decode()
        request.add_header("Authorization", f"Basic {account}")
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def found(self, user: str, query: str) -> set[tuple[str, str]]:
        """Tenant and value of each series that the user's query finds."""
        path = "/api/v1/query?" + urllib.parse.urlencode({"query": query})
        code, text = self.ask(user, PASSWORD, path)
        assert code == 200, text
        return {(item["metric"].get("tenant", ""), item["value"][1]) for item in json.loads(text)["data"]["result"]}


@pytest.fixture(scope="module")
def store(unpacked: Unpacked, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    image = unpacked("metrics")
    place = tmp_path_factory.mktemp("metrics")
    for parent in (place, *place.parents[:3]):
        parent.chmod(parent.stat().st_mode | 0o055)
    for name in ("series", "accounts"):
        (place / name).mkdir()
        os.chown(place / name, 65532, 65532)
    port, inner, inside = free_port(), free_port(), f"/tmp{place}"
    with (
        image.running(
            "/usr/local/bin/victoria-metrics",
            f"-storageDataPath={inside}/series",
            f"-httpListenAddr=127.0.0.1:{inner}",
            "-search.latencyOffset=1s",
            "-loggerLevel=WARN",
            shared=[place],
        ),
        image.running(
            "/usr/local/bin/metrics-access",
            *("-listen", f"127.0.0.1:{port}", "-admin", f"127.0.0.1:{ADMIN_PORT}"),
            *("-upstream", f"http://127.0.0.1:{inner}", "-accounts", f"{inside}/accounts"),
            shared=[place],
            ADMIN_PASSWORD=PASSWORD,
        ) as door,
    ):
        wait_for("the store", lambda: fetch(f"http://127.0.0.1:{port}/health")[0] == 200 or None, door)
        yield Store(image, port)


@pytest.mark.proves("metrics", "built", "used", "refused")
def test_each_tenant_reads_its_own_series(store: Store) -> None:
    for owner in ("health/code/metrics", "transport/bus/metrics", "capability/alerts/metrics"):
        role = owner.replace("/", ".")
        store.script(PROVISION, OWNER=owner, APP_ROLE=role, APP_PASSWORD=PASSWORD, CONNECTIONS="4")
    lines = b'requests{tenant="health"} 7\nrequests{tenant="transport"} 8\nrequests 9\n'
    assert store.ask("health.code.metrics", PASSWORD, "/api/v1/import/prometheus", lines)[0] == 403
    assert store.ask("admin", PASSWORD, "/api/v1/import/prometheus", lines)[0] == 204
    deadline = time.monotonic() + 20
    while not store.found("health.code.metrics", "requests") and time.monotonic() < deadline:
        time.sleep(0.5)
    assert store.found("health.code.metrics", "requests") == {("health", "7")}
    assert store.found("health.code.metrics", 'requests{tenant="transport"} or requests') == {("health", "7")}
    assert store.found("transport.bus.metrics", "requests") == {("transport", "8")}
    assert store.found("capability.alerts.metrics", "requests") == {("health", "7"), ("transport", "8"), ("", "9")}
    body = b"query=requests&extra_filters%5B%5D=%7Btenant%3D%22transport%22%7D"
    assert store.ask("health.code.metrics", PASSWORD, "/api/v1/query", body)[0] == 400
    values = json.loads(store.ask("health.code.metrics", PASSWORD, "/api/v1/label/tenant/values")[1])
    assert values["data"] == ["health"]


# A label may be called as the metric's name is, and come twice.
FORGED = b"""
forged_plain 1
up 1
forged{__name__="up",job="state"} 1
forged{__name__="kube_node_status_condition",condition="Ready",node="ghost"} 0
forged{__name__="wecity_unread",tenant="a",tenant="transport",app="a",app="bus",capability="metrics"} 1
"""


def test_an_app_cannot_make_up_series_of_the_city(store: Store, unpacked: Unpacked, tmp_path: Path) -> None:
    """The agent itself reads what an app says, as it is told to for apps."""

    class App(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(FORGED)

        def log_message(self, *words: object) -> None:
            pass

    for parent in (tmp_path, *tmp_path.parents[:3]):
        parent.chmod(parent.stat().st_mode | 0o055)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), App) as app:
        threading.Thread(target=app.serve_forever, daemon=True).start()
        labels = {"tenant": "parks", "app": "forger", "component": "web"}
        job = job_of(Target("parks-internet", {}, app.server_port, "/metrics", labels), "")
        # Pods are found by the API server, which is none here.
        del job["kubernetes_sd_configs"], job["relabel_configs"]
        job |= {"static_configs": [{"targets": [f"127.0.0.1:{app.server_port}"], "labels": labels}]}
        settings = {"global": {"scrape_interval": "1s"}, "scrape_configs": [job]}
        (tmp_path / "scrape.yaml").write_text(json.dumps(settings))
        (tmp_path / "password").write_text(PASSWORD)
        with unpacked("metrics").running(
            *("/usr/local/bin/vmagent", f"-promscrape.config=/tmp{tmp_path}/scrape.yaml"),
            f"-remoteWrite.url=http://127.0.0.1:{store.port}/api/v1/write",
            *("-remoteWrite.basicAuth.username=admin", f"-remoteWrite.basicAuth.passwordFile=/tmp{tmp_path}/password"),
            *("-remoteWrite.tmpDataPath=/tmp/queue", f"-httpListenAddr=127.0.0.1:{free_port()}"),
            shared=[tmp_path],
        ) as agent:

            def names() -> set[tuple[str, ...]] | None:
                told = json.loads(store.ask("admin", PASSWORD, "/api/v1/series?match[]=%7Bapp=%22forger%22%7D")[1])
                found = {tuple(item.get(key, "") for key in ("__name__", "tenant", "job")) for item in told["data"]}
                return found if "forged_plain" in {name for name, *_ in found} else None

            found = wait_for("what the app says", names, agent)
        app.shutdown()
    own = {item for item in found if not item[0].startswith("scrape_")}
    job_name = f"parks/forger/web/{app.server_port}"
    assert own == {(name, "parks", job_name) for name in ("up", "exported_up", "forged", "forged_plain")}
    # The agent's own, of its target.
    assert store.found("admin", 'count(up{app="forger"})') == {("", "1")}


def test_who_leaves_is_locked_and_then_forgotten(store: Store) -> None:
    account, owner = "health.old.metrics", "health/old/metrics"
    store.script(PROVISION, OWNER=owner, APP_ROLE=account, APP_PASSWORD=PASSWORD, CONNECTIONS="4")
    assert store.ask(account, PASSWORD, "/api/v1/labels")[0] == 200
    store.script(DEPROVISION, ACCOUNTS=f"{account} transport/old/metrics")
    assert store.ask(account, PASSWORD, "/api/v1/labels")[0] == 200
    store.script(DEPROVISION, ACCOUNTS=f"{account} {owner}")
    assert store.ask(account, PASSWORD, "/api/v1/labels")[0] == 401
    assert f"account {account} {owner} 0 locked " in store.script(INVENTORY)
    store.script(DELETE, ACCOUNTS=f"{account} {owner}")
    assert account not in store.script(INVENTORY)


def test_the_probe_writes_reads_and_deletes(store: Store) -> None:
    assert "was written, read and deleted" in store.script(PROBE)
    assert store.found("admin", '{__name__=~"wecity_probe.*"}') == set()


@pytest.mark.proves("metrics", "limited")
def test_a_client_that_opens_many_connections_loses_its_own(store: Store) -> None:
    """From another address than the tests' own, which the door takes for another client."""

    def is_open(connection: http.client.HTTPConnection) -> bool:
        try:
            connection.request("GET", "/health")
            return connection.getresponse().read() == b"OK"
        except OSError:
            return False

    def connected(address: str) -> http.client.HTTPConnection:
        made = http.client.HTTPConnection("127.0.0.1", store.port, timeout=10, source_address=(address, 0))
        # One that is closed is not opened again.
        made.auto_open = 0
        made.connect()
        assert is_open(made)
        return made

    others, opened = connected("127.0.0.2"), [connected("127.0.0.3") for _ in range(72)]
    assert [is_open(item) for item in opened] == [False] * 8 + [True] * 64
    assert is_open(others)
    for item in (others, *opened):
        item.close()


@pytest.mark.parametrize(
    "copies",
    [
        (metrics, "access/gate.go", logs, "store/gate.go"),
        (metrics, "access/breaker.go", logs, "store/breaker.go"),
        (metrics, "access/volume.go", logs, "store/volume.go"),
        (metrics, "access/volume.go", vault, "volume.go"),
        (metrics, "access/gate.go", registry, "gate.go"),
        (metrics, "access/volume.go", registry, "volume.go"),
        (metrics, "access/gate.go", data_services, "serve/gate.go"),
        (metrics, "access/gate.go", workflow, "gate.go"),
        (metrics, "access/gate.go", configuration, "serve/gate.go"),
        (metrics, "access/gate.go", notification, "serve/gate.go"),
        (data_services, "serve/certificate.go", notification, "serve/certificate.go"),
        (alerts, "webhooks/addresses.go", notification, "serve/addresses.go"),
    ],
)
def test_go_modules_have_the_same_file(copies: tuple[ModuleType, str, ModuleType, str]) -> None:
    """An image is built of its own folder alone. The first line names the package."""
    one, name, other, its_name = copies
    texts = {
        (Path(str(package.__file__)).parent / "image/go" / file).read_text(encoding="utf-8").partition("\n")[2]
        for package, file in ((one, name), (other, its_name))
    }
    assert len(texts) == 1


def test_it_tells_how_full_its_volume_is(store: Store) -> None:
    """On the port that the observer reads, as `df` says it."""
    with urllib.request.urlopen(f"http://127.0.0.1:{ADMIN_PORT}/metrics", timeout=10) as answer:
        told = dict(re.findall(r"^(wecity_volume_bytes_\w+) (\d+)$", answer.read().decode(), re.MULTILINE))
    found = os.statvfs("/tmp")
    used, free = (found.f_blocks - found.f_bfree) * found.f_frsize, found.f_bavail * found.f_frsize
    assert int(told["wecity_volume_bytes_used"]) == pytest.approx(used, rel=0.02)
    assert int(told["wecity_volume_bytes_size"]) == pytest.approx(used + free, rel=0.02)


def test_a_full_volume_is_read_and_taken_up_again(unpacked: Unpacked, tmp_path: Path) -> None:
    """The store with its own options; others fill the volume, as where it is a directory of a node's disk."""
    image, port = unpacked("metrics"), free_port()
    store = Store(image, port)
    tmp_path.chmod(0o755)
    # The store keeps a figure of itself every 15 seconds. The rule itself waits for a minute.
    rule = metrics.TYPE.alerts[0].expression.replace("[1m]", "[20s]")

    def is_up() -> bool | None:
        return store.ask("admin", PASSWORD, "/health")[0] == 200 or None

    def taken(code: int) -> bool | None:
        return store.ask("admin", PASSWORD, "/api/v1/import/prometheus", b"kept 1\n")[0] == code or None

    def fires() -> bool:
        return store.found("admin", rule) != set()

    def is_kept() -> bool | None:
        return store.found("admin", "max_over_time(kept[1h])") == {("", "1")} or None

    with small_volume(tmp_path / "volume", 128) as volume:
        command = [
            item.replace(SERIES, f"/tmp{volume}/series").replace(f":{STORE_PORT}", f":{port}")
            for item in store_command(2**27, 128 * 2**20)
        ]
        with image.running(*command, shared=[volume]) as process:
            wait_for("the store", is_up, process)
            assert taken(204)
            wait_for("a value", is_kept, process)
            wait_for("its own figure", lambda: not fires() or None, process)
            fill(volume, free=2**22)
            wait_for("the refusal", lambda: taken(503), process)
            wait_for("the alert", lambda: fires() or None, process, 60)
            assert is_kept()
        filler = fill(volume)
        with image.running(*command, shared=[volume]) as process:
            wait_for("the store on a full volume", is_up, process)
            assert is_kept()
            assert taken(503)
            filler.unlink()
            wait_for("room", lambda: taken(204), process)
            wait_for("the end of the alert", lambda: not fires() or None, process)


# The time in the series of rules' cases, which is that of the test when it runs: cases are the same for all workers.
NOW = 1_800_000_000
OWNER = 'tenant="health",namespace="health-internet"'
QUOTA = "kube_resourcequota{{" + OWNER + ',resource="limits.memory",type="{type}"}} {value}\n'
JOB = 'platform="application",capability="postgresql",component="backup",cronjob="postgresql-backup"'


def quota(used: int, hard: int) -> str:
    return QUOTA.format(type="used", value=used) + QUOTA.format(type="hard", value=hard)


def certificate(days: float) -> str:
    """A certificate that ends in so many days."""
    end = NOW + round(days * 86_400)
    return f'wecity_certificate_end_time_seconds{{platform="data",capability="db",service="db"}} {end}\n'


def volume(used: int, size: int) -> str:
    whose = 'platform="operations",capability="logs",pod="logs-0"'
    return f"wecity_volume_bytes_used{{{whose}}} {used}\nwecity_volume_bytes_size{{{whose}}} {size}\n"


def up(job: str, value: int) -> str:
    """Whether a target has told its metrics."""
    return f'up{{job="{job}",pod="web-0"}} {value}\n'


def replicas(ready: int, wanted: int) -> str:
    """A StatefulSet, of which the node of a pod may be dead."""
    whose = f'{{statefulset="cache",{OWNER}}}'
    return f"kube_statefulset_status_replicas_ready{whose} {ready}\nkube_statefulset_replicas{whose} {wanted}\n"


def node(ready: int) -> str:
    """A node as the observer tells it; of one that is not heard of, nothing is known, which is no readiness."""
    return f'kube_node_status_condition{{node="worker-2",condition="Ready"}} {ready}\n'


def store_figure() -> str:
    """What the store keeps of itself every 15 seconds, as long as it takes anything."""
    return 'vm_storage_is_read_only{job="victoria-metrics"} 0\n'


def backup(scheduled: int | None, succeeded: int | None, *, suspended: int = 0, created: int = 10**7) -> str:
    """A schedule of backups: how many seconds ago the last run began, the last one succeeded, and it was made."""
    lines = [
        f"kube_cronjob_spec_suspend{{{JOB}}} {suspended}",
        f"kube_cronjob_created{{{JOB}}} {NOW - created}",
    ]
    if scheduled is not None:
        lines.append(f"kube_cronjob_status_last_schedule_time{{{JOB}}} {NOW - scheduled}")
    if succeeded is not None:
        lines.append(f"kube_cronjob_status_last_successful_time{{{JOB}}} {NOW - succeeded}")
    return "\n".join(lines) + "\n"


def job(cronjob: str, succeeded: int | None) -> str:
    """A failed Job of a schedule, made 1000 seconds ago; the schedule's last success was `succeeded` seconds ago."""
    lines = [
        'kube_job_failed{namespace="n",job_name="c-1",app="a"} 1',
        f'kube_job_created{{namespace="n",job_name="c-1",app="a",cronjob="{cronjob}"}} {NOW - 1000}',
        f'kube_job_created{{namespace="n",job_name="c-2",app="a",cronjob="{cronjob}"}} {NOW - 700}',
    ]
    if succeeded is not None:
        found = f'kube_cronjob_status_last_successful_time{{namespace="n",cronjob="c",app="a"}} {NOW - succeeded}'
        lines.append(found)
    return "\n".join(lines) + "\n"


def restarts(*counts: tuple[int, int], kind: str = "") -> str:
    """Counts of restarts, each with how many seconds ago it was seen."""
    name = f'kube_pod_{kind}container_status_restarts_total{{pod="a",container="b"}}'
    return "".join(f"{name} {count} @{ago}\n" for count, ago in counts)


def waits(reason: str, kind: str = "", ago: int = 0) -> str:
    return f'kube_pod_{kind}container_status_waiting_reason{{pod="a",container="b",reason="{reason}"}} 1 @{ago}\n'


def given_up(*counts: tuple[int, int]) -> str:
    """How many messages of an app were given up, each count with the seconds since it was told."""
    labels = 'capability="notification",tenant="parks",app="web",channel="mail",outcome="failed"'
    return "".join(f"wecity_notification_tries_total{{{labels}}} {count} @{ago}\n" for count, ago in counts)


def undelivered(*counts: tuple[int, int]) -> str:
    """Messages that were not taken, each with how many seconds ago it was seen."""
    name = 'alertmanager_notifications_failed_total{capability="alerts",receiver_name="city",reason="other"}'
    return "".join(f"{name} {count} @{ago}\n" for count, ago in counts)


def refused(*counts: tuple[int, int]) -> str:
    """Samples of new series that the store has not taken, each with how many seconds ago it was seen."""
    name = 'vm_hourly_series_limit_rows_dropped_total{job="victoria-metrics",instance="self"}'
    return "".join(f"{name} {count} @{ago}\n" for count, ago in counts)


def retained(account: str, size: int, limit: int) -> str:
    labels = f'capability="iot",account="{account}"'
    return f"wecity_iot_retained_bytes{{{labels}}} {size}\nwecity_iot_retained_bytes_limit{{{labels}}} {limit}\n"


def repositories(stored: int, limit: int) -> str:
    own = '{capability="registry",tenant="parks"}'
    return f"wecity_registry_stored_bytes{own} {stored}\nwecity_registry_limit_bytes{own} {limit}\n"


def instances(stored: int, limit: int) -> str:
    own = '{capability="workflow",tenant="parks",app="tours"}'
    return f"wecity_workflow_stored_bytes{own} {stored}\nwecity_workflow_limit_bytes{own} {limit}\n"


def shipper(what: str, seconds: int) -> str:
    """What a log store says of a shipper, whose node is ready."""
    return (
        f'wecity_log_shipper_{what}_seconds{{capability="logs",node="a"}} {seconds}\n'
        'kube_node_status_condition{condition="Ready",node="a"} 1\n'
    )


@pytest.mark.parametrize(
    ("rule", "series", "fires"),
    [
        ("QuotaNear", quota(91, 100), True),
        ("QuotaNear", quota(90, 100), False),
        ("QuotaNear", quota(0, 0), False),
        ("JobLate", backup(7200, 90_000), True),
        ("JobLate", backup(7200, None), True),
        # It is running, has succeeded, or is not to run.
        ("JobLate", backup(600, 90_000), False),
        ("JobLate", backup(7200, 7000), False),
        ("JobLate", backup(7200, 90_000, suspended=1), False),
        # The cluster's clock was a day ahead; it differs a little from the store's; the schedule is not to run.
        ("JobAhead", backup(-86_400, 7000), True),
        ("JobAhead", backup(-300, 7000), False),
        ("JobAhead", backup(60, 50), False),
        ("JobAhead", backup(-86_400, 7000, suspended=1), False),
        ("BackupSuspended", backup(7200, 7000, suspended=1), True),
        ("BackupSuspended", backup(7200, 7000), False),
        # Another schedule of a capability, and one of an app.
        ("BackupSuspended", backup(60, 50, suspended=1).replace("backup", "other"), False),
        ("BackupSuspended", backup(60, 50, suspended=1).replace("capability", "app"), False),
        # By a schedule of once a day it never ran, or no more.
        ("BackupsMissing", backup(None, None, created=100_000), True),
        ("BackupsMissing", backup(100_000, 99_000), True),
        ("BackupsMissing", backup(None, None, created=80_000), False),
        ("BackupsMissing", backup(80_000, None), False),
        ("BackupsMissing", backup(None, None, created=100_000, suspended=1), False),
        ("CertificateNearEnd", certificate(29.9), True),
        ("CertificateNearEnd", certificate(-1), True),
        ("CertificateNearEnd", certificate(30.1), False),
        ("NodeNotReady", node(0), True),
        ("NodeNotReady", node(1), False),
        # A pod that is slow or refuses to tell; the observer's own pages are no pods of the city.
        ("NoMetrics", up("health/code/web/8080", 0), True),
        ("NoMetrics", up("health/code/web/8080", 1), False),
        ("NoMetrics", up("usage", 0), False),
        # The observer cannot see, or is silent, as with its node.
        ("NotObserved", up("state", 1), False),
        ("NotObserved", up("state", 0), True),
        ("NotObserved", "", True),
        ("Down", replicas(0, 1), True),
        ("Down", replicas(1, 2), False),
        ("Down", replicas(0, 0), False),
        ("Degraded", replicas(1, 2), True),
        ("VolumeNearFull", volume(91, 100), True),
        ("VolumeNearFull", volume(90, 100), False),
        # One of which only half is known.
        ("VolumeNearFull", volume(91, 100).splitlines()[0], False),
        # A run that has failed counts until a later one has succeeded.
        ("JobFailed", job("c", None), True),
        ("JobFailed", job("c", 2000), True),
        ("JobFailed", job("c", 300), False),
        ("JobFailed", job("", 300), True),
        ("Restarting", restarts((0, 200), (3, 0)), True),
        ("Restarting", restarts((7, 200), (1, 100), (3, 0)), True),
        ("Restarting", restarts((0, 200), (3, 0), kind="init_"), True),
        ("Restarting", restarts((0, 200), (2, 0)), False),
        # When an observer begins, or knows nothing for a while, what has restarted before is no restart of now.
        ("Restarting", restarts((5, 0)), False),
        ("Restarting", restarts((5, 60), (5, 0)), False),
        ("CannotStart", waits("CrashLoopBackOff"), True),
        # It runs for a while, before it crashes again.
        ("CannotStart", waits("CrashLoopBackOff", ago=40), True),
        ("CannotStart", waits("CrashLoopBackOff", ago=90), False),
        ("CannotStart", waits("ImagePullBackOff", "init_"), True),
        ("CannotStart", waits("ErrImagePull"), False),
        ("CannotStart", waits("PodInitializing"), False),
        ("NotObserved", 'up{job="state"} 1 @0\n', False),
        ("NotObserved", 'up{job="state"} 1 @120\n', True),
        ("NotObserved", 'up{job="state"} 0 @0\n', True),
        ("NotRead", 'wecity_unread{resource="pods",namespace="a"} 1\n', True),
        ("NotRead", 'wecity_unready{resource="pods"} 1\n', False),
        ("StoreTakesNoSeries", refused((7, 200), (9, 0)), True),
        ("StoreTakesNoSeries", refused((9, 200), (9, 0)), False),
        ("SeriesDropped", 'scrape_series_limit_samples_dropped{tenant="parks",pod="a"} 3\n', True),
        ("SeriesDropped", 'scrape_series_limit_samples_dropped{tenant="parks",pod="a"} 0\n', False),
        ("LogShipperSilent", shipper("silent", 61), True),
        ("LogShipperSilent", shipper("silent", 10), False),
        ("LogShipperSilent", shipper("silent", 61).replace("} 1", "} 0"), False),
        ("LogShipperBehind", shipper("behind", 301), True),
        ("LogShipperBehind", shipper("behind", 299), False),
        ("LogStoreReadOnly", 'vl_storage_is_read_only{capability="logs"} 1\n', True),
        ("RepositoriesNearFull", repositories(91, 100), True),
        ("RepositoriesNearFull", repositories(90, 100), False),
        # Its accounts are locked.
        ("RepositoriesNearFull", repositories(90, 0), False),
        ("WorkflowNearFull", instances(91, 100), True),
        ("WorkflowNearFull", instances(90, 100), False),
        ("WorkflowNearFull", instances(90, 0), False),
        ("RetainedMessagesNearFull", retained("a", 91, 100) + retained("b", 1, 100), True),
        ("RetainedMessagesNearFull", retained("a", 90, 100), False),
        ("MessagesFail", given_up((0, 200), (1, 0)), True),
        ("MessagesFail", given_up((3, 200), (3, 0)), False),
        ("MessagesFail", given_up((0, 200), (1, 0)).replace("failed", "retried"), False),
        ("MessagesWait", 'wecity_notification_oldest_seconds{capability="notification",app="web"} 901\n', True),
        ("MessagesWait", 'wecity_notification_oldest_seconds{capability="notification",app="web"} 900\n', False),
        ("NotTold", undelivered((0, 200), (5, 0)), True),
        ("NotTold", undelivered((0, 200), (1, 0)), False),
        ("StoreReadOnly", store_figure(), False),
        ("StoreReadOnly", "", True),
    ],
)
def test_a_rule_fires_for_what_it_is_about_and_for_nothing_else(
    store: Store, rule: str, series: str, fires: bool
) -> None:
    """The expression as the store evaluates it, over series of one case alone."""
    case = f"case{time.monotonic_ns()}"
    mark = f'wecity_mark{{case="{case}"}} 1\n'
    later = int(time.time()) - NOW
    series = re.sub(r"\b1[78]\d{8}\b", lambda found: str(int(found[0]) + later), series)
    lines = [f'{line[: line.index("}")]},case="{case}"{line[line.index("}") :]}\n' for line in series.splitlines()]
    # A time in milliseconds.
    text = re.sub(
        r" @(\d+)$", lambda ago: f" {(time.time() - int(ago[1])) * 1000:.0f}", "".join(lines), flags=re.MULTILINE
    )
    many = len({line[: line.index("}")] for line in lines}) + 1
    assert store.ask("admin", PASSWORD, "/api/v1/import/prometheus", (text + mark).encode())[0] == 204
    assert store.ask("admin", PASSWORD, "/internal/force_flush")[0] == 200

    def ask(query: str) -> list[object]:
        values = {"query": query, "nocache": "1", "extra_label": f"case={case}"}
        code, told = store.ask("admin", PASSWORD, "/api/v1/query?" + urllib.parse.urlencode(values))
        assert code == 200, told
        found: list[object] = json.loads(told)["data"]["result"]
        return found

    deadline = time.monotonic() + 20
    while len(ask('last_over_time({case!=""}[1d])')) < many:
        assert time.monotonic() < deadline, "what was written is not found"
        time.sleep(0.5)
    found = {item.name: item.expression for item in (*DEFAULT, backups_missing("30 2 * * *"))}
    for kind in (metrics.TYPE, logs.TYPE, alerts.TYPE, registry.TYPE, workflow.TYPE, iot.TYPE, notification.TYPE):
        found |= {item.name: item.expression.replace("$capability", kind.name) for item in kind.alerts}
    assert bool(ask(found[rule])) == fires


def test_usage_is_counted_from_what_the_store_has_and_gaps_are_told(store: Store) -> None:
    """For 50 hours there is a sample a minute, but for an hour in the middle; an app ends after 20 of them."""
    begin = int(time.time()) // 3600 * 3600 - 50 * 3600
    period = Period(begin, begin + 50 * 3600)
    health = 'namespace="health-internet",tenant="health"'
    lines = []
    for at in range(begin + 7, period.end, USAGE_SECONDS):
        if begin + 10.5 * 3600 < at < begin + 11.5 * 3600:
            continue
        lines.append(f"wecity_observed{{{health}}} 1 {at}000")
        # The other tenant comes in the third hour.
        if at > begin + 2 * 3600:
            lines.append(f'wecity_observed{{namespace="parks-internet",tenant="parks"}} 1 {at}000')
        if at < begin + 20 * 3600:
            lines.append(
                f'wecity_usage{{of="requests",resource="cpu",{health},app="code",component="web"}} 0.5 {at}000'
            )
            lines.append(f'wecity_usage{{of="limits",resource="cpu",{health},app="code",component="web"}} 1 {at}000')
        # A counter of a server that restarts every 100 minutes.
        asked = (at - begin) // 60 % 100 + 1
        lines.append(f'wecity_metrics_queries_total{{capability="metrics",tenant="health",app="code"}} {asked} {at}000')
        for app, requests in (("code", 5), ("gone", 2)):
            which = f'tenant="health",app="{app}",service="{app}-web",service_namespace="health-internet",code="2xx"'
            lines.append(f"wecity_gateway_requests_total{{{which}}} {requests} {at}000")
    # The clock is set back at the end: ten minutes are there twice.
    for at in range(period.end - 600 + 20, period.end, USAGE_SECONDS):
        lines.append(f"wecity_observed{{{health}}} 1 {at}000")
    text = "\n".join(lines).encode() + b"\n"
    assert store.ask("admin", PASSWORD, "/api/v1/import/prometheus", text)[0] == 204
    # Otherwise some of it is found sooner than the rest.
    assert store.ask("admin", PASSWORD, "/internal/force_flush")[0] == 200
    owner, gateway = (
        Owner(platform="operations", capability="metrics"),
        Owner(platform="application", capability="gateway"),
    )
    counters = [Counter(owner, metrics.TYPE.usage[0]), Counter(gateway, TYPE.usage[0])]

    def read(tenant: str = "") -> CloudUsage:
        server = Conversation(http.client.HTTPConnection("127.0.0.1", store.port, timeout=20), PASSWORD, "metrics")
        return asyncio.run(read_usage(server, "main", counters, period, tenant))

    found = read()
    assert found.coverage == Coverage(49 * 3600, (Gap(begin + 10 * 3600, begin + 12 * 3600, 3600),))
    assert [(item.namespace, item.coverage.counted / 3600) for item in found.namespaces] == [
        ("health-internet", 49),
        ("parks-internet", 47),
    ]
    used = {(item.kind, item.owner): item.amount for item in found.used}
    code = Owner("health", "code")
    assert used == {("requests", code): pytest.approx(9.5), ("limits", code): pytest.approx(19.0)}
    counts = {(item.by, item.name, item.owner): item.value for item in found.counted}
    # One a minute. Those of the minutes without samples are known, unless a restart was among them.
    assert 49 * 60 <= counts.pop((owner, "queries", code)) <= 50 * 60
    assert counts == {(gateway, "requests", code): 5, (gateway, "requests", Owner("health", "gone")): 2}
    assert read("parks").used == ()
    assert [item.namespace for item in read("parks").namespaces] == ["parks-internet"]


def test_a_counter_goes_on_after_a_gap_between_two_queries(store: Store) -> None:
    """A query asks for a week: at its end there is no sample for two hours, and the counter is the same afterwards."""
    begin = int(time.time()) // 3600 * 3600 - 400 * 3600
    period = Period(begin, begin + 172 * 3600)
    labels = 'capability="other",tenant="health",app="code"'
    times = [at for at in range(begin + 160 * 3600, period.end, 60) if not 167 * 3600 < at - begin < 169 * 3600]
    lines = [f"wecity_metrics_queries_total{{{labels}}} 5 {at}000" for at in times]
    assert store.ask("admin", PASSWORD, "/api/v1/import/prometheus", "\n".join(lines).encode())[0] == 204
    assert store.ask("admin", PASSWORD, "/internal/force_flush")[0] == 200
    counter = Counter(Owner(platform="operations", capability="other"), metrics.TYPE.usage[0])
    server = Conversation(http.client.HTTPConnection("127.0.0.1", store.port, timeout=20), PASSWORD, "metrics")
    found = asyncio.run(read_usage(server, "main", [counter], period, ""))
    assert [(item.owner, item.value) for item in found.counted] == [(Owner("health", "code"), 5)]


@pytest.fixture(scope="module")
def session() -> Session:
    return open_session(ROOT / "examples/xingcheng-operations")


@pytest.fixture(scope="module")
def span(store: Store, session: Session) -> Span:
    """The hour of which the store has an example's series, and one that an app has made up to do harm."""
    found = Span.until(time.time(), city_series.SECONDS)
    hostile = (
        'hostile{tenant="parks-bureau",app="trees",path="</title><script>document.title=1</script>\\" onload=\\"x"} 1'
    )
    # At several times, as a store may move a query's end.
    times = range(found.end - 300, found.end + 1, 60)
    samples = [*city_series.lines(session.city, found.end), *(f"{hostile} {at * 1000}" for at in times)]
    assert store.ask("admin", PASSWORD, "/api/v1/import/prometheus", "\n".join(samples).encode())[0] == 204
    assert store.ask("admin", PASSWORD, "/internal/force_flush")[0] == 200
    return found


def written(store: Store, found: tuple[Dashboard, ...], span: Span, place: Path) -> list[pages.Filled]:
    """The dashboards with what the store answers, written as pages."""
    talk = Conversation(http.client.HTTPConnection("127.0.0.1", store.port), PASSWORD, "metrics")
    answers = run_async(answers_of(talk, found, span))
    shown = [filled(board, {"main": answers}) for board in found]
    for name, text in pages.files(shown, span).items():
        (place / name).write_text(text, encoding="utf-8")
    return shown


@pytest.fixture(scope="module")
def city_pages(
    store: Store, session: Session, span: Span, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[pages.Filled]]:
    """The pages of the whole city, and what is in them."""
    place = tmp_path_factory.mktemp("pages")
    return place, written(store, dashboards(session), span, place)


def test_every_panel_has_values(city_pages: tuple[Path, list[pages.Filled]], store: Store) -> None:
    for item in city_pages[1]:
        for chart in item.charts:
            assert not chart.problems, (item.dashboard, chart)
            broken = city_series.BROKEN in item.dashboard.name or item.dashboard.name == "transport-bureau"
            if not chart.panel.title.startswith("Alerts") or broken or item.dashboard.kind == "city":
                assert chart.lines, (item.dashboard, chart)
                assert bool(chart.limits) == bool(chart.panel.limit), (item.dashboard, chart)
    # Those of the store itself are made up too, so their names are looked for in what it really says.
    told = store.ask("admin", PASSWORD, "/metrics")[1]
    for panel in metrics.TYPE.dashboard:
        (name,) = re.findall(r"vm_\w+", panel.query)
        assert re.search(rf"^{name}\b", told, re.MULTILINE), name


def test_a_page_of_a_tenant_has_its_series_alone(store: Store, session: Session, span: Span, tmp_path: Path) -> None:
    found = written(store, dashboards(session, "parks-bureau"), span, tmp_path)
    assert [item.dashboard.name for item in found] == ["parks-bureau", "parks-bureau/trees"]
    text = "".join(page.read_text(encoding="utf-8") for page in tmp_path.iterdir())
    assert "trees" in text and not re.search("transport|bus-arrival|postgresql|node-1", text)
    # The store holds it, whatever a panel asks for.
    wider = (
        Panel("all", 'sum by (tenant) ({__name__=~".+"})', by=("tenant",)),
        Panel("other", 'sum by (tenant) ({tenant="transport-bureau"} or kube_node_status_condition)', by=("tenant",)),
    )
    board = Dashboard("tenant", "parks-bureau", "", ("main",), {"tenant": "parks-bureau"}, wider)
    (shown,) = written(store, (board,), span, tmp_path)
    assert [[line.name for line in chart.lines] for chart in shown.charts] == [["parks-bureau"], []]


def test_a_query_that_is_refused_leaves_the_others(store: Store, span: Span, tmp_path: Path) -> None:
    board = Dashboard("city", "x", "", ("main",), {}, (Panel("bad", "sum("), Panel("good", "sum(vm_rows)")))
    (shown,) = written(store, (board,), span, tmp_path)
    assert "answers with 400" in shown.charts[0].problems[0] and shown.charts[1].lines


def test_a_name_that_an_app_makes_up_stays_text_in_a_browser(store: Store, span: Span, tmp_path: Path) -> None:
    board = Dashboard("app", "x", "", ("main",), {"tenant": "parks-bureau"}, (Panel("a", "hostile", by=("path",)),))
    written(store, (board,), span, tmp_path)
    found = browser.dom(tmp_path / pages.FIRST)
    assert "<script" not in found and "&lt;script&gt;document.title=1" in found
    assert "<title>app x</title>" in found


@pytest.mark.parametrize("name", SHOWN)
def test_a_browser_draws_them(name: str, city_pages: tuple[Path, list[pages.Filled]], tmp_path: Path) -> None:
    place, found = city_pages
    file, width, height = SHOWN[name]
    board = next(
        item for index, item in enumerate(found) if file in (item.dashboard.file, pages.FIRST)[: 1 + (not index)]
    )
    seen, drawn = browser.dom(place / file), sum(bool(chart.lines) for chart in board.charts)
    assert seen.count("<svg ") == drawn >= 4
    for section in re.findall(r"<section>.*?</section>", seen, re.DOTALL):
        assert "no values in this time" in section or re.search(r"<polyline points=\"[0-9]", section), section
    target = PICTURES / f"{name}.png" if os.environ.get("WECITYCTL_PICTURES") else tmp_path / "new.png"
    browser.picture(place / file, target, width, height)
    # An empty page of this size has a few colours and kilobytes.
    assert browser.size(target) == (width, height) and browser.colours(target) > 100
    kept = PICTURES / f"{name}.png"
    assert browser.size(kept) == (width, height) and target.stat().st_size / 3 < kept.stat().st_size < 150_000
