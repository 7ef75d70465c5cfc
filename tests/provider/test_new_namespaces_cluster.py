"""Namespaces that the run has made: nothing in them is older than the run, for any of its stacks. A real API server."""

from __future__ import annotations

import itertools
from typing import Any

import grpc
import pytest

from tests.provider.conftest import EngineFactory
from tests.provider.objects import config_map
from tests.provider.test_jobs_cluster import job
from tests.support.control_plane import ControlPlane
from wecityctl.kube.requester import Call, Requester

pytestmark = pytest.mark.cluster
_NUMBERS = itertools.count(1)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The method and path of each request to the API server."""
    found: list[tuple[str, str]] = []
    send = Requester.send

    async def noted(self: Requester, call: Call, **options: Any) -> Any:
        found.append((call.method, call.path))
        return await send(self, call, **options)

    monkeypatch.setattr(Requester, "send", noted)
    return found


async def made_namespace(engines: EngineFactory) -> str:
    """A namespace that the stack `platform` of the run has made."""
    name = f"new-{next(_NUMBERS)}"
    platform = await engines("platform")
    await platform.make({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}, "ns")
    return name


async def test_another_stack_looks_for_nothing_older_in_it(
    engines: EngineFactory, asked: list[tuple[str, str]]
) -> None:
    name = await made_namespace(engines)
    tenant = await engines("tenant")
    asked.clear()
    await tenant.make(config_map("a", name, x="1"), "a")
    await tenant.make(job("a-1", name), "a")
    assert [method for method, path in asked if name in path] == ["PATCH", "PATCH"]


async def test_the_next_run_looks_again(engines: EngineFactory, asked: list[tuple[str, str]]) -> None:
    name = await made_namespace(engines)
    await engines("tenant")
    # A run opens each stack once: this is the next one.
    tenant = await engines("tenant")
    asked.clear()
    await tenant.make(config_map("a", name, x="1"), "a")
    assert [method for method, path in asked if name in path] == ["GET", "PATCH"]


async def test_what_somebody_has_put_there_meanwhile_is_refused(engines: EngineFactory, cluster: ControlPlane) -> None:
    name = await made_namespace(engines)
    cluster.kubectl("create", "configmap", "a", "-n", name, "--from-literal=x=1")
    tenant = await engines("tenant")
    inputs = await tenant.check(config_map("a", name, x="1"), "a")
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await tenant.create(inputs, "a")
    assert f"ConfigMap {name}/a exists already and is not managed by this resource" in (failure.value.details() or "")
    found = "jsonpath={.metadata.managedFields[*].manager}"
    managers = cluster.kubectl("get", "configmap", "a", "-n", name, "-o", found)
    assert managers == "kubectl-create"
