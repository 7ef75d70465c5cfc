"""What the store of a city on a real node has counted of its pods, volumes and queries."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.files import CityFiles
from tests.e2e.machine import Cluster, Machine, eventually
from tests.e2e.operations.test_alerts import ask
from tests.e2e.pages import follow
from wecityctl import inputs
from wecityctl.event_loops import run_async
from wecityctl.kube.pod_requests import pod_requests
from wecityctl.model.capacity import GIB
from wecityctl.model.metering import Period, integrate
from wecityctl.model.naming import COMPONENT_LABEL, NAME_LABEL
from wecityctl.model.quantity import parse_quantity
from wecityctl.operations.app_targets import client_of
from wecityctl.operations.capability_servers import conversation, metric_stores
from wecityctl.session import Session, open_session

pytestmark = [pytest.mark.node, pytest.mark.timeout(1500)]
PLATFORM = "platform-application"


def used(home: Machine, city: CityFiles, by: str, begin: datetime) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """All that is told of the time since `begin`, and the rows by the name of the app or capability."""
    since = begin.strftime("%Y-%m-%dT%H:%M:%SZ")
    found = home.run("usage", city, "--by", by, "--from", since, "-o", "json").json()
    return found, {row[by]: row for row in found["rows"]}


@pytest.fixture(scope="module")
def session(city: CityFiles) -> Session:
    return open_session(Path(city))


# A series as the store has it: its labels, and its samples with their times.
Stored = tuple[Mapping[str, str], list[tuple[float, float]]]


def stored(session: Session, cluster: Cluster, period: Period, selector: str) -> list[Stored]:
    """The series of the period, each sample as it was taken: no query has added anything up."""
    (store,) = metric_stores(session, "main")
    reached = inputs.Cluster("main", cluster.kubeconfig.read_text(), "", "")

    async def told() -> Mapping[str, Any]:
        async with client_of(reached) as client, conversation(client, store) as server:
            query = f"{selector}[{period.end - period.begin}s]"
            return await server.status("/api/v1/query", {"query": query, "time": str(period.end), "nocache": "1"})

    # A series that ends has a sample without a value at its end.
    return [
        (
            item["metric"],
            [(at, float(text)) for at, text in item["values"] if period.begin < at <= period.end and text != "NaN"],
        )
        for item in run_async(told())["data"]["result"]
    ]


def hours_of(found: list[Stored], observed: Stored, period: Period) -> float:
    """The amount times hours that follows from the samples, added up here."""
    windows = period.windows()
    ends = {at: window.end for window in windows for at in range(window.begin + 1, window.end + 1)}
    totals: Counter[int] = Counter()
    for _, samples in found:
        for at, value in samples:
            totals[ends[math.ceil(at)]] += int(value)
    return integrate(totals, Counter(ends[math.ceil(at)] for at, _ in observed[1]), windows)


def ready_since(cluster: Cluster, namespace: str, name: str) -> datetime:
    """Since when the only pod of a capability's server is ready."""
    labels = f"{NAME_LABEL}={name},{COMPONENT_LABEL}={name}"
    (pod,) = cluster.get("pods", "-n", namespace, "-l", labels)["items"]
    (condition,) = (item for item in pod["status"]["conditions"] if item["type"] == "Ready")
    assert condition["status"] == "True"
    return datetime.fromisoformat(condition["lastTransitionTime"])


def period_in(found: Mapping[str, Any]) -> Period:
    begin, end = (int(datetime.fromisoformat(found[name]).timestamp()) for name in ("from", "until"))
    return Period(begin, end)


def test_the_store_has_counted_what_runs(home: Machine, city: CityFiles, cluster: Cluster) -> None:
    ask(cluster, "parks", "/api/v1/query", "query=up")
    # Of the last minutes alone: where the app was up, a sample has all that it requests.
    begin = datetime.now(UTC) - timedelta(minutes=2)

    def counted() -> dict[str, Any] | None:
        """The rows of apps, once a sample and the query that was just made are in the store."""
        rows = used(home, city, "app", begin)[1]
        row = rows.get("parks-app", {"counts": {}, "pod_hours": 0})
        if row["pod_hours"] and row["counts"].get("metrics queries"):
            return rows
        time.sleep(5)
        return None

    apps = eventually(counted, 150)
    row = apps["parks-app"]
    (pod,) = cluster.get("pods", "-n", "parks-internet", "-l", f"{NAME_LABEL}=parks-app")["items"]
    requests = pod_requests(pod)
    assert row["cpu_core_hours"] / row["pod_hours"] == pytest.approx(requests["cpu"] / 1000, rel=0.01)
    assert row["memory_gib_hours"] / row["pod_hours"] == pytest.approx(requests["memory"] / GIB, rel=0.01)
    assert row["memory_limit_gib_hours"] >= row["memory_gib_hours"]
    assert row["storage_gib_hours"] == 0
    _, capabilities = used(home, city, "capability", begin)
    assert capabilities["metrics"]["counts"]["metrics queries"] >= 1


def test_a_volume_counts_all_the_time_and_jobs_count_for_their_capability(
    home: Machine, city: CityFiles, cluster: Cluster, session: Session
) -> None:
    # Not of a time when the volume was not there yet: a claim is bound before a pod that uses it runs, and the pod runs
    # before it is ready.
    begin = max(datetime.now(UTC) - timedelta(minutes=10), ready_since(cluster, PLATFORM, "postgresql"))

    def counted() -> tuple[dict[str, Any], dict[str, Any]] | None:
        found, rows = used(home, city, "capability", begin)
        if rows.get("postgresql", {"storage_gib_hours": 0})["storage_gib_hours"]:
            return found, rows
        time.sleep(5)
        return None

    found, rows = eventually(counted, 150)
    row, period = rows["postgresql"], period_in(found)
    (cloud,) = found["clouds"]
    (known,) = (item for item in cloud["namespaces"] if item["namespace"] == PLATFORM)
    # As large as the files say for exactly the time that is told: whole seconds of each of two parts of an hour.
    size = int(parse_quantity(session.city.capability("postgresql").storage))
    assert row["storage_gib_hours"] / (size / GIB) == pytest.approx(known["counted_hours"], abs=2 / 3600)
    (observed,) = stored(session, cluster, period, f'wecity_observed{{namespace="{PLATFORM}"}}')
    (volume,) = stored(session, cluster, period, 'wecity_usage{of="volumes",capability="postgresql"}')
    assert {value for _, value in volume[1]} == {size}
    assert [at for at, _ in volume[1]] == [at for at, _ in observed[1]]
    # Its server is one pod in all samples. Others are those of Jobs that work on it, such as probes and backups, which
    # need not be there in any.
    pods = stored(session, cluster, period, 'wecity_usage{of="pods",capability="postgresql"}')
    (server,) = (samples for labels, samples in pods if labels["component"] == "postgresql")
    assert {value for _, value in server} == {1}
    assert [at for at, _ in server] == [at for at, _ in observed[1]]
    jobs = {labels["component"] for labels, _ in pods} - {"postgresql"}
    assert jobs <= {"accounts", "app", "backup", "backup-look", "probe", "restore", "rotation"}
    assert row["pod_hours"] == pytest.approx(hours_of(pods, observed, period), abs=2e-6)
    assert row["storage_gib_hours"] == pytest.approx(hours_of([volume], observed, period) / GIB, abs=2e-6)


def test_only_what_the_files_name_is_a_capability(home: Machine, city: CityFiles, session: Session) -> None:
    """A Job that makes an app's account runs beside the capability, with the app's name."""
    _, rows = used(home, city, "capability", datetime.now(UTC) - timedelta(hours=48))
    assert "postgresql" in rows
    # A Job of the entry point, which is no capability, may have been there when a sample was taken.
    assert set(rows) <= {"", *(item.name for item in session.city.capabilities)}


def test_what_was_before_the_city_is_told_as_a_gap(home: Machine, city: CityFiles) -> None:
    found, _ = used(home, city, "tenant", datetime.now(UTC) - timedelta(hours=48))
    (cloud,) = found["clouds"]
    assert 0 < cloud["counted_hours"] < 12
    assert cloud["gaps"][0]["missing_hours"] > 36
    tenants = {"", *(item["metadata"]["name"] for item in city.documents("Tenant"))}
    assert {item["tenant"] for item in cloud["namespaces"]} == tenants
    assert {row["tenant"] for row in found["rows"]} == tenants
    assert found["unpriced"] == ["main"]
    refused = home.run("usage", city, "--tenant", "park", code=2)
    assert "did you mean 'parks'?" in refused.err


def test_the_page_about_it_is_true(home: Machine, city: CityFiles) -> None:
    assert follow(home, city, "count-usage.md", "operations") == 3
