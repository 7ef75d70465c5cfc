"""The log store's objects, and what is made of what its server says."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from stacks.platforms.operations.logs.telling import BEHIND, DAY, SILENT, judge
from tests.stacks.cities import CLUSTER, app, city, full_city, one, record_city
from wecityctl.model.city import Capability, City, Platform
from wecityctl.resource_graph import Recording

LOGS = Capability("operations", "logs", "logs")
NOW = 2_000_000_000


def with_logs(whole: City) -> City:
    return replace(whole, platforms=(*whole.platforms, Platform("operations", (LOGS,))))


@pytest.fixture(scope="module")
def recorded() -> dict[str, Recording]:
    whole = with_logs(full_city())
    whole = replace(whole, compliance=replace(whole.compliance, log_retention_days=200))
    return record_city(whole, replace(CLUSTER, api_servers=("192.0.2.1:6443",)))


def test_the_shippers_have_whose_each_namespace_is(recorded: dict[str, Recording]) -> None:
    data = one(recorded, "ConfigMap", "platform-operations/logs-namespaces").inputs["data"]["namespaces.json"]
    found = {item.pop("name"): item for item in json.loads(data)}
    made = {
        item.inputs["metadata"]["name"]: item.inputs["metadata"]["labels"]
        for recording in recorded.values()
        for item in recording.resources
        if item.type.endswith(":Namespace")
    }
    assert found.keys() <= made.keys()
    for name, owner in found.items():
        [(kind, value)] = owner.items()
        assert made[name][f"wecity.dev/{kind}"] == value
    assert {"platform-operations", "platform-application"} <= found.keys()
    assert any("tenant" in owner for owner in found.values())


def test_shippers_reach_the_store_and_api_servers_alone(recorded: dict[str, Recording]) -> None:
    spec = one(recorded, "DaemonSet", "platform-operations/logs-shipper").inputs["spec"]["template"]["spec"]
    assert spec["serviceAccountName"] == "logs-observer"
    assert spec["automountServiceAccountToken"] is True
    assert not any("hostPath" in volume for volume in spec["volumes"])
    [container] = spec["containers"]
    assert "--store=https://logs.platform-operations.svc.cluster.local:9428" in container["command"]
    leaves = one(recorded, "NetworkPolicy", "platform-operations/logs-shippers").inputs["spec"]
    arrives = one(recorded, "NetworkPolicy", "platform-operations/logs-from-shippers").inputs["spec"]
    assert leaves["podSelector"] == arrives["ingress"][0]["from"][0]["podSelector"]
    assert leaves["egress"][0]["ports"] == arrives["ingress"][0]["ports"] == [{"protocol": "TCP", "port": 9428}]
    role = one(recorded, "ClusterRole", "xc-logs-observer").inputs["rules"]
    assert {verb for rule in role for verb in rule["verbs"]} == {"get", "list", "watch"}
    assert {name for rule in role for name in rule["resources"]} == {"pods", "pods/log"}


def test_the_store_keeps_as_long_as_the_files_say_in_three_quarters_of_its_volume(
    recorded: dict[str, Recording],
) -> None:
    spec = one(recorded, "StatefulSet", "platform-operations/logs").inputs["spec"]["template"]["spec"]
    command = spec["containers"][0]["command"][-1]
    assert "--retention-days=200 " in command
    assert f"--limit-bytes={10 * 1024**3 * 3 // 4} " in command


def test_a_store_without_a_certificate_is_spoken_to_in_plain() -> None:
    whole = city(app("user"), platforms=(Platform("operations", (replace(LOGS, tls=False),)),))
    found = record_city(whole)
    spec = one(found, "DaemonSet", "platform-operations/logs-shipper").inputs["spec"]["template"]["spec"]
    command = spec["containers"][0]["command"]
    assert "--store=http://logs.platform-operations.svc.cluster.local:9428" in command
    assert not any("authority" in item for item in command)


def report(**changed: Any) -> dict[str, Any]:
    same = {"node": "one", "heard": NOW - 5, "dropped_lines": 0, "behind_seconds": 0, "problem": ""}
    return {**same, **changed}


def status(**changed: Any) -> dict[str, Any]:
    return {
        "now": NOW, "retention_days": 180, "began": NOW - 10 * DAY, "oldest": NOW - 10 * DAY, "newest": NOW - 1,
        "used_bytes": 10**9, "limit_bytes": 10**11, "read_only": False, "dropped_too_old": 0, "shippers": [report()],
        **changed,
    }  # fmt: skip


FILES = full_city()


def test_a_store_that_does_what_the_files_ask_has_no_problem() -> None:
    told = judge(status(), FILES, ["one"])
    assert told.problems == ()
    assert "it keeps lines for 180 days" in told.facts
    assert "shippers send from 1 of 1 node" in told.facts


@pytest.mark.parametrize(
    ("changed", "nodes", "problem"),
    [
        ({"retention_days": 90}, ["one"], "it keeps lines for 90 days and not for 180"),
        ({"read_only": True}, ["one"], "its volume is full"),
        ({}, ["one", "two"], "no shipper of node two was heard of"),
        ({"shippers": [report(heard=NOW - SILENT - 1)]}, ["one"], "no shipper of node one was heard of"),
        ({"shippers": [report(behind_seconds=BEHIND + 1, problem="refused")]}, ["one"], "301 s behind: refused"),
        ({"oldest": NOW - 5 * DAY, "used_bytes": 9 * 10**10}, ["one"], "its volume is too small for 180 days"),
        ({"used_bytes": 10**10}, ["one"], "100 of 180 days fit"),
    ],
)
def test_what_is_missing_is_a_problem(changed: dict[str, Any], nodes: list[str], problem: str) -> None:
    [told] = judge(status(**changed), FILES, nodes).problems
    assert problem in told


def test_lines_that_were_left_out_are_told() -> None:
    told = judge(status(shippers=[report(dropped_lines=7)], dropped_too_old=2, dropped_too_new=3), FILES, ["one"])
    assert "since the shippers began, 7 lines of too many at once were not stored" in told.facts
    assert "2 lines came when they were too old to be kept" in told.facts
    # The store answers with success to what it does not take.
    assert any(fact.startswith("3 lines were not stored, as the clock of their node is") for fact in told.facts)


def test_logs_that_were_rotated_before_they_were_read_are_told() -> None:
    told = judge(status(shippers=[report(gaps=2), report(node="two", gaps=1), report(node="old")]), FILES, ["one"])
    (fact,) = [fact for fact in told.facts if "rotated" in fact]
    assert "lines may be missing in 3 places" in fact
    assert not any("rotated" in fact for fact in judge(status(), FILES, ["one"]).facts)


def test_a_new_and_empty_store_is_no_problem() -> None:
    told = judge(status(began=NOW - 60, oldest=0, newest=0, used_bytes=0), FILES, ["one"])
    assert told.problems == ()
    assert "it has no line yet" in told.facts


def test_a_store_with_little_in_it_is_told_with_the_unit() -> None:
    told = judge(status(used_bytes=44955), FILES, ["one"])
    assert any(fact.startswith("it takes 44955 bytes of ") for fact in told.facts)
