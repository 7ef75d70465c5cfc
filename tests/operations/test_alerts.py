"""What `alerts` says of a cloud whose metrics, or whose capability for alerts, are on a node that is dead.

The servers here are on loopback and answer as they are told to; a real one is asked in `tests/e2e/operations`.
"""

from __future__ import annotations

import http.client
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from stacks.catalogue import load_catalogue
from tests.operations.test_usage_stores import TYPES, cluster, serving
from tests.stacks.cities import city
from wecityctl.engine.state.backend import Backend
from wecityctl.kube.client import KubeClient
from wecityctl.model.outputs import Endpoint
from wecityctl.operations import alerts as operation
from wecityctl.operations.alerts import Alerts, alerts_of, unknown_texts
from wecityctl.operations.capability_servers import CapabilityServer, Conversation

ENDPOINT = Endpoint("alerts", "alerts", "alertmanager", "platform-operations", "alerts", 8880, {})
DOWN = {
    "name": "Down",
    "state": "firing",
    "labels": {"alertname": "Down", "severity": "critical", "tenant": "health", "app": "code"},
    "annotations": {"summary": "code is down"},
    "activeAt": "2026-11-01T00:00:00Z",
}


def told(monkeypatch: pytest.MonkeyPatch, port: int) -> Alerts:
    """The alerts of a cloud whose API server has this port."""
    monkeypatch.setattr(operation, "_tellers", lambda catalogue, backend: [("main", (ENDPOINT, False))])
    return alerts_of(city(), load_catalogue(), cast(Backend, None), {"main": cluster("main", port)})


@pytest.mark.parametrize("health", ["ok", "err"])
def test_rules_that_cannot_be_evaluated_are_not_taken_for_calm(monkeypatch: pytest.MonkeyPatch, health: str) -> None:
    asked: dict[str, Mapping[str, str]] = {}
    rules = [{"health": "ok", "lastError": ""}, {"health": health, "lastError": "dial tcp 10.1.2.3:8428: no route\x1b"}]

    def answer(path: str, query: Mapping[str, str]) -> tuple[int, Any]:
        asked[path] = query
        if path == "/api/v1/alerts":
            return 200, {"data": {"alerts": [DOWN]}}
        return 200, {"data": {"groups": [{"rules": rules[:1]}, {"rules": rules[1:]}]}}

    @asynccontextmanager
    async def talk(client: KubeClient, server: CapabilityServer) -> AsyncIterator[Conversation]:
        yield Conversation(http.client.HTTPConnection("127.0.0.1", port, timeout=5), "secret", server.name)

    monkeypatch.setattr(operation, "conversation", talk)
    with serving(answer) as port:
        found = told(monkeypatch, port)
    assert asked == {"/api/v1/alerts": {}, "/api/v1/rules": {"exclude_alerts": "true"}}
    assert [item.name for item in found.firing] == ["Down"]
    why = (
        "alerts of cloud main: alerts cannot evaluate 1 of 2 rules, so that nothing new is known of them: "
        "dial tcp 10.1.2.3:8428: no route\\u001b"
    )
    assert (list(unknown_texts(found)), found.failed) == (
        ([why], frozenset({"main"})) if health == "err" else ([], frozenset())
    )


def test_a_dead_node_is_named_as_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    pod = {
        "metadata": {"name": "alerts-5d9", "namespace": "platform-operations"},
        "spec": {"nodeName": "worker-2", "containers": [{"name": "alerts"}]},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "False"}],
            "containerStatuses": [{"name": "alerts", "ready": True, "state": {"running": {}}}],
        },
    }

    def answer(path: str, query: Mapping[str, str]) -> tuple[int, Any]:
        if path in ("/api", "/apis"):
            return 200, TYPES
        return 200, {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": [pod]}

    with serving(answer) as port:
        found = told(monkeypatch, port)
    assert (found.found, found.failed) == ((), frozenset({"main"}))
    assert list(unknown_texts(found)) == [
        "alerts of cloud main: alerts could not be asked: capability alerts has no pod that is ready: "
        "in platform-operations: alerts-5d9: its node worker-2 is not ready"
    ]
