"""`logs` while the log store is on a node that is dead: it says so, and reads what the cluster has."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.operations.test_usage_stores import CITY, TYPES, cluster, serving
from wecityctl.model.since import Since
from wecityctl.operations import logs as operation
from wecityctl.session import open_session

STORE = {
    # The cluster has deleted it, and nobody ends it.
    "metadata": {"name": "logs-0", "namespace": "platform-operations", "deletionTimestamp": "2026-11-01T00:05:00Z"},
    "spec": {"nodeName": "worker-2", "containers": [{"name": "logs"}]},
    "status": {
        "phase": "Running",
        "conditions": [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "False"}],
        "containerStatuses": [{"name": "logs", "ready": True, "state": {"running": {}}}],
    },
}
APP = {
    "metadata": {
        "name": "pass-web-1",
        "namespace": "health-internet",
        "labels": {"app.kubernetes.io/component": "web"},
    },
    "spec": {"nodeName": "worker-1", "containers": [{"name": "web"}]},
    "status": {"phase": "Running"},
}


def test_what_the_cluster_has_is_read_and_the_dead_node_named(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "test")
    file = tmp_path / "two.yaml"
    file.write_text(CITY.replace("[{name: metrics, cloud: main}", "[{name: logs, cloud: main}"))

    def answer(path: str, query: Mapping[str, str]) -> tuple[int, Any]:
        if path in ("/api", "/apis"):
            return 200, TYPES
        if path.endswith("/pods/pass-web-1/log"):
            return 200, "a line"
        items = [STORE] if "/platform-operations/" in path else [APP]
        return 200, {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items}

    told: list[operation.LogEvent] = []
    with serving(answer) as port:
        monkeypatch.setattr(operation, "cluster_of", lambda *arguments, **options: cluster("main", port))
        operation.logs(open_session(file), operation.LogsOptions(app="pass", since=Since(seconds=60)), told.append)
    source, line = told
    assert isinstance(source, operation.LogSource) and source.error is not None
    assert (source.store, source.error.message) == ("logs", "capability logs has no pod that is ready")
    assert source.error.details == "in platform-operations: logs-0: its node worker-2 is not ready"
    assert line == operation.LogLine("pass-web-1", '"a line"')
