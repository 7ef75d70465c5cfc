"""Logs on a real node: what apps write is found, by their own tenant and nobody else, after faults and restarts too."""

from __future__ import annotations

import json
import time
import uuid
from typing import Any

import pytest

from tests.e2e.files import CityFiles
from tests.e2e.machine import Cluster, Machine, eventually
from tests.e2e.operations.conftest import LOGS

pytestmark = [pytest.mark.node, pytest.mark.timeout(1500)]

PLATFORM = "platform-operations"
# What an app does with its binding: a request with nothing but Python. It prints the status and the answer.
CLIENT = """
import base64, json, os, ssl, sys, urllib.error, urllib.parse, urllib.request
root = os.environ["SERVICE_BINDING_ROOT"] + "/logs/"
entry = lambda name: open(root + name).read()
path, values, headers = json.loads(sys.argv[1])
request = urllib.request.Request(entry("uri") + path, urllib.parse.urlencode(values, True).encode(), headers)
pair = base64.b64encode((entry("username") + ":" + entry("password")).encode()).decode()
request.add_header("Authorization", "Basic " + pair)
try:
    with urllib.request.urlopen(request, context=ssl.create_default_context(cafile=root + "ca.crt")) as answer:
        print(json.dumps([answer.status, answer.read().decode()]))
except urllib.error.HTTPError as error:
    print(json.dumps([error.code, error.read().decode()]))
"""


def inside(cluster: Cluster, tenant: str, *words: str) -> str:
    return cluster.kubectl("exec", "-n", f"{tenant}-internet", f"deploy/{tenant}-app-web", "--", *words)


def ask(cluster: Cluster, tenant: str, path: str = "/select/logsql/query", **values: Any) -> tuple[int, str]:
    """The status and text of what the store answers to an app of the tenant."""
    headers = values.pop("headers", {})
    found = json.loads(inside(cluster, tenant, "python3", "-c", CLIENT, json.dumps([path, values, headers])))
    return int(found[0]), str(found[1])


def lines(cluster: Cluster, tenant: str, query: str) -> list[dict[str, str]]:
    code, text = ask(cluster, tenant, query=f"{query} | sort by (_time)")
    assert code == 200, text
    return [json.loads(item) for item in text.splitlines()]


def write(cluster: Cluster, tenant: str, *texts: str) -> None:
    """Have the app's container write lines, as bytes that stand in Python's notation."""
    code = "import sys; out = open('/proc/1/fd/1', 'wb', 0); [out.write(eval(text) + b'\\n') for text in sys.argv[1:]]"
    inside(cluster, tenant, "python3", "-c", code, *(repr(text.encode("utf-8", "surrogateescape")) for text in texts))


def word() -> str:
    return f"w{uuid.uuid4().hex[:12]}"


def found(cluster: Cluster, tenant: str, marker: str, count: int = 1) -> list[dict[str, str]]:
    """The lines with the marker, when there are as many."""

    def look() -> list[dict[str, str]]:
        there = lines(cluster, tenant, marker)
        assert len(there) == count, there
        return there

    result: list[dict[str, str]] = eventually(look, 60)
    return result


@pytest.mark.proves("logs", "ran", "used")
def test_a_line_is_found_with_the_fields_of_its_pod(city: CityFiles, cluster: Cluster) -> None:
    marker = word()
    began = time.monotonic()
    write(cluster, "parks", f"{marker} 你好")
    [line] = found(cluster, "parks", marker)
    print(f"a line was found {time.monotonic() - began:.1f} s after it was written, two calls of kubectl included")
    assert line["_msg"] == f"{marker} 你好"
    wanted = {"tenant": "parks", "app": "parks-app", "component": "web", "namespace": "parks-internet"}
    assert wanted.items() <= line.items()
    assert line["pod"].startswith("parks-app-web-")
    assert line["container"]
    assert line["node"] == cluster.get("nodes")["items"][0]["metadata"]["name"]


def test_what_a_line_says_of_itself_is_text(city: CityFiles, cluster: Cluster) -> None:
    marker = word()
    hostile = f'{{"_msg":"{marker}","tenant":"roads","_stream":"{{}}","_time":"2020-01-01T00:00:00Z","app":"x"}}'
    write(cluster, "parks", hostile, f"{marker} \x1b[31m \udcff\udcfe \x00", f"{marker} " + "z" * 100_000)
    first, second, third = found(cluster, "parks", marker, 3)
    assert first["_msg"] == hostile
    assert second["_msg"] == f"{marker} \x1b[31m \ufffd\ufffd \x00"
    assert third["_msg"].startswith(f"{marker} zzz")
    assert int(third["cut_bytes"]) == len(marker) + 1 + 100_000 - len(third["_msg"])
    assert {line["tenant"] for line in (first, second, third)} == {"parks"}
    assert lines(cluster, "roads", marker) == []


@pytest.mark.proves("logs", "refused")
def test_a_tenant_reads_its_own_lines_only(city: CityFiles, cluster: Cluster) -> None:
    mine, theirs = word(), word()
    write(cluster, "parks", mine)
    write(cluster, "roads", theirs)
    found(cluster, "parks", mine)
    found(cluster, "roads", theirs)
    for query in (theirs, f"tenant:roads or {mine}", f"{mine} or {theirs}", f"* | union ({theirs})"):
        for more in ({}, {"extra_filters": "tenant:roads"}, {"headers": {"AccountID": "0", "ProjectID": "0"}}):
            code, text = ask(cluster, "parks", query=query, **more)
            assert code == 200, text
            assert theirs not in text
    for path in ("/status", "/delete/run_task", "/insert/jsonline", "/select/tenant_ids", "/internal/force_flush"):
        assert ask(cluster, "parks", path, query="*", filter="*")[0] == 403


def test_other_pods_do_not_reach_the_store(city: CityFiles, cluster: Cluster) -> None:
    """An app that does not use it, such as the entry point, has no way to it."""
    code = "import socket; socket.create_connection(('logs.platform-operations.svc.cluster.local', 9428), 5)"
    assert inside(cluster, "parks", "python3", "-c", code) == ""
    spec = cluster.get("deploy", "-n", "parks-internet", "parks-app-web")["spec"]["template"]
    image = spec["spec"]["containers"][0]["image"]
    stranger = cluster.kubectl(
        "run", "stranger", "-n", "parks-internet", f"--image={image}", "--restart=Never", "--rm", "-i", "--quiet",
        "--overrides", json.dumps({"spec": {
            "automountServiceAccountToken": False,
            "securityContext": {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "stranger", "image": image, "command": ["python3", "-c", code],
                "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "64Mi"}},
                "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
            }],
        }}), code=None,
    )  # fmt: skip
    assert "Error" in stranger or "timed out" in stranger, stranger


def test_lines_of_pods_that_are_gone_are_read_from_the_store(home: Machine, city: CityFiles, cluster: Cluster) -> None:
    marker = word()
    write(cluster, "parks", marker)
    [line] = found(cluster, "parks", marker)
    cluster.kubectl("delete", "pod", "-n", "parks-internet", line["pod"])
    cluster.kubectl("rollout", "status", "-n", "parks-internet", "deploy/parks-app-web", "--timeout=90s")
    done = home.run("logs", city, "parks/parks-app", "--since", "1h")
    assert f"{line['pod']} | {marker}" in done.out
    assert "read from log store logs" in done.err
    assert f"| {marker}" not in home.run("logs", city, "parks/parks-app").out
    assert marker in home.run("logs", city, "parks-app", "--since", "1h", "--tail", "1000", "--component", "web").out
    assert marker not in home.run("logs", city, "roads-app", "--since", "1h").out


def test_a_container_that_ends_has_its_last_lines_stored(city: CityFiles, cluster: Cluster) -> None:
    marker = word()
    write(cluster, "parks", f"{marker} last words")
    inside(cluster, "parks", "python3", "-c", "import os, signal; os.kill(1, signal.SIGTERM)")
    found(cluster, "parks", marker)
    cluster.kubectl("rollout", "status", "-n", "parks-internet", "deploy/parks-app-web", "--timeout=90s")
    write(cluster, "parks", f"{marker} of the next run")
    assert [line["_msg"] for line in found(cluster, "parks", marker, 2)] == [
        f"{marker} last words", f"{marker} of the next run",
    ]  # fmt: skip


def test_restarts_of_shipper_and_store_lose_and_double_nothing(city: CityFiles, cluster: Cluster) -> None:
    marker = word()
    write(cluster, "roads", *(f"{marker} {number}" for number in range(5)))
    found(cluster, "roads", marker, 5)
    selector = "app.kubernetes.io/component=observer,app.kubernetes.io/name=logs"
    cluster.kubectl("delete", "pod", "-n", PLATFORM, "-l", selector, "--wait=false")
    write(cluster, "roads", *(f"{marker} {number}" for number in range(5, 10)))
    found(cluster, "roads", marker, 10)
    # Killed, with what it had in memory only.
    cluster.kubectl("delete", "pod", "-n", PLATFORM, "logs-0", "--force", "--grace-period=0")
    write(cluster, "roads", *(f"{marker} {number}" for number in range(10, 15)))
    cluster.kubectl("rollout", "status", "-n", PLATFORM, "statefulset/logs", "--timeout=90s")
    assert [line["_msg"] for line in found(cluster, "roads", marker, 15)] == [
        f"{marker} {number}" for number in range(15)
    ]


def test_status_and_evidence_say_what_the_running_store_says(home: Machine, city: CityFiles, cluster: Cluster) -> None:
    def holds() -> dict[str, Any]:
        servers = home.run("status", city, "-o", "json", code=None).json()["servers"]
        [told] = [item for item in servers if item["type"] == "logs"]
        assert told["state"] == "holds", told["problems"]
        return dict(told)

    told = eventually(holds, 60)
    assert "it keeps lines for 180 days" in told["facts"]
    assert "shippers send from 1 of 1 node" in told["facts"]
    report = home.run("policy", "report", city, "-o", "json").json()
    measures = [item for control in report["controls"] for item in control["measures"]]
    [own] = {json.dumps(item) for item in measures if item["kind"] == "capability"}
    assert json.loads(own)["observations"][0]["state"] == "observed"
    rules = {item["outcome"] for item in measures if item["name"] == "log-retention"}
    assert rules == {"no-finding"}


def test_a_use_that_ends_is_locked_out(home: Machine, city: CityFiles, cluster: Cluster) -> None:
    """Last of this module, as it takes the use away; other uses of the app stay."""
    pair = [inside(cluster, "roads", "cat", f"/bindings/logs/{name}") for name in ("username", "password")]
    spec = city.one("App", "roads-app")["spec"]
    spec["uses"] = [use for use in spec["uses"] if use != LOGS]
    home.run("up", city.save(), "--yes")
    code = CLIENT.replace(
        'pair = base64.b64encode((entry("username") + ":" + entry("password"))',
        f"pair = base64.b64encode(({pair[0]!r} + ':' + {pair[1]!r})",
    )
    answer = json.loads(
        inside(cluster, "parks", "python3", "-c", code, json.dumps(["/select/logsql/query", {"query": "*"}, {}]))
    )
    assert answer[0] == 401
