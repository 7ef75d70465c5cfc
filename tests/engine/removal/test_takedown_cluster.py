"""What `destroy` keeps, on a real API server: its preview, the run, `status` afterwards, and the next `up`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.engine.drive import go, make_city, plan_of, session_of
from tests.engine.run.test_execution import outcomes
from tests.engine.test_cluster import of, up
from tests.support.control_plane import ControlPlane
from wecityctl.engine.removal.preview import preview_destroy
from wecityctl.engine.state.backend import open_backend
from wecityctl.errors import ConfigurationError, DeploymentError
from wecityctl.inputs import Cluster, Clusters
from wecityctl.model.city import City
from wecityctl.model.events import Event, RunResult
from wecityctl.model.quantity import parse_quantity
from wecityctl.operations import leftovers
from wecityctl.operations.left_volumes import delete_volumes, find_volumes
from wecityctl.operations.leftovers import delete_leftovers
from wecityctl.operations.status.examination import examine_clouds
from wecityctl.operations.status.judging import stack_statuses
from wecityctl.operations.status.values import Away

pytestmark = pytest.mark.cluster


@pytest.fixture
def name(request: pytest.FixtureRequest, cluster: ControlPlane) -> Iterator[str]:
    """A city's name that no other test uses; its namespaces are gone afterwards."""
    name = "t" + "".join(c for c in request.node.name if c.isalnum())[5:35].lower()
    yield name
    cluster.kubectl("delete", "namespace", "--wait=false", "-l", f"wecity.dev/city={name}")


def destroyed_in_preview(city: City, cluster: Cluster, *, delete_data: bool = False) -> RunResult:
    found = Clusters({"main": cluster})
    return preview_destroy(plan_of(city), found, open_backend(city), lambda event: None, delete_data=delete_data)


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


def test_a_volume_that_was_kept_is_left_over_and_deleted_by_name(
    home: Path, name: str, main_cluster: Cluster, cluster: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    city, space = make_city(name, ("health",), claim="health"), f"{name}-tenant-health-main"
    up(city, main_cluster)
    session, backend, clusters = session_of(city), open_backend(city), Clusters({"main": main_cluster})
    assert find_volumes(session, clusters, backend, {}).items == (), "a state has it"
    assert go(city, "destroy", {"main": main_cluster}, program="objects").exit_code == 0
    [found] = find_volumes(session, clusters, backend, {}).items
    live = json.loads(cluster.kubectl("get", "pvc", "data", "-n", space, "-o", "json"))
    assert (found.name, found.uid) == (f"volume:main/{space}/data", live["metadata"]["uid"])
    assert found.created == live["metadata"]["creationTimestamp"] <= found.since
    assert found.bytes == parse_quantity(live["spec"]["resources"]["requests"]["storage"])
    assert (found.planned, found.stack) == (False, f"{name}.tenant.health.main")

    def delete(*names: str) -> None:
        delete_leftovers(session, names, lambda event: None)

    monkeypatch.setattr(leftovers, "_open", lambda *_: (backend, clusters))
    with pytest.raises(ConfigurationError, match="nothing that is left over has the name 'volume:main/other/data'"):
        delete(found.name, "volume:main/other/data")
    with pytest.raises(DeploymentError, match="is another volume now"):
        delete_volumes(clusters, [replace(found, uid="another")])
    assert cluster.kubectl("get", "pvc", "data", "-n", space, "-o", "jsonpath={.metadata.uid}") == found.uid
    delete(found.name)
    assert cluster.kubectl("get", "pvc", "data", "-n", space, "--ignore-not-found", "-o", "name") == ""
    assert find_volumes(session, clusters, backend, {}).items == ()


OPENED = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "opened"},
    "spec": {"podSelector": {}, "ingress": [{}]},
}


def beside(result: RunResult) -> set[tuple[str, bool, bool]]:
    """What nobody declared, whether it goes with its namespace, and whether it is settled."""
    found = [item for stack in result.results for item in stack.findings if item.what == "undeclared"]
    told = " ".join(text for stack in result.results for text in stack.warnings)
    assert all(f"{item.title} is not declared: made by kubectl" in told for item in found)
    return {(item.title, item.with_namespace, item.resolved) for item in found}


def test_what_others_have_in_a_namespace_is_named_before_it_goes_with_it(
    home: Path, name: str, main_cluster: Cluster, cluster: ControlPlane
) -> None:
    city, clusters = make_city(name, ("health", "traffic"), claim="health", closed="health"), {"main": main_cluster}
    kept, going = f"{name}-tenant-health-main", f"{name}-tenant-traffic-main"
    up(city, main_cluster)
    for space in (kept, going):
        cluster.kubectl("create", "secret", "generic", "theirs", "--from-literal=a=1", "-n", space)
        cluster.kubectl("apply", "-n", space, "-f", "-", stdin=json.dumps(OPENED))
    cluster.kubectl("create", "deployment", "runs-on", "--image=app", "--replicas=0", "-n", kept)
    lost = {(f"Secret {going}/theirs", True), (f"NetworkPolicy {going}/opened", True)}
    stays = (f"NetworkPolicy {kept}/opened", False, False)
    shown = destroyed_in_preview(city, main_cluster)
    runs = (f"Deployment {kept}/runs-on", False, False)
    assert beside(shown) == {*((*item, False) for item in lost), stays, runs}
    ended = f"; left running in the namespace that is kept; `kubectl delete deployment runs-on -n {kept}` ends it"
    assert ended in " ".join(of(shown, "health.main").warnings)
    assert "; deleted with its namespace" in " ".join(of(shown, "traffic.main").warnings)
    assert "; left in the namespace that is kept" in " ".join(of(shown, "health.main").warnings)
    # The same where a stack was removed from the configuration.
    city = make_city(name, ("health",), claim="health", closed="health")
    warned = [text for item in go(city, "preview", clusters, program="objects").results for text in item.warnings]
    (text,) = [text for text in warned if f"Secret {going}/theirs" in text]
    assert f"deletes it with {name}.tenant.traffic.main" in text
    left = up(city, main_cluster, confirm_all=True)
    assert beside(left) >= {(*item, True) for item in lost}
    cluster.kubectl("apply", "-n", kept, "-f", "-", stdin=json.dumps(OPENED))
    events: list[Event] = []
    done = go(city, "destroy", clusters, program="objects", events=events)
    assert beside(done) == {stays, runs}
    # Named before anything is deleted.
    texts = [getattr(event, "message", "") or type(event).__name__ for event in events]
    assert max(i for i, text in enumerate(texts) if "is not declared" in text) < texts.index("StackStarted")
    # What is kept is still looked at.
    backend = open_backend(city)
    seen = examine_clouds(plan_of(city), backend, clusters)
    told = {item.title for item in seen.found if item.what == "undeclared"}
    assert told == {f"Secret {kept}/theirs", f"NetworkPolicy {kept}/opened", f"Deployment {kept}/runs-on"}
    (status,) = [item for item in stack_statuses(plan_of(city), backend, Away(), seen.found, seen.kept) if item.kept]
    assert (status.state, status.reason) == ("drifted", "taken down, 3 objects kept; 3 undeclared on the cluster")
    # With the data, what others have there goes as well.
    everything = {(f"Secret {kept}/theirs", True), (f"NetworkPolicy {kept}/opened", True), (*runs[:1], True)}
    assert beside(destroyed_in_preview(city, main_cluster, delete_data=True)) == {(*item, False) for item in everything}
    done = go(city, "destroy", clusters, program="objects", delete_data=True)
    assert beside(done) == {(*item, True) for item in everything}


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


FENCE = "networkpolicy", "closed"
OPEN = {"spec": {"ingress": [{}], "egress": [{}]}}


def is_closed(cluster: ControlPlane, space: str) -> bool:
    spec = json.loads(cluster.kubectl("get", *FENCE, "-n", space, "-o", "json"))["spec"]
    return spec == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def enforced(cluster: ControlPlane, space: str) -> str:
    label = r"jsonpath={.metadata.labels.pod-security\.kubernetes\.io/enforce}"
    return cluster.kubectl("get", "namespace", space, "-o", label)


def opened_while_it_was_down(city: City, on: Cluster, cluster: ControlPlane, space: str) -> None:
    up(city, on)
    assert go(city, "destroy", {"main": on}, program="objects").exit_code == 0
    cluster.kubectl("patch", *FENCE, "-n", space, "--type=merge", "-p", json.dumps(OPEN))
    cluster.kubectl("label", "namespace", space, "pod-security.kubernetes.io/enforce=privileged")


def test_what_was_opened_while_it_was_kept_is_closed_by_the_same_up(
    home: Path, name: str, main_cluster: Cluster, cluster: ControlPlane
) -> None:
    """Before anything else of its stack is made; the preview before it shows that, and `status` calls it changed."""
    city, space = make_city(name, ("health",), claim="health", closed="health"), f"{name}-tenant-health-main"
    opened_while_it_was_down(city, main_cluster, cluster, space)
    titles = {f"NetworkPolicy {space}/closed", f"Namespace {space}"}

    plan, backend = plan_of(city), open_backend(city)
    examined = examine_clouds(plan, backend, {"main": main_cluster})
    statuses = stack_statuses(plan, backend, Away(), examined.found, examined.kept)
    (status,) = [item for item in statuses if item.kept]
    assert (status.state, status.reason) == ("drifted", "taken down, 3 objects kept; 2 changed on the cluster")
    assert {item.title for item in status.drift if item.what == "security"} == titles

    shown = of(go(city, "preview", {"main": main_cluster}, program="objects"), "health.main")
    assert {(item.title, item.what, item.resolved) for item in shown.findings} == {
        (title, "security", True) for title in titles
    }
    assert {(change.name, change.op) for change in shown.changes if change.op != "create"} == {
        ("closed", "update"),
        ("space", "update"),
    }
    assert not any("not declared" in text for text in shown.warnings)
    assert not is_closed(cluster, space)

    # The last step of the stack fails: what had been opened is closed by then.
    broken = make_city(name, ("health",), claim="health", closed="health", broken="health")
    result = of(up(broken, main_cluster), "health.main")
    assert result.outcome == "failed"
    assert (is_closed(cluster, space), enforced(cluster, space)) == (True, "")
    assert {item.title for item in result.findings if item.resolved} == titles
    assert any("restored" in text and "kubectl" in text for text in result.warnings)
    result = up(city, main_cluster)
    assert (result.exit_code, of(result, "health.main").findings) == (0, ())
    assert set(outcomes(up(city, main_cluster, skip=False)).values()) == {"unchanged"}


def test_a_kept_fence_is_closed_where_the_turn_of_its_stack_does_not_come(
    home: Path, name: str, main_cluster: Cluster, cluster: ControlPlane
) -> None:
    city, space = make_city(name, ("health",), claim="health", closed="health"), f"{name}-tenant-health-main"
    opened_while_it_was_down(city, main_cluster, cluster, space)
    broken = make_city(name, ("health",), claim="health", closed="health", broken="application")
    result = up(broken, main_cluster)
    assert of(result, "health.main").outcome == "blocked"
    assert (is_closed(cluster, space), enforced(cluster, space)) == (True, "")
    assert up(city, main_cluster).exit_code == 0


@pytest.mark.parametrize("lost", ["marks", "labels"])
def test_what_has_lost_its_marks_is_closed_by_the_same_up(
    home: Path, name: str, main_cluster: Cluster, cluster: ControlPlane, lost: str
) -> None:
    """Then it is in no state, and the provider adopts it as its own."""
    city, space = make_city(name, ("health",), claim="health", closed="health"), f"{name}-tenant-health-main"
    opened_while_it_was_down(city, main_cluster, cluster, space)
    names = ("wecity.dev/retained-for-", "wecity.dev/retained-record-") if lost == "marks" else ("wecity.dev/city-",)
    verb = "annotate" if lost == "marks" else "label"
    cluster.kubectl(verb, *FENCE, "-n", space, *names)
    cluster.kubectl(verb, "namespace", space, *names)
    result = of(up(city, main_cluster), "health.main")
    assert (is_closed(cluster, space), enforced(cluster, space)) == (True, ""), result
    assert result.outcome == "succeeded"
    assert any("restored" in text for text in result.warnings)


def test_forged_marks_are_told_and_delete_nothing(
    home: Path, name: str, main_cluster: Cluster, cluster: ControlPlane
) -> None:
    """Copied onto a claim in another's namespace, and onto that namespace."""
    city, space = make_city(name, ("health",), claim="health"), f"{name}-tenant-health-main"
    other = f"{name}-vv"
    up(city, main_cluster)
    assert go(city, "destroy", {"main": main_cluster}, program="objects").exit_code == 0
    claim = json.loads(cluster.kubectl("get", "pvc", "data", "-n", space, "-o", "json"))
    marks = {key: value for key, value in claim["metadata"]["annotations"].items() if key.startswith("wecity.dev/")}
    record = json.loads(marks["wecity.dev/retained-record"])
    cluster.kubectl("create", "namespace", other)

    def forge(label: str, **stated: str) -> None:
        """A claim with a mark whose record says `stated`."""
        inputs = {**record["inputs"], "metadata": {**record["inputs"]["metadata"], **stated}}
        forged = {**marks, "wecity.dev/retained-record": json.dumps({**record, "inputs": inputs})}
        metadata = {
            "name": label,
            "namespace": other,
            "labels": {"wecity.dev/city": name},
            "annotations": forged,
        }
        spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
        made = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}
        cluster.kubectl("apply", "-f", "-", stdin=json.dumps(made))

    forge("copied")
    forge("v", name="v", namespace=other)
    own = json.loads(cluster.kubectl("get", "namespace", space, "-o", "json"))["metadata"]["annotations"]
    urn, told = own["wecity.dev/retained-for"], json.loads(own["wecity.dev/retained-record"])
    told["inputs"]["metadata"]["name"] = other
    cluster.kubectl("label", "namespace", other, f"wecity.dev/city={name}")
    cluster.kubectl(
        "annotate",
        "namespace",
        other,
        f"wecity.dev/retained-for={urn}",
        f"wecity.dev/retained-record={json.dumps(told)}",
    )

    doubted = "has the mark of what `destroy` keeps, but"
    expected = {
        f"PersistentVolumeClaim {other}/copied {doubted} its record is that of another object: it is left alone",
        f"PersistentVolumeClaim {other}/v {doubted} the namespace {other} is not the city's: it is left alone",
        f"Namespace {other} {doubted} it was not made for the resource that the mark names: it is left alone",
    }
    plan, backend, clusters = plan_of(city), open_backend(city), {"main": main_cluster}
    examined = examine_clouds(plan, backend, clusters)
    assert set(examined.notes) == expected
    assert {item.name for kept in examined.kept.values() for item in kept} == {space, f"{space}/data"}
    shown = destroyed_in_preview(city, main_cluster, delete_data=True)
    assert set(shown.notes) == expected
    done = go(city, "destroy", clusters, program="objects", delete_data=True)
    assert done.exit_code == 0, done
    assert set(done.notes) == expected
    assert gone_and_kept(done) == gone_and_kept(shown)
    assert len(gone_and_kept(done)[0]) == 2
    assert cluster.kubectl("get", "namespace", space, "--ignore-not-found", "-o", "name") == ""
    left = cluster.kubectl("get", "pvc", "-n", other, "-o", "name").split()
    assert left == ["persistentvolumeclaim/copied", "persistentvolumeclaim/v"]
