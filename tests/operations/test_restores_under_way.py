"""A restore whose command was killed goes on in the cluster: an `up` sees it there, on a real API server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from stacks.catalogue import load_catalogue
from stacks.platforms.backups import job
from tests.engine.drive import make_city
from tests.support.control_plane import ControlPlane
from wecityctl.engine.state.engine_lock import LockedError
from wecityctl.inputs import Cluster, Clusters
from wecityctl.model.city import Backup, City
from wecityctl.model.outputs import Endpoint
from wecityctl.operations.restores_under_way import require_no_restore

pytestmark = pytest.mark.cluster

NAMESPACE = "platform-under-way"


@pytest.fixture
def city() -> City:
    found = make_city("way")
    backup = Backup("s3://backups", "cn-hubei", "https://192.0.2.1:9000", ("192.0.2.0/24",), "keys", "password")
    return replace(found, compliance=replace(found.compliance, backup=backup))


@pytest.fixture
def namespace(cluster: ControlPlane) -> Iterator[str]:
    cluster.kubectl("create", "namespace", NAMESPACE)
    yield NAMESPACE
    cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def test_an_up_is_refused_while_a_restore_goes_on(city: City, cluster: ControlPlane, namespace: str) -> None:
    reached = Cluster("main", cluster.kubeconfig_text, "", "uid")
    clusters = Clusters({"main": reached})
    require_no_restore(city, clusters)
    endpoint = Endpoint(
        capability="postgresql", type="postgresql", engine="postgresql", namespace=namespace, service="postgresql",
        port=5432, pod_labels={}, admin_secret="admin", image="image",
    )  # fmt: skip
    made = job(
        city, load_catalogue()["postgresql"], reached, endpoint, "backup", "restore", {"MARK": "a"}, is_tls=False
    )
    name = made["metadata"]["name"]
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(made))
    with pytest.raises(LockedError, match=f"a restore goes on: job {namespace}/{name} on main") as refused:
        require_no_restore(city, clusters)
    assert f"kubectl delete job -n {namespace} {name}" in refused.value.resolution
    # Another city of the same cluster is not concerned, nor is one that takes no backups.
    require_no_restore(replace(city, name="other"), clusters)
    require_no_restore(replace(city, compliance=replace(city.compliance, backup=Backup())), clusters)
    cluster.kubectl("delete", "job", name, "-n", namespace, "--wait=false", "--cascade=orphan")
    cluster.kubectl("wait", "--for=delete", f"job/{name}", "-n", namespace, "--timeout=30s")
    require_no_restore(city, clusters)
