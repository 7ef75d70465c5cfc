"""What is recorded after a wait, what a failure elsewhere means for a wait, and replicas that an autoscaler has set."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import grpc
import pytest

from tests.provider.objects import deployment, service
from tests.provider.protocol import Engine, Partial
from tests.support.control_plane import ControlPlane
from wecityctl.provider.state import recorded

SCALE = ("--subresource=scale", "--type=merge")
AUTOSCALER = (*SCALE, "--field-manager=kube-controller-manager")


def test_what_apply_returned_is_recorded_with_the_later_status() -> None:
    applied: dict[str, Any] = {
        "metadata": {"uid": "u", "resourceVersion": "1", "annotations": {"a": "ours"}},
        "spec": {"replicas": 5, "list": [1]},
        "status": {"phase": "Pending", "old": True},
    }
    later = {
        "metadata": {"uid": "u", "resourceVersion": "7", "annotations": {"a": "theirs", "revision": "1"}},
        "spec": {"replicas": 7, "list": [1, 2], "volumeName": "v"},
        "status": {"phase": "Bound"},
    }
    assert recorded(applied, later) == {
        "metadata": {"uid": "u", "resourceVersion": "1", "annotations": {"a": "ours", "revision": "1"}},
        "spec": {"replicas": 5, "list": [1], "volumeName": "v"},
        "status": {"phase": "Bound"},
    }
    anew = {**later, "metadata": {"uid": "another"}}
    assert recorded(applied, anew) == anew


def set_scale(cluster: ControlPlane, namespace: str, count: int, *owner: str) -> None:
    patch = json.dumps({"spec": {"replicas": count}})
    cluster.kubectl("patch", "deployment", "web", "-n", namespace, *owner, "-p", patch)


@pytest.mark.cluster
async def test_an_autoscaler_that_acts_during_the_wait_is_not_what_was_asked_for(
    engine: Engine, cluster: ControlPlane, namespace: str
) -> None:
    inputs = await engine.check(deployment("web", namespace, replicas=None, nodeSelector={"no": "such"}), "web")
    making = asyncio.create_task(engine.create(inputs, "web", seconds=5))
    await asyncio.sleep(2)
    await asyncio.to_thread(set_scale, cluster, namespace, 3, *AUTOSCALER)
    with pytest.raises(Partial) as failure:
        await making
    outputs = failure.value.outputs
    assert outputs["spec"]["replicas"] == 1
    assert outputs["status"]["replicas"] == 3


@pytest.mark.cluster
async def test_stated_replicas_are_taken_back_from_an_autoscaler_and_from_nobody_else(
    engine: Engine, cluster: ControlPlane, namespace: str
) -> None:
    inputs, _, state = await engine.make(deployment("web", namespace, replicas=1), "web")
    set_scale(cluster, namespace, 3, *AUTOSCALER)
    stated = await engine.check(deployment("web", namespace, replicas=2), "web", inputs)
    assert (await engine.update(stated, state, "web", preview=True))["spec"]["replicas"] == 2
    state = await engine.update(stated, state, "web")
    assert state["spec"]["replicas"] == 2
    set_scale(cluster, namespace, 3, *SCALE, "--field-manager=kubectl")
    more = await engine.check(deployment("web", namespace, replicas=4), "web", stated)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await engine.update(more, state, "web")
    assert ".spec.replicas is owned by 'kubectl'" in str(refused.value.details())


@pytest.mark.cluster
async def test_a_service_does_not_wait_for_what_will_not_come(engine: Engine, namespace: str) -> None:
    bad = deployment("web", namespace)
    bad["spec"]["template"]["spec"]["containers"][0]["image"] = ""
    begun = time.monotonic()
    waiting = asyncio.create_task(engine.make(service("web", namespace), "web-service"))
    with pytest.raises(grpc.aio.AioRpcError):
        await engine.make(bad, "web")
    with pytest.raises(Partial) as failure:
        await waiting
    assert time.monotonic() - begun < 25
    assert "no pod matches its selector, and what was to make them may have failed: web" in failure.value.reasons[0]
