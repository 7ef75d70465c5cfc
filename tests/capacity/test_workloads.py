"""What `status` reads of clusters: in bounded time, and with why pods wait."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from tests.capacity.live import deployment, many, reach, silence
from tests.support.control_plane import ControlPlane, make_kubeconfig
from wecityctl.errors import ExitCode
from wecityctl.operations.status.values import Away
from wecityctl.operations.status.workloads import workload_statuses

pytestmark = pytest.mark.cluster

NAMESPACE, CITY = "workloads", "lakeview"


@pytest.fixture(scope="module")
def town(cluster: ControlPlane) -> Iterator[ControlPlane]:
    """A city of two Deployments: one is ready, one fits on no node."""
    cluster.kubectl("create", "namespace", NAMESPACE)
    label = {"wecity.dev/city": CITY, "app.kubernetes.io/part-of": "parks"}
    shapes = (("small", "100m", 2), ("huge", "5000", 3))
    cluster.kubectl("apply", "-f", "-", stdin=many(*(deployment(NAMESPACE, *shape, **label) for shape in shapes)))
    cluster.kubectl("-n", NAMESPACE, "rollout", "status", "deployment/small", "--timeout=60s")
    cluster.kubectl(
        "-n", NAMESPACE, "wait", "pod", "-l", "app=huge", "--for=condition=PodScheduled=False", "--timeout=60s"
    )
    yield cluster
    cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def test_what_waits_says_why_its_pods_do(town: ControlPlane) -> None:
    read = workload_statuses(CITY, {"main": reach("main", town.kubeconfig_text)})
    assert not read.failed
    found = {item.name: item for item in read.found}
    assert (found["small"].state, found["small"].ready, found["small"].part_of) == ("ready", 2, "parks")
    huge = found["huge"]
    assert (huge.state, huge.ready, huge.wanted) == ("waiting", 0, 3)
    assert "and 2 more: unschedulable: 0/1 nodes are available" in huge.reason
    assert huge.reason.endswith("1 Insufficient cpu.")


def test_a_silent_cloud_takes_its_time_and_no_more(town: ControlPlane) -> None:
    with silence() as kubeconfig:
        clusters = {"main": reach("main", town.kubeconfig_text), "mute": reach("mute", kubeconfig)}
        begun = time.monotonic()
        read = workload_statuses(CITY, clusters, seconds=2.0)
        assert time.monotonic() - begun < 10
    assert {item.cloud for item in read.found} == {"main"}
    assert {name: error.exit_code for name, error in read.failed.items()} == {"mute": ExitCode.TIMEOUT}


def test_a_cloud_that_answers_and_forbids_is_not_called_unreachable(town: ControlPlane) -> None:
    plain = json.dumps(make_kubeconfig(town.server, town.authority.cert, {"token": town.token}))
    with silence() as kubeconfig:
        clusters = {"main": reach("main", plain), "mute": reach("mute", kubeconfig)}
        read = workload_statuses(CITY, clusters, seconds=2.0)
    away = Away.of({}, {"new": "its landing zone has not been made"}, read.failed)
    assert (sorted(away.unreachable), list(away.forbidden)) == (["mute", "new"], ["main"])
    assert away.forbidden["main"].startswith("it answers, and these credentials may not read")
    assert "forbidden" in away.forbidden["main"]
