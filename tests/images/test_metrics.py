"""The metrics image: the store behind its door, with the scripts that make accounts, and the rules of alerts."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import os
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stacks.platforms.application.gateway import TYPE
from stacks.platforms.operations import metrics
from stacks.platforms.operations.metrics.access import ADMIN_PORT, DELETE, DEPROVISION, INVENTORY, PROVISION
from stacks.platforms.operations.metrics.health import PROBE
from tests.images.rootfs import RootFilesystem, free_port, needs_root, wait_for
from tests.images.test_running import fetch
from wecityctl.model.metering import USAGE_SECONDS, CloudUsage, Coverage, Gap, Owner, Period
from wecityctl.operations.capability_servers import Conversation
from wecityctl.operations.usage.reading import Counter, read_usage

Unpacked = Callable[[str], RootFilesystem]
pytestmark = [pytest.mark.build, needs_root, pytest.mark.timeout(500)]
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
        for service, requests in (("code-web", 5), ("gone-web", 2)):
            which = f'service="{service}",service_namespace="health-internet",code="2xx",pod="gateway-1"'
            lines.append(f"wecity_gateway_requests_total{{{which}}} {requests} {at}000")
    # The clock is set back at the end: ten minutes are there twice.
    for at in range(period.end - 600 + 20, period.end, USAGE_SECONDS):
        lines.append(f"wecity_observed{{{health}}} 1 {at}000")
    text = "\n".join(lines).encode() + b"\n"
    assert store.ask("admin", PASSWORD, "/api/v1/import/prometheus", text)[0] == 204
    owner, gateway = (
        Owner(platform="operations", capability="metrics"),
        Owner(platform="application", capability="gateway"),
    )
    counters = [Counter(owner, metrics.TYPE.usage[0]), Counter(gateway, TYPE.usage[0])]
    apps = {"health": {"code-web": "code"}}

    def read(tenant: str = "") -> CloudUsage:
        server = Conversation(http.client.HTTPConnection("127.0.0.1", store.port, timeout=20), PASSWORD, "metrics")
        return asyncio.run(read_usage(server, "main", counters, period, tenant, apps))

    deadline = time.monotonic() + 20
    while not (found := read()).counted and time.monotonic() < deadline:
        time.sleep(0.5)
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
    # What was counted of a Service that is none of the files' is the tenant's.
    assert counts == {(gateway, "requests", code): 5, (gateway, "requests", Owner("health")): 2}
    assert read("parks").used == ()
    assert [item.namespace for item in read("parks").namespaces] == ["parks-internet"]
