"""Reading the stores of a city's clouds: what is added up, how much is asked, and clouds that do not answer.

The stores here are servers on loopback that answer as they are told to, for what a real one does not do on demand. A
real one is asked in `tests/images/test_metrics.py`.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from typer.testing import CliRunner

from wecityctl.cli.usage import app as command
from wecityctl.errors import AuthenticationError, DeploymentError, ExitCode, NoSuchStackError
from wecityctl.inputs import Cluster, Clusters
from wecityctl.kube.client import KubeClient
from wecityctl.model.capacity import GIB
from wecityctl.model.catalogue import UsageCounter
from wecityctl.model.metering import CloudUsage, Coverage, Gap, Owner, Period
from wecityctl.operations import usage as operation
from wecityctl.operations.capability_servers import CapabilityServer, Conversation, conversation
from wecityctl.operations.usage import UsageOptions, usage
from wecityctl.operations.usage.progress import EVERY, Progress
from wecityctl.operations.usage.reading import Counter, read_usage
from wecityctl.session import open_session

# 2026-11-01T00:00:00Z
BEGIN = 1_793_491_200
HOUR = 3600
CITY = """
apiVersion: wecity.dev/v1alpha1
kind: City
metadata: {name: two}
spec:
  domain: two.example
  zones: [{name: internet, kind: internet}]
---
apiVersion: wecity.dev/v1alpha1
kind: Cloud
metadata: {name: main}
spec: {provider: local, local: {nodes: simulated}, zones: [internet]}
---
apiVersion: wecity.dev/v1alpha1
kind: Cloud
metadata: {name: far}
spec: {provider: local, local: {nodes: simulated}, zones: [internet]}
---
apiVersion: wecity.dev/v1alpha1
kind: Tenant
metadata: {name: health}
spec:
  title: Health
  area: city-governance
  quota: {cpu: "1", memory: 1Gi, storage: 1Gi}
  moved: [{from: app/code, to: app/pass}]
---
apiVersion: wecity.dev/v1alpha1
kind: App
metadata: {name: pass, tenant: health}
spec:
  stage: published
  zone: internet
  dataClass: L1
  components: [{name: web, image: "example.com/web:1"}]
---
apiVersion: wecity.dev/v1alpha1
kind: Platform
metadata: {name: operations}
spec:
  capabilities: [{name: metrics, cloud: main}, {name: far-metrics, type: metrics, cloud: far}]
"""
# Takes a path and its query; returns a status and an answer, or nothing to end the connection.
Answer = Callable[[str, Mapping[str, str]], tuple[int, Any] | None]
# What a query is about, the labels of a series, and its value at the end of a window.
Series = tuple[str, Mapping[str, str], Callable[[int], float | None]]


@contextmanager
def serving(answer: Answer) -> Iterator[int]:
    """The port of a server on loopback."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Otherwise each answer is two packets, of which the second waits for the client to confirm the first.
        wbufsize = -1

        def do_GET(self) -> None:
            asked = urlsplit(self.path)
            found = answer(asked.path, {key: values[0] for key, values in parse_qs(asked.query).items()})
            if found is None:
                self.close_connection = True
                return
            content = json.dumps(found[1]).encode()
            self.send_response(found[0])
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def store(*series: Series, asked: list[Mapping[str, str]] | None = None) -> AbstractContextManager[int]:
    """A store that has these series."""

    def answer(path: str, query: Mapping[str, str]) -> tuple[int, Any]:
        assert path == "/api/v1/query_range"
        if asked is not None:
            asked.append(query)
        ends = range(int(query["start"]), int(query["end"]) + 1, int(query["step"].removesuffix("s")))
        found = []
        for about, labels, value_at in series:
            values = [[end, str(value)] for end in ends if (value := value_at(end)) is not None]
            if about in query["query"] and values:
                found.append({"metric": labels, "values": values})
        return 200, {"status": "success", "data": {"resultType": "matrix", "result": found}}

    return serving(answer)


def read(port: int, period: Period, counters: tuple[Counter, ...] = (), **options: Any) -> CloudUsage:
    talk = Conversation(http.client.HTTPConnection("127.0.0.1", port, timeout=5), "secret", "metrics")
    return asyncio.run(read_usage(talk, "main", counters, period, "", **options))


HEALTH = {"namespace": "health-internet", "tenant": "health"}
PLATFORM = {"namespace": "platform-data", "platform": "data"}
CPU = {"of": "requests", "resource": "cpu", **HEALTH, "app": "code"}
VOLUME = {"of": "volumes", "resource": "storage", **PLATFORM, "capability": "db"}
QUERIES = Counter(Owner(platform="operations", capability="metrics"), UsageCounter("queries", "wecity_queries_total"))


def test_a_store_that_restarts_loses_the_samples_that_were_due() -> None:
    """It is away for two minutes of the second hour; the tenant comes with the third one."""
    counts = {BEGIN + HOUR: 60, BEGIN + 2 * HOUR: 58, BEGIN + 3 * HOUR: 60}
    last = BEGIN + 3 * HOUR
    with store(
        ("wecity_observed", PLATFORM, counts.get),
        ("wecity_observed", HEALTH, {last: 60}.get),
        ("wecity_usage", VOLUME, lambda end: counts[end] * 2.0 * GIB if end in counts else None),
        ("wecity_usage", CPU, {last: 30 * 0.5}.get),
    ) as port:
        found = read(port, Period(BEGIN, last))
    missed = Coverage(3 * HOUR - 120, (Gap(BEGIN + HOUR, BEGIN + 2 * HOUR, 120),))
    assert found.coverage == missed
    tenant, platform = found.namespaces
    assert platform.coverage == missed
    assert tenant.coverage == Coverage(HOUR, (Gap(BEGIN, BEGIN + 2 * HOUR, 2 * HOUR),))
    amounts = {item.owner: item.amount for item in found.used}
    # What was there all the time has exactly the time that is told.
    assert amounts[Owner(platform="data", capability="db")] == pytest.approx(2 * GIB * missed.counted / HOUR)
    assert amounts[Owner("health", "code")] == pytest.approx(0.25)


def test_a_clock_that_was_ahead_for_a_while_leaves_a_gap_and_makes_no_hour_longer() -> None:
    """At half past, it jumps an hour ahead, and half an hour later back: the end of the second hour is there twice."""
    counts = {BEGIN + HOUR: 30, BEGIN + 2 * HOUR: 30 + 60, BEGIN + 3 * HOUR: 60}
    last = BEGIN + 3 * HOUR
    with store(
        ("wecity_observed", HEALTH, counts.get),
        ("wecity_usage", CPU, lambda end: counts[end] * 0.5 if end in counts else None),
    ) as port:
        found = read(port, Period(BEGIN, last))
    assert found.coverage == Coverage(2 * HOUR + 1800, (Gap(BEGIN, BEGIN + HOUR, 1800),))
    assert [item.amount for item in found.used] == pytest.approx([0.5 * 2.5])


def test_a_namespace_that_changes_hands_is_counted_once() -> None:
    end = BEGIN + HOUR
    with store(
        ("wecity_observed", HEALTH, {end: 60}.get),
        ("wecity_observed", {**HEALTH, "tenant": "parks"}, {end: 20}.get),
        ("wecity_usage", CPU, {end: 60.0}.get),
        ("wecity_usage", {**CPU, "tenant": "parks"}, {end: 20.0}.get),
    ) as port:
        found = read(port, Period(BEGIN, end))
    assert {item.owner.tenant: item.amount for item in found.used} == pytest.approx({"health": 1.0, "parks": 1 / 3})


def test_counters_are_read_with_the_day_before_which_does_not_count() -> None:
    asked: list[Mapping[str, str]] = []
    labels = {"tenant": "health", "app": "code"}
    with store(
        ("wecity_observed", HEALTH, lambda end: 60.0), ("wecity_queries", labels, lambda end: 3.0), asked=asked
    ) as port:
        found = read(port, Period(BEGIN, BEGIN + 2 * HOUR), (QUERIES,))
    assert [(item.owner, item.name, item.value) for item in found.counted] == [(Owner("health", "code"), "queries", 6)]
    assert int(asked[-1]["start"]) == BEGIN + HOUR - 24 * HOUR
    assert asked[-1]["end"] == str(BEGIN + 2 * HOUR)


@pytest.mark.parametrize(("days", "windows"), [(5, 5 * 24 + 1), (0, 24)])
def test_a_counter_is_known_from_before_a_gap_of_days(days: int, windows: int) -> None:
    """The store took nothing for days before the period, as its volume was full; or there was none."""
    asked: list[Mapping[str, str]] = []
    last = BEGIN - days * 24 * HOUR
    with store(
        ("count_over_time(wecity_observed", HEALTH, lambda end: 60.0 if end > BEGIN else None),
        ("tlast_over_time(wecity_observed[336h]", {}, lambda end: last if days and end == BEGIN else None),
        ("wecity_queries", {"tenant": "health", "app": "code"}, lambda end: 3.0),
        asked=asked,
    ) as port:
        found = read(port, Period(BEGIN, BEGIN + 2 * HOUR), (QUERIES,))
    assert [item.value for item in found.counted] == [6]
    assert int(asked[-1]["start"]) == BEGIN + HOUR - windows * HOUR


def test_a_year_is_asked_for_in_bounded_queries() -> None:
    asked: list[Mapping[str, str]] = []
    told: list[tuple[int, int]] = []
    begin, end = BEGIN - 365 * 24 * HOUR + 1234, BEGIN + 700
    with store(("wecity_observed", HEALTH, lambda end: 60.0), asked=asked) as port:
        found = read(port, Period(begin, end), (QUERIES,), tell=lambda done, of: told.append((done, of)))
    # A query for each day of usage, and for each week of what is observed and of a counter; two parts of an hour.
    days, weeks = 365 + 2, 53 + 2
    # And for what was observed before it begins.
    assert len([query for query in asked if "tlast_over_time" in query["query"]]) == 1
    asked = [query for query in asked if "tlast_over_time" not in query["query"]]
    assert len(asked) == days + 2 * weeks
    assert told == [(number, len(asked)) for number in range(1, len(asked) + 1)]
    for query in asked:
        points = (int(query["end"]) - int(query["start"])) // int(query["step"].removesuffix("s")) + 1
        assert points <= (24 if "wecity_usage" in query["query"] else 168 + 24)
        assert query["nocache"] == "1"
    assert found.coverage == Coverage(end - begin, ())


def test_progress_is_told_every_few_seconds() -> None:
    lines: list[str] = []
    now = 0.0
    progress = Progress("main", lines.append, lambda: now)
    for done in range(1, 101):
        now += EVERY / 40
        progress.tell(done, 100)
    assert lines == ["reading the usage of main: 40 %", "reading the usage of main: 80 %"]
    now += 10 * EVERY
    progress.tell(100, 100)
    assert len(lines) == 2


def test_a_store_that_ends_while_it_is_read_is_an_error() -> None:
    answers: Iterator[tuple[int, Any] | None] = iter([(200, {"data": {"result": []}}), None])
    with serving(lambda path, query: next(answers)) as port, pytest.raises(DeploymentError, match="does not answer"):
        read(port, Period(BEGIN, BEGIN + HOUR))


TYPES = {
    "kind": "APIGroupDiscoveryList",
    "items": [
        {
            "metadata": {"name": ""},
            "versions": [
                {
                    "version": "v1",
                    "resources": [
                        {"resource": name, "responseKind": {"kind": kind}, "scope": "Namespaced"}
                        for name, kind in (("pods", "Pod"), ("secrets", "Secret"))
                    ],
                }
            ],
        }
    ],
}
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "far-metrics-0", "namespace": "platform-operations"},
    "status": {"conditions": [{"type": "Ready", "status": "True"}]},
}


def refusing(path: str, query: Mapping[str, str]) -> tuple[int, Any]:
    """An API server to a tenant's deployer, who may see pods and no Secret of a platform."""
    if path in ("/api", "/apis"):
        return 200, TYPES
    if path.endswith("/pods"):
        return 200, {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": [POD]}
    told = {
        "kind": "Status",
        "apiVersion": "v1",
        "code": 403,
        "reason": "Forbidden",
        "message": "secrets are forbidden",
    }
    return 403, told


def without_pods(path: str, query: Mapping[str, str]) -> tuple[int, Any]:
    """An API server of a cloud on which nothing runs yet."""
    if path in ("/api", "/apis"):
        return 200, TYPES
    return 200, {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": []}


def cluster(cloud: str, port: int, *, simulated: bool = False) -> Cluster:
    """A cluster whose API server has this port."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "it", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "it", "user": {}}],
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
        "current-context": "it",
    }
    return Cluster(cloud, json.dumps(config), "it", cloud, simulated=simulated)


@pytest.fixture
def files(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "test")
    path = tmp_path / "two.yaml"
    path.write_text(CITY)
    return path


def reached(monkeypatch: pytest.MonkeyPatch, clusters: Clusters, port: int = 0) -> None:
    """Have the city's clouds be these, and the capability `metrics` answer on a port without a cluster between."""

    @asynccontextmanager
    async def talk(client: KubeClient, server: CapabilityServer) -> AsyncIterator[Conversation]:
        if port and server.name == "metrics":
            yield Conversation(http.client.HTTPConnection("127.0.0.1", port, timeout=5), "secret", server.name)
            return
        async with conversation(client, server) as found:
            yield found

    monkeypatch.setattr("wecityctl.clusters.open_clusters", lambda *arguments, **options: clusters)
    monkeypatch.setattr(operation, "conversation", talk)


TWO_HOURS = UsageOptions("2026-11-01T00:00:00Z", "2026-11-01T02:00:00Z", "app")
WHOLE: tuple[Series, ...] = (
    ("wecity_observed", HEALTH, lambda end: 60.0),
    ("wecity_usage", CPU, lambda end: 60 * 0.5),
)


def test_one_cloud_of_two_that_fails_is_named_and_ends_with_4(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with store(*WHOLE) as port, serving(without_pods) as empty:
        reached(monkeypatch, Clusters({"main": cluster("main", port), "far": cluster("far", empty)}), port)
        arguments = [str(files), "--from", TWO_HOURS.begin, "--to", TWO_HOURS.end, "--by", "app", "-o", "json"]
        ended = CliRunner().invoke(command, arguments)
    assert ended.exit_code == ExitCode.DEPLOYMENT, ended.output
    told = json.loads(ended.stdout)
    assert [item["cloud"] for item in told["clouds"]] == ["main"]
    assert told["unknown"] == {"far": "capability far-metrics has no pod that is ready: in platform-operations"}
    # The app keeps the name that it was made with in the clusters, and is shown by the one in the files.
    (row,) = told["rows"]
    assert (row["tenant"], row["app"], row["cpu_core_hours"]) == ("health", "pass", 1.0)


def test_a_cloud_with_simulated_nodes_counts_nothing_and_is_no_failure(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store(*WHOLE) as port:
        far = cluster("far", port, simulated=True)
        reached(monkeypatch, Clusters({"main": cluster("main", port), "far": far}), port)
        found = usage(open_session(files), TWO_HOURS)
    assert found.unknown == {"far": "its nodes are simulated: nothing runs there that could count"}
    assert found.failed == frozenset()
    (row,) = found.rows
    assert (row.owner, row.cpu) == (Owner("health", "pass"), 1.0)


def test_where_all_nodes_are_simulated_nothing_counts(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both = {name: cluster(name, 9, simulated=True) for name in ("main", "far")}
    reached(monkeypatch, Clusters(both))
    with pytest.raises(NoSuchStackError, match="nothing counts the usage") as caught:
        usage(open_session(files), TWO_HOURS)
    assert "far: its nodes are simulated" in caught.value.details
    assert "main: its nodes are simulated" in caught.value.details
    assert caught.value.exit_code == 6


def test_a_deployer_is_refused(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(refusing) as port:
        far = cluster("far", port)
        main = cluster("main", port, simulated=True)
        reached(monkeypatch, Clusters({"main": main, "far": far}))
        with pytest.raises(AuthenticationError, match="may not read what capability far-metrics needs") as caught:
            usage(open_session(files), TWO_HOURS)
    assert "secrets are forbidden" in caught.value.details
    assert "the city's operator" in caught.value.resolution
    assert caught.value.exit_code == 3
