"""What `destroy` keeps, on a real API server: its preview, the run, `status` afterwards, and the next `up`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.drive import CATALOGUE, go, make_city, plan_of
from tests.engine.test_cluster import of, up
from tests.engine.test_run import outcomes
from tests.support.control_plane import ControlPlane
from wecityctl.engine.backend import open_backend
from wecityctl.engine.destroy_preview import preview_destroy
from wecityctl.inputs import Cluster
from wecityctl.model.city import City
from wecityctl.model.events import RunResult
from wecityctl.overview import Away, examine_clouds, stack_statuses

pytestmark = pytest.mark.cluster


@pytest.fixture
def name(request: pytest.FixtureRequest, cluster: ControlPlane) -> Iterator[str]:
    """A city's name that no other test uses; its namespaces are gone afterwards."""
    name = "t" + "".join(c for c in request.node.name if c.isalnum())[5:35].lower()
    yield name
    cluster.kubectl("delete", "namespace", "--wait=false", "-l", f"wecity.dev/city={name}")


def destroyed_in_preview(city: City, cluster: Cluster, *, delete_data: bool = False) -> RunResult:
    found = {"main": cluster}
    return preview_destroy(
        plan_of(city), CATALOGUE, open_backend(city), found, {}, lambda event: None, delete_data=delete_data
    )


def gone_and_kept(result: RunResult) -> tuple[set[str], set[str]]:
    """What is deleted and what is kept, by URN."""
    return {change.urn for item in result.results for change in item.changes}, {item.urn for item in result.kept}


def test_a_preview_of_destroy_says_what_the_run_then_deletes_and_keeps(
    home: Path, name: str, main_cluster: Cluster, cluster: ControlPlane
) -> None:
    """Before a `destroy`, and after one that has kept data, with --delete-data and without."""
    city, space = make_city(name, ("health",), claim="health", closed="health"), f"{name}-tenant-health-main"
    up(city, main_cluster)
    shown = destroyed_in_preview(city, main_cluster)
    why = {f"{item.type.rpartition(':')[2]} {item.name}": item.why for item in shown.kept}
    assert why == {
        f"Namespace {space}": "holds the volume claim data",
        f"PersistentVolumeClaim {space}/data": "a volume",
        f"NetworkPolicy {space}/closed": f"closes the namespace {space}",
    }
    everything = gone_and_kept(destroyed_in_preview(city, main_cluster, delete_data=True))
    assert everything == (set.union(*gone_and_kept(shown)), set())
    done = go(city, "destroy", {"main": main_cluster}, program="objects")
    assert done.exit_code == 0, done
    assert gone_and_kept(done) == gone_and_kept(shown)
    # Somebody who starts a pod in what is left has no more ways out than an app had.
    policies = json.loads(cluster.kubectl("get", "networkpolicies", "-n", space, "-o", "json"))["items"]
    assert [item["spec"] for item in policies] == [{"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}]

    again = destroyed_in_preview(city, main_cluster)
    assert gone_and_kept(again) == (set(), gone_and_kept(done)[1])
    assert of(again, "health.main").reason == "nothing is left but what was kept"
    assert gone_and_kept(go(city, "destroy", {"main": main_cluster}, program="objects")) == gone_and_kept(again)
    last = destroyed_in_preview(city, main_cluster, delete_data=True)
    removed = gone_and_kept(last)[0]
    assert removed == gone_and_kept(done)[1]
    done = go(city, "destroy", {"main": main_cluster}, program="objects", delete_data=True)
    assert (done.exit_code, gone_and_kept(done)[0]) == (0, removed)
    assert cluster.kubectl("get", "namespace", space, "--ignore-not-found", "-o", "name") == ""


def test_what_closed_a_kept_namespace_is_the_citys_again_after_an_up(
    home: Path, name: str, main_cluster: Cluster, cluster: ControlPlane
) -> None:
    city, space = make_city(name, ("health",), claim="health", closed="health"), f"{name}-tenant-health-main"
    up(city, main_cluster)
    uid = ("get", "networkpolicy", "closed", "-n", space, "-o", "jsonpath={.metadata.uid}")
    first = cluster.kubectl(*uid)
    assert go(city, "destroy", {"main": main_cluster}, program="objects").exit_code == 0
    result = up(city, main_cluster)
    assert (result.exit_code, of(result, "health.main").warnings, of(result, "health.main").findings) == (0, (), ())
    assert cluster.kubectl(*uid) == first
    assert "retained" not in cluster.kubectl("get", "networkpolicy", "closed", "-n", space, "-o", "yaml")
    again = up(city, main_cluster, skip=False)
    assert (set(outcomes(again).values()), again.has_changes) == ({"unchanged"}, False)
    # It leaves with the files: nothing else than the program holds on to it.
    opened = up(make_city(name, ("health",), claim="health"), main_cluster)
    assert [(change.name, change.op) for change in of(opened, "health.main").changes] == [("closed", "delete")]


def test_data_of_a_tenant_that_has_left_the_files_is_shown_and_can_be_deleted(
    home: Path, name: str, main_cluster: Cluster, cluster: ControlPlane
) -> None:
    """No state and no file has its stack any more: its marks on the cluster do."""
    city, without = make_city(name, ("health",), claim="health"), make_city(name, ())
    space = f"{name}-tenant-health-main"
    up(city, main_cluster)
    assert up(without, main_cluster, confirm_all=True).exit_code == 0
    backend, clusters = open_backend(without), {"main": main_cluster}
    kept = examine_clouds(plan_of(without), backend, clusters).kept
    (status,) = [item for item in stack_statuses(plan_of(without), backend, Away(), (), kept) if item.kept]
    assert (status.stack, status.state, status.reason) == (
        f"{name}.tenant.health.main",
        "kept",
        "taken down, 2 objects kept",
    )
    assert len(destroyed_in_preview(without, main_cluster).kept) == 2
    shown = destroyed_in_preview(without, main_cluster, delete_data=True)
    done = go(without, "destroy", clusters, program="objects", delete_data=True)
    assert done.exit_code == 0, done
    assert gone_and_kept(done) == gone_and_kept(shown)
    assert cluster.kubectl("get", "namespace", space, "--ignore-not-found", "-o", "name") == ""
