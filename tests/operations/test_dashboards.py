"""Dashboards of a city of two clouds, of which one has its store of metrics on a node that is dead."""

from __future__ import annotations

import http.client
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.operations.test_usage_stores import CITY, cluster, serving, without_pods
from wecityctl.errors import NoSuchStackError
from wecityctl.inputs import Clusters
from wecityctl.kube.client import KubeClient
from wecityctl.operations import dashboards as operation
from wecityctl.operations.capability_servers import CapabilityServer, Conversation, conversation
from wecityctl.session import open_session

AWAY = "capability far-metrics has no pod that is ready: in platform-operations"


def test_a_cloud_that_is_away_is_told_and_the_other_is_shown(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "test")
    file, pages = tmp_path / "two.yaml", tmp_path / "pages"
    file.write_text(CITY)

    def answer(path: str, query: Mapping[str, str]) -> tuple[int, Any]:
        begin = int(query["start"])
        series = {"metric": {}, "values": [[begin, "1"], [begin + int(query["step"].removesuffix("s")), "2"]]}
        return 200, {"status": "success", "data": {"resultType": "matrix", "result": [series]}}

    @asynccontextmanager
    async def talk(client: KubeClient, server: CapabilityServer) -> AsyncIterator[Conversation]:
        if server.name == "metrics":
            yield Conversation(http.client.HTTPConnection("127.0.0.1", port, timeout=5), "secret", server.name)
            return
        async with conversation(client, server) as found:
            yield found

    with serving(answer) as port, serving(without_pods) as dead:
        found = Clusters({"main": cluster("main", port), "far": cluster("far", dead)})
        monkeypatch.setattr("wecityctl.clusters.open_clusters", lambda *arguments, **options: found)
        monkeypatch.setattr(operation, "conversation", talk)
        session = open_session(file)
        written = operation.write_dashboards(session, operation.dashboards(session), pages, 3600)
        with pytest.raises(NoSuchStackError, match="far-metrics has no pod that is ready"):
            operation.write_dashboards(session, operation.dashboards(session, "far-metrics"), tmp_path / "far", 3600)
    assert (written.unknown, written.failed) == ({"far": AWAY}, ("far",))
    assert f"cloud far: {AWAY}" in (pages / operation.FIRST).read_text()
    assert not (tmp_path / "far").exists()
