"""Jobs that were there before: what they did may be undone, so a finished one is made again. A real API server."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.provider.protocol import Engine
from tests.support.control_plane import ControlPlane

pytestmark = pytest.mark.cluster


def job(name: str, namespace: str) -> dict[str, Any]:
    pod = {"restartPolicy": "Never", "containers": [{"name": "run", "image": "registry.example/app:1"}]}
    annotations = {"pulumi.com/skipAwait": "true"}
    metadata = {"name": name, "namespace": namespace, "annotations": annotations}
    # The cluster's own controller leaves such a Job alone: the test says when it ends.
    spec = {"managedBy": "example.com/test", "template": {"spec": pod}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}


def finish(cluster: ControlPlane, name: str, namespace: str) -> None:
    conditions = [
        {"type": kind, "status": "True", "lastTransitionTime": "2026-01-01T00:00:01Z", "reason": "Done"}
        for kind in ("SuccessCriteriaMet", "Complete")
    ]
    times = {"startTime": "2026-01-01T00:00:00Z", "completionTime": "2026-01-01T00:00:01Z"}
    patch = json.dumps({"status": {**times, "succeeded": 1, "conditions": conditions}})
    cluster.kubectl("patch", "job", name, "-n", namespace, "--subresource=status", "--type=merge", "-p", patch)


def jobs(cluster: ControlPlane, namespace: str) -> dict[str, str]:
    """The uid of each Job."""
    found = json.loads(cluster.kubectl("get", "jobs", "-n", namespace, "-o", "json"))["items"]
    return {item["metadata"]["name"]: item["metadata"]["uid"] for item in found}


async def test_a_job_that_has_ended_is_made_again_and_one_that_runs_is_adopted(
    engine: Engine, cluster: ControlPlane, namespace: str
) -> None:
    _, _, first = await engine.make(job("a-1", namespace), "a")
    _, _, running = await engine.make(job("a-1", namespace), "a")
    assert running["metadata"]["uid"] == first["metadata"]["uid"]
    finish(cluster, "a-1", namespace)
    inputs = await engine.check(job("a-1", namespace), "a")
    await engine.create(inputs, "a", preview=True)
    assert jobs(cluster, namespace) == {"a-1": first["metadata"]["uid"]}
    _, _, again = await engine.make(job("a-1", namespace), "a")
    assert jobs(cluster, namespace) == {"a-1": again["metadata"]["uid"]}
    assert again["metadata"]["uid"] != first["metadata"]["uid"]


async def test_older_states_find_their_jobs_gone_and_make_them_again(
    engine: Engine, cluster: ControlPlane, namespace: str
) -> None:
    """State A with its Job, a rotation with Job B, state A restored, state B restored: each time the Job runs."""
    inputs, _, of_a = await engine.make(job("a-1", namespace), "a")
    finish(cluster, "a-1", namespace)
    theirs = job("b-1", namespace)
    await engine.make(theirs, "b")
    finish(cluster, "b-1", namespace)
    others = jobs(cluster, namespace)["b-1"]
    _, _, of_b = await engine.make(job("a-2", namespace), "a")
    finish(cluster, "a-2", namespace)
    assert set(jobs(cluster, namespace)) == {"a-2", "b-1"}
    # An older state updates what it knows, which is made again.
    state = await engine.update(inputs, of_a, "a")
    assert jobs(cluster, namespace) == {"a-1": state["metadata"]["uid"], "b-1": others}
    finish(cluster, "a-1", namespace)
    state = await engine.update(await engine.check(job("a-2", namespace), "a"), of_b, "a")
    assert jobs(cluster, namespace) == {"a-2": state["metadata"]["uid"], "b-1": others}
    # What is there is not touched by an update.
    finish(cluster, "a-2", namespace)
    await engine.update(await engine.check(job("a-2", namespace), "a"), state, "a")
    assert jobs(cluster, namespace) == {"a-2": state["metadata"]["uid"], "b-1": others}


async def test_the_old_state_of_a_job_that_this_run_has_made_again_goes_without_a_warning(
    engine: Engine, cluster: ControlPlane, namespace: str
) -> None:
    """A migration is changed, fails, and is changed back: the Job of the first version is made anew, then dropped."""
    _, identifier, old = await engine.make(job("a-1", namespace), "a")
    finish(cluster, "a-1", namespace)
    _, _, again = await engine.make(job("a-1", namespace), "a")
    assert again["metadata"]["uid"] != old["metadata"]["uid"]
    engine.messages.said.clear()
    await engine.delete(identifier, old, "a")
    assert jobs(cluster, namespace) == {"a-1": again["metadata"]["uid"]}
    assert engine.messages.texts(ephemeral=False) == []
