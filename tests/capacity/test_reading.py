"""Reading clusters: side by side, in bounded time, and with what each of them lets us see."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from tests.capacity.live import deployment, many, reach, silence
from tests.capacity.objects import cloud, pool
from tests.support.control_plane import ControlPlane, make_kubeconfig
from wecityctl.capacity import read_capacity
from wecityctl.errors import ExitCode
from wecityctl.model.city import City, Cloud, KubernetesSettings
from wecityctl.report.clouds import as_json

pytestmark = pytest.mark.cluster

NAMESPACE = "capacity"
NODES_ONLY = [
    {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "capacity-nodes"},
        "rules": [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"]}],
    },
    {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "capacity-nodes"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "capacity-nodes"},
        "subjects": [{"kind": "User", "name": "plain", "apiGroup": "rbac.authorization.k8s.io"}],
    },
]


@pytest.fixture(scope="module")
def busy(cluster: ControlPlane) -> Iterator[ControlPlane]:
    """The cluster with two pods that fit and one that fits nowhere."""
    cluster.kubectl("create", "namespace", NAMESPACE)
    cluster.kubectl(
        "apply",
        "-f",
        "-",
        stdin=many(deployment(NAMESPACE, "small", "750m", 2), deployment(NAMESPACE, "huge", "5000", 1)),
    )
    cluster.kubectl("-n", NAMESPACE, "rollout", "status", "deployment/small", "--timeout=60s")
    cluster.kubectl(
        "-n", NAMESPACE, "wait", "pod", "-l", "app=huge", "--for=condition=PodScheduled=False", "--timeout=60s"
    )
    yield cluster
    cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def adopted(name: str) -> Cloud:
    return cloud(pool(), name=name, provider="kubernetes", kubernetes=KubernetesSettings())


def city(*names: str) -> City:
    return City("x", "x.example", (), tuple(adopted(name) for name in names))


def as_user(plane: ControlPlane, token: str) -> str:
    return json.dumps(make_kubeconfig(plane.server, plane.authority.cert, {"token": token}))


def test_live_figures_of_a_real_api_server(busy: ControlPlane) -> None:
    found, errors = read_capacity(city("one"), {"one": reach("one", busy.kubeconfig_text)}, {})
    assert not errors
    (one,) = found.clouds
    assert (one.source, one.health) == ("live", "degraded")
    assert one.kubernetes_version.startswith("v1.")
    assert one.latency is not None
    assert 0 < one.latency < 5
    (row,) = one.pools
    assert (row.pool, row.architecture, row.nodes, row.ready) == ("general", "amd64", 1, 1)
    assert row.allocated is not None
    assert row.allocated.cpu >= 1500
    assert one.waiting.pods == 1
    assert one.waiting.requests.cpu == 5_000_000
    (reason,) = one.waiting.reasons
    assert "Insufficient cpu" in reason
    assert any("pods that wait for a node: 1 (1 of them unschedulable" in line for line in one.conditions)


def test_pages_add_up_to_what_one_list_says(busy: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    clusters = {"one": reach("one", busy.kubeconfig_text)}
    whole, _ = read_capacity(city("one"), clusters, {})
    monkeypatch.setattr("wecityctl.capacity.reading._PAGE", 1)
    paged, _ = read_capacity(city("one"), clusters, {})
    assert paged.clouds[0].pools == whole.clouds[0].pools
    assert paged.clouds[0].waiting == whole.clouds[0].waiting


def test_one_cloud_that_is_silent_spoils_no_other_and_is_told_with_what_the_files_declare(busy: ControlPlane) -> None:
    with silence() as kubeconfig:
        clusters = {"one": reach("one", busy.kubeconfig_text), "mute": reach("mute", kubeconfig)}
        begun = time.monotonic()
        found, errors = read_capacity(city("one", "mute"), clusters, {}, written=time.time() - 3600, seconds=2.0)
        assert time.monotonic() - begun < 10
    one, mute = found.clouds
    assert one.source == "live"
    assert (mute.source, mute.health) == ("declared", "unreachable")
    assert "2 s" in mute.reason
    assert 3590 < mute.age < 3700
    assert mute.pools[0].capacity.cpu == 16000
    assert {name: error.exit_code for name, error in errors.items()} == {"mute": ExitCode.TIMEOUT}
    assert found.total.allocated is not None
    said = as_json(found)["clouds"][1]
    assert (said["reachable"], said["figures"], said["pools"][0]["allocated"]) == (False, "declared", None)


def test_an_address_nobody_listens_on_is_named(busy: ControlPlane) -> None:
    kubeconfig = json.dumps(make_kubeconfig("https://127.0.0.1:9", None, {"token": "t"}))
    found, errors = read_capacity(city("away"), {"away": reach("away", kubeconfig)}, {}, seconds=2.0)
    assert "127.0.0.1:9" in found.clouds[0].reason
    assert list(errors) == ["away"]


def test_a_user_without_rights_sees_what_the_files_declare(busy: ControlPlane) -> None:
    clusters = {"one": reach("one", as_user(busy, busy.token))}
    found, errors = read_capacity(city("one"), clusters, {})
    assert found.clouds[0].source == "declared"
    assert "nodes" in found.clouds[0].reason
    assert list(errors) == ["one"]


def test_a_user_who_may_list_nodes_alone_is_told_that_the_rest_is_not_known(busy: ControlPlane) -> None:
    busy.kubectl("apply", "-f", "-", stdin=many(*NODES_ONLY))
    try:
        clusters = {"one": reach("one", as_user(busy, busy.token))}
        found, errors = read_capacity(city("one"), clusters, {})
    finally:
        busy.kubectl("delete", "-f", "-", stdin=many(*NODES_ONLY))
    assert not errors
    (one,) = found.clouds
    assert one.source == "live"
    assert (one.pools[0].nodes, one.pools[0].allocated, one.pools[0].free) == (1, None, None)
    assert any("pods may not be listed" in line for line in one.conditions)
