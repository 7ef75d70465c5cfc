"""What the store of a city on a real node has counted of its pods, volumes and queries."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.e2e.files import CityFiles
from tests.e2e.machine import Cluster, Machine, eventually
from tests.e2e.operations.test_alerts import ask
from tests.e2e.pages import follow
from wecityctl.kube.pod_requests import pod_requests
from wecityctl.model.capacity import GIB
from wecityctl.model.naming import NAME_LABEL

pytestmark = [pytest.mark.node, pytest.mark.xdist_group("operations"), pytest.mark.timeout(1500)]


def used(home: Machine, city: CityFiles, by: str, begin: datetime) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """All that is told of the time since `begin`, and the rows by the name of the app or capability."""
    since = begin.strftime("%Y-%m-%dT%H:%M:%SZ")
    found = home.run("usage", city, "--by", by, "--from", since, "-o", "json").json()
    return found, {row[by]: row for row in found["rows"]}


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
    # The ratio to the hours of pods is not known for a city that has just come up.
    assert capabilities["postgresql"]["storage_gib_hours"] > 0


def test_what_was_before_the_city_is_told_as_a_gap(home: Machine, city: CityFiles) -> None:
    found, _ = used(home, city, "tenant", datetime.now(UTC) - timedelta(hours=48))
    (cloud,) = found["clouds"]
    assert 0 < cloud["counted_hours"] < 12
    assert cloud["gaps"][0]["missing_hours"] > 36
    assert {item["tenant"] for item in cloud["namespaces"]} == {"", "parks", "roads"}
    assert {row["tenant"] for row in found["rows"]} == {"", "parks", "roads"}
    assert found["unpriced"] == ["main"]
    refused = home.run("usage", city, "--tenant", "park", code=2)
    assert "did you mean 'parks'?" in refused.err


def test_the_page_about_it_is_true(home: Machine, city: CityFiles) -> None:
    assert follow(home, city, "count-usage.md", "operations") == 3
