"""Metrics and alerts of a city on a real node: what is read, who may read it, and how soon a fault is told."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from tests.e2e.files import CityFiles
from tests.e2e.machine import Cluster, Machine, eventually
from tests.e2e.operations.webhook import Told, Webhook
from tests.e2e.pages import follow
from wecityctl.model.quantity import parse_quantity

pytestmark = [pytest.mark.node, pytest.mark.timeout(1500)]
PLACE = "platform-operations"
# Reads with the binding of an app, in its pod. The certificate is the city's.
QUERY = """
import base64, json, pathlib, ssl, sys, urllib.error, urllib.parse, urllib.request
at = pathlib.Path("/bindings/metrics")
entry = lambda name: (at / name).read_text()
account = base64.b64encode(f"{entry('username')}:{entry('password')}".encode()).decode()
url = entry("url") + sys.argv[1] + "?" + urllib.parse.urlencode([tuple(item.split("=", 1)) for item in sys.argv[2:]])
request = urllib.request.Request(url, headers={"Authorization": "Basic " + account})
try:
    context = ssl.create_default_context(cafile=at / "ca.crt")
    print(urllib.request.urlopen(request, timeout=10, context=context).read().decode())
except urllib.error.HTTPError as error:
    print(json.dumps({"code": error.code}))
"""


def ask(cluster: Cluster, tenant: str, path: str, *arguments: str) -> Any:
    pods = ("-n", f"{tenant}-internet", f"deploy/{tenant}-app-web")
    return json.loads(cluster.kubectl("exec", *pods, "--", "python3", "-c", QUERY, path, *arguments))


def result(cluster: Cluster, tenant: str, query: str) -> list[dict[str, Any]]:
    """The series that an app of the tenant finds."""
    told = ask(cluster, tenant, "/api/v1/query", f"query={query}")
    found: list[dict[str, Any]] = told["data"]["result"]
    return found


def test_apps_and_capabilities_are_read(city: CityFiles, cluster: Cluster) -> None:
    (own,) = eventually(lambda: result(cluster, "parks", "sample_app_busy"), 90)
    assert own["metric"].items() >= {
        "tenant": "parks", "app": "parks-app", "component": "web", "namespace": "parks-internet"
    }.items()  # fmt: skip
    (replicas,) = eventually(lambda: result(cluster, "parks", "kube_deployment_spec_replicas"), 90)
    assert (replicas["metric"]["deployment"], replicas["value"][1]) == ("parks-app-web", "1")
    quota = eventually(lambda: result(cluster, "parks", 'kube_resourcequota{type="hard",resource="requests.cpu"}'), 30)
    assert quota[0]["value"][1] == "2"
    # The cluster's own source has figures after a while.
    used = eventually(lambda: result(cluster, "parks", 'wecity_container_usage{resource="memory"}'), 120)
    assert {item["metric"]["tenant"] for item in used} == {"parks"}


def test_ends_of_certificates_and_schedules_of_backups_are_read(city: CityFiles, cluster: Cluster) -> None:
    """What tenants do not see, as the observer has it."""
    ask_state = ("curl", "--silent", "--fail", "http://127.0.0.1:8481/metrics")
    told = cluster.kubectl("exec", "-n", PLACE, "deploy/metrics-observer", "-c", "observer", "--", *ask_state)
    ends = re.findall(r'^wecity_certificate_end_time_seconds\{service="(.+?)".* (\d+)$', told, re.MULTILINE)
    assert {"entry", "postgresql", "metrics", "alerts", "vault", "logs"} <= {name for name, _ in ends}
    # They are issued for 397 days.
    assert all(396 < (int(end) - time.time()) / 86_400 < 398 for _, end in ends)
    made = re.findall(r'^kube_cronjob_created\{.*component="backup".* (\d+)$', told, re.MULTILINE)
    assert made and all(0 <= time.time() - int(at) < 7200 for at in made)


def test_it_is_known_how_full_volumes_are(city: CityFiles, cluster: Cluster) -> None:
    """Of the capabilities that say so themselves, as the observer has read it."""
    url = "https://127.0.0.1:8428/api/v1/query?query=wecity_volume_bytes_used/wecity_volume_bytes_size"
    command = f'curl --silent --fail --insecure --user "admin:$ADMIN_PASSWORD" "{url}"'

    def known() -> dict[str, float]:
        told = json.loads(cluster.kubectl("exec", "-n", PLACE, "metrics-0", "-c", "access", "--", "sh", "-c", command))
        return {item["metric"]["capability"]: float(item["value"][1]) for item in told["data"]["result"]}

    eventually(lambda: {"metrics", "logs", "vault"} <= known().keys(), 90)
    assert all(0 < share <= 1 for share in known().values())


@pytest.mark.proves("metrics", "ran", "used", "refused")
def test_a_tenant_reads_its_own_series_alone(city: CityFiles, cluster: Cluster) -> None:
    eventually(lambda: result(cluster, "roads", "sample_app_busy"), 90)
    assert {item["metric"]["tenant"] for item in result(cluster, "parks", "sample_app_busy")} == {"parks"}
    assert result(cluster, "parks", 'sample_app_busy{tenant="roads"}') == []
    assert result(cluster, "parks", "kube_node_status_condition") == []
    wider = ("query=sample_app_busy", 'extra_filters[]={tenant="roads"}')
    assert ask(cluster, "parks", "/api/v1/query", *wider) == {"code": 400}
    assert ask(cluster, "parks", "/api/v1/export", "match[]=sample_app_busy") == {"code": 403}


def test_the_page_is_right(home: Machine, city: CityFiles) -> None:
    assert follow(home, city, "watch-a-city.md", "operations") == 2


@pytest.mark.proves("alerts", "ran", "used")
def test_an_app_that_breaks_is_told_within_half_a_minute(
    home: Machine, city: CityFiles, cluster: Cluster, sink: Webhook
) -> None:
    calm = home.run("alerts", city, "-o", "json", code=None).json()
    assert calm["unknown"] == {}
    assert [item for item in calm["alerts"] if item["app"] == "parks-app" and item["state"] == "firing"] == []
    where = ("-n", "parks-internet")
    broken = [{"op": "add", "path": "/spec/template/spec/containers/0/command", "value": ["/bin/false"]}]
    began = time.time()
    cluster.kubectl("patch", "deployment", "parks-app-web", *where, "--type=json", "-p", json.dumps(broken))

    def told(path: str, status: str) -> list[Told]:
        return [
            item
            for item in sink.told()
            if (item.path, item.status, item.labels["alertname"]) == (path, status, "Down") and item.at >= began
        ]

    first = eventually(lambda: told("/parks", "firing"), 90)[0]
    print(f"the alert arrived {first.at - began:.1f} s after the fault")
    assert first.labels.items() >= {
        "tenant": "parks", "app": "parks-app", "component": "web", "severity": "critical"
    }.items()  # fmt: skip
    assert "parks-app web is down" in first.summary
    assert first.at - began < 30
    eventually(lambda: told("/city", "firing"), 30)
    shown = home.run("alerts", city, "parks/parks-app", code=4)
    assert "parks/parks-app/web" in shown.out
    assert "Down" in shown.out
    assert "Down" not in home.run("alerts", city, "roads", code=None).out
    status = home.run("status", city, "-o", "json", code=4).json()
    assert ("Down", "parks-app") in {(item["name"], item["app"]) for item in status["alerts"]}
    # The end is told too.
    cluster.kubectl("rollout", "undo", "deployment", "parks-app-web", *where)
    eventually(lambda: told("/parks", "resolved"), 120)


def test_what_it_takes(city: CityFiles, cluster: Cluster, record_property: Callable[[str, object], None]) -> None:
    """All that is in the platform takes 700 MB at the most. It asks for what it may need, which is somewhat more."""
    running = {
        pod["metadata"]["name"]: pod["spec"]["containers"]
        for pod in cluster.get("pods", "-n", PLACE)["items"]
        if pod["status"]["phase"] == "Running"
    }
    asked = sum(
        parse_quantity(container["resources"]["requests"]["memory"])
        for containers in running.values()
        for container in containers
    )

    def used() -> Decimal | None:
        """What it takes, once that is known of all pods."""
        told = json.loads(cluster.kubectl("get", "--raw", f"/apis/metrics.k8s.io/v1beta1/namespaces/{PLACE}/pods"))
        known = {item["metadata"]["name"]: item["containers"] for item in told["items"]}
        if not running.keys() <= known.keys():
            return None
        return sum((parse_quantity(each["usage"]["memory"]) for name in running for each in known[name]), Decimal(0))

    taken = eventually(used, 90)
    record_property(
        "measured", f"the operations platform takes {taken / 10**6:.0f} MB, and asks for {asked / 10**6:.0f}"
    )
    assert 50e6 < taken <= 700e6
    assert asked <= 850e6
