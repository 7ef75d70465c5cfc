"""What the pods of manifests request, and what an update of them needs besides."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.stacks.cities import app
from wecityctl.model.city import KubernetesManifest
from wecityctl.model.manifests import workload_of
from wecityctl.model.shares import surge_of


def manifest(kind: str = "Deployment", starting: list[dict[str, Any]] | None = None, **spec: Any) -> KubernetesManifest:
    pod = {"containers": [container("main", "100m")], "initContainers": starting or []}
    content = {"kind": kind, "metadata": {"name": "own"}, "spec": {**spec, "template": {"spec": pod}}}
    return KubernetesManifest("own.yaml", content)


def container(name: str, cpu: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "image": "registry.example/a:1", "resources": {"requests": {"cpu": cpu}}, **more}


STAYS = {"restartPolicy": "Always"}


@pytest.mark.parametrize(
    ("starting", "cpu"),
    [
        ([], "100m"),
        ([container("first", "50m"), container("second", "300m")], "300m"),
        ([container("sidecar", "200m", **STAYS), container("other", "300m", **STAYS)], "600m"),
        # While the second begins, the sidecar before it runs already; the one after it does not.
        ([container("sidecar", "200m", **STAYS), container("second", "300m")], "500m"),
        ([container("first", "250m"), container("sidecar", "200m", **STAYS)], "300m"),
    ],
)
def test_init_containers_that_stay_count_beside_the_others(starting: list[dict[str, Any]], cpu: str) -> None:
    found = workload_of(app("code"), manifest(starting=starting))
    assert found is not None
    assert found.resources.cpu == cpu


@pytest.mark.parametrize(
    ("own", "needs_room"),
    [
        (manifest(), True),
        (manifest(strategy={"type": "RollingUpdate"}), True),
        (manifest(strategy={"type": "Recreate"}), False),
        (manifest("StatefulSet"), False),
    ],
)
def test_an_update_that_ends_pods_first_needs_no_room_for_a_second(own: KubernetesManifest, needs_room: bool) -> None:
    assert bool(surge_of(replace(app("code"), components=(), manifests=(own,))).cpu) is needs_room
