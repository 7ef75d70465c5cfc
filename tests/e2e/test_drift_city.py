"""Drift in a small city through the command line: what others change is seen, and put right or refused by one rule."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from tests.e2e.files import SIMULATED, CityFiles, document, hamlet
from tests.e2e.machine import Cluster, Done, Machine
from tests.support.admission import denying, mutating
from wecityctl.provider.ownership import imported_inputs

pytestmark = pytest.mark.cluster

NAME = "drifting"
SPACE = "parks-internet"
TENANT = f"{NAME}.tenant.parks.main"
POLICY = f"NetworkPolicy {SPACE}/default-deny"
ENFORCE = "pod-security.kubernetes.io/enforce"
POLICY_OF_SPACE = ("networkpolicy", "default-deny", "-n", SPACE)


@pytest.fixture(scope="module")
def city(home: Machine) -> CityFiles:
    return hamlet(home.root / "city", NAME, SIMULATED)


@pytest.fixture(scope="module")
def cluster(home: Machine, city: CityFiles) -> Cluster:
    home.run("up", city, "--yes")
    return Cluster(home.state / "clouds" / f"{NAME}-main" / "kubeconfig")


def up(home: Machine, city: CityFiles, *more: str, code: int = 0) -> Done:
    return home.run("up", city, "--yes", "-o", "json", *more, code=code)


def records(home: Machine) -> list[Path]:
    return sorted((home.state / "state" / ".wecity" / "records").glob("*.json"))


def test_what_is_gone_is_seen_and_made_again_whatever_is_noted(
    home: Machine, city: CityFiles, cluster: Cluster
) -> None:
    workload = ("deployment", "parks-app-web", "-n", SPACE)

    def forget() -> None:
        for path in records(home):
            path.unlink()

    def age() -> None:
        for path in records(home):
            record = json.loads(path.read_text())
            path.write_text(json.dumps({**record, "looked_at": record["looked_at"] - 2 * 24 * 3600}))

    # Not four times the same: that would be told as somebody's who deletes it each time.
    rounds = (
        ("default-deny", lambda: None, ()),
        ("default-deny", lambda: None, ("--no-skip",)),
        ("default-deny", forget, ()),
        ("allow-dns", age, ()),
    )
    for name, before, more in rounds:
        before()
        fence = ("networkpolicy", name, "-n", SPACE)
        cluster.kubectl("delete", *fence)
        if not more:
            cluster.kubectl("delete", *workload)
        wanted = {f"create NetworkPolicy {SPACE}/{name}"} | (
            set() if more else {f"create Deployment {SPACE}/parks-app-web"}
        )
        seen = home.run("preview", city, "-o", "json", "--detailed-exitcode", code=2)
        assert seen.changes() == wanted
        assert {item["what"] for item in seen.stack(TENANT)["findings"]} == {"missing"}
        assert up(home, city, *more).changes() == wanted
        assert cluster.get(*fence)["spec"]["podSelector"] == {}
    assert up(home, city).changes() == set()
    assert "nothing to change" in home.run("preview", city).out


def test_security_objects_are_restored_whole(home: Machine, city: CityFiles, cluster: Cluster) -> None:
    roles = cluster.get("clusterrolebindings", "-l", f"wecity.dev/city={NAME}")["items"]
    role = next(item["metadata"]["name"] for item in roles if "audit" in item["metadata"]["name"])
    policies = cluster.get("validatingadmissionpolicies", "-l", f"wecity.dev/city={NAME}")["items"]
    admission = next(item["metadata"]["name"] for item in policies)
    mallory = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "mallory"}
    port = {"protocol": "TCP", "port": 443}
    inner = cluster.get("rolebindings", "-n", SPACE, "-l", f"wecity.dev/city={NAME}")["items"][0]["metadata"]["name"]
    changes = {
        "default-deny": ("networkpolicy", SPACE, [{"op": "add", "path": "/spec/ingress", "value": [{}]}]),
        "allow-dns": ("networkpolicy", SPACE, [{"op": "add", "path": "/spec/egress/0/ports/-", "value": port}]),
        role: ("clusterrolebinding", "", [{"op": "add", "path": "/subjects/-", "value": mallory}]),
        inner: ("rolebinding", SPACE, [{"op": "add", "path": "/subjects/-", "value": mallory}]),
        admission: (
            "validatingadmissionpolicy",
            "",
            [{"op": "add", "path": "/spec/matchConditions", "value": [{"name": "nobody", "expression": "false"}]}],
        ),
        SPACE: (
            "namespace",
            "",
            [{"op": "add", "path": "/metadata/labels/pod-security.kubernetes.io~1enforce", "value": "privileged"}],
        ),
    }

    def content(name: str) -> object:
        kind, space, _ = changes[name]
        found = cluster.get(kind, name, *(("-n", space) if space else ()))
        labels = found["metadata"].get("labels")
        return found.get("spec"), found.get("subjects"), labels

    before = {name: content(name) for name in changes}
    for name, (kind, space, patch) in changes.items():
        place = ("-n", space) if space else ()
        cluster.kubectl("patch", kind, name, *place, "--type=json", "-p", json.dumps(patch))
    assert all(content(name) != before[name] for name in changes)
    seen = home.run("preview", city, "-o", "json")
    found = {item["name"]: item for stack in seen.result()["stacks"] for item in stack["findings"]}
    assert found.keys() == changes.keys()
    assert all((item["what"], item["managers"]) == ("security", ["kubectl-patch"]) for item in found.values())
    shown = home.run("up", city, "--yes")
    assert f"{POLICY}: changed by kubectl-patch: spec.ingress (added); restored" in shown.text
    assert {name: content(name) for name in changes} == before
    updates = home.run("history", city, "-o", "json").json()["updates"]
    put_back = {item["text"] for update in updates for item in update["objects"]}
    assert f"restored {POLICY} (kubectl-patch)" in put_back
    assert {text.split(" ")[2].rpartition("/")[2] for text in put_back if text.startswith("restored")} == changes.keys()
    shown = home.run("history", city)
    assert "restored NetworkPolicy" in shown.out and f"{SPACE}/default-deny" in shown.out
    done = up(home, city)
    assert done.changes() == set()
    assert not [item for stack in done.result()["stacks"] for item in stack["findings"]]


def test_a_fence_does_not_stay_open_because_another_stack_failed(
    home: Machine, city: CityFiles, cluster: Cluster
) -> None:
    priority = cluster.get("priorityclasses", "-l", f"wecity.dev/city={NAME}")["items"][0]
    name = priority["metadata"]["name"]
    probe = {**priority, "metadata": {"name": "probe"}}
    cluster.kubectl("delete", "priorityclass", name)
    cluster.kubectl("patch", *POLICY_OF_SPACE, "--type=merge", "-p", '{"spec": {"ingress": [{}]}}')
    other, quota = ("networkpolicy", "allow-dns", "-n", SPACE), ("resourcequota", "-n", SPACE)
    before = cluster.get(*other)
    quotas = [item["spec"] for item in cluster.get(*quota)["items"]]
    workload = ("deployment", "parks-app-web", "-n", SPACE)
    cluster.kubectl("delete", *other)
    cluster.kubectl("delete", *quota, "--all")
    cluster.kubectl("delete", *workload)
    with denying(cluster.kubectl, "nobody", ("scheduling.k8s.io", "priorityclasses"), probe):
        done = up(home, city, code=4)
    assert done.stack(f"{NAME}.base.main")["outcome"] == "failed"
    blocked = done.stack(TENANT)
    assert blocked["outcome"] == "blocked"
    found = {(item["what"], item["kind"], item["resolved"]) for item in blocked["findings"]}
    assert found == {
        ("security", "NetworkPolicy", True),
        ("missing", "NetworkPolicy", True),
        ("missing", "ResourceQuota", True),
        ("missing", "Deployment", False),
    }
    assert any("allow-dns is gone from the cluster; made again" in text for text in blocked["warnings"])
    assert "ingress" not in cluster.get(*POLICY_OF_SPACE)["spec"]
    after = cluster.get(*other)
    assert after["spec"] == before["spec"]
    assert after["metadata"]["labels"] == before["metadata"]["labels"]
    assert [item["spec"] for item in cluster.get(*quota)["items"]] == quotas
    assert "allow-dns" not in home.run("status", city, code=4).text
    # The state knows it as it knew the one that was deleted: nothing conflicts, and nothing is made once more.
    again = up(home, city)
    assert not [change for change in again.changes() if "NetworkPolicy" in change or "ResourceQuota" in change]
    assert cluster.get(*other)["metadata"]["uid"] == after["metadata"]["uid"]
    assert up(home, city).changes() == set()
    assert cluster.get("priorityclass", name)["description"] == priority["description"]
    # A refusal is no failure: what needs the base goes on.
    cluster.kubectl("patch", "priorityclass", name, "--type=merge", "-p", '{"description": "ours now"}')
    cluster.kubectl("delete", *workload)
    refused = home.run("up", city, "--yes", code=4)
    assert f"up refused 1 object that others have changed in 1 of 5 stacks: {NAME}.base.main" in refused.out
    assert cluster.get(*workload)["spec"]["replicas"] == 1
    again = up(home, city, "--take-over")
    assert again.changes() == {f"update PriorityClass {name}"}


def test_a_stated_field_is_refused_until_it_is_taken_over(home: Machine, city: CityFiles, cluster: Cluster) -> None:
    workload = ("deployment", "parks-app-web", "-n", SPACE)
    cluster.kubectl("scale", *workload, "--replicas=3")
    seen = home.run("preview", city)
    assert "would refuse 1 object that others have changed" in seen.out
    refused = home.run("up", city, "--yes", code=4)
    assert "spec.replicas (3 instead of 1)" in refused.text
    assert "--take-over" in refused.text
    assert "patchForce" not in refused.text
    assert up(home, city, code=4).stack(f"{NAME}.entry")["outcome"] in ("unchanged", "skipped")
    assert up(home, city, "--take-over").result()["exit_code"] == 0
    assert cluster.get(*workload)["spec"]["replicas"] == 1
    # Scaled and scaled back: the next change of the files applies.
    for count in (3, 1):
        cluster.kubectl("scale", *workload, f"--replicas={count}")
    city.component("parks-app")["replicas"] = 2
    city.save()
    assert f"update Deployment {SPACE}/parks-app-web" in up(home, city).changes()
    assert cluster.get(*workload)["spec"]["replicas"] == 2


def test_what_a_cancelled_up_has_written_is_not_said_to_be_anothers(
    home: Machine, city: CityFiles, cluster: Cluster
) -> None:
    live = json.loads(
        cluster.kubectl("get", "deployment", "parks-app-web", "-n", SPACE, "--show-managed-fields", "--output=json")
    )
    (manager,) = {item["manager"] for item in live["metadata"]["managedFields"] if item["operation"] == "Apply"}
    written = imported_inputs(live, manager)
    written["spec"]["replicas"] += 1
    # As a run that was cancelled before it could record it.
    apply = ("apply", "--server-side", "--force-conflicts", f"--field-manager={manager}", "-f", "-")
    cluster.kubectl(*apply, stdin=json.dumps(written))
    seen = home.run("preview", city, "-o", "json")
    assert f"update Deployment {SPACE}/parks-app-web" in seen.changes()
    assert not seen.stack(TENANT)["refused"]
    assert "`up` changes it back" in " ".join(seen.stack(TENANT)["warnings"])
    assert f"update Deployment {SPACE}/parks-app-web" in up(home, city).changes()
    assert cluster.get("deployment", "parks-app-web", "-n", SPACE)["spec"]["replicas"] == 2


def test_additions_are_reported_by_every_run_and_removed_when_taken_over(
    home: Machine, city: CityFiles, cluster: Cluster
) -> None:
    workload = ("deployment", "parks-app-web", "-n", SPACE)
    before = cluster.get(*workload)["spec"]["template"]["spec"]
    volumes = before["containers"][0].get("volumeMounts") or []
    inner: dict[str, object] = {"name": "web", "env": [{"name": "MORE", "value": "1"}]}
    if volumes:
        inner["volumeMounts"] = [{**volumes[0], "mountPath": "/second", "subPath": "x"}]
    patch = {"spec": {"template": {"spec": {"containers": [inner]}}}}
    cluster.kubectl("patch", *workload, "-p", json.dumps(patch))
    cluster.kubectl("label", *workload, "cost=7")
    for _ in range(2):
        done = up(home, city)
        assert done.changes() == set()
        told = " ".join(done.stack(TENANT)["warnings"])
        assert "additions by" in told and "kubectl-patch" in told and "--take-over" in told
    assert "apart from what others have added" in home.run("preview", city).out
    up(home, city, "--take-over")
    after = cluster.get(*workload)
    assert after["spec"]["template"]["spec"] == before
    assert "cost" not in after["metadata"]["labels"]
    assert "as its files say (" in home.run("up", city, "--yes").out


def test_security_objects_that_admission_changes_are_never_called_good(
    home: Machine, city: CityFiles, cluster: Cluster
) -> None:
    up(home, city)
    name, fence = "opener", ("networkpolicy", "default-deny", "-n", SPACE)
    before = cluster.get(*fence)["spec"]
    probe = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "probe", "namespace": SPACE},
        "spec": before,
    }
    opens = "[JSONPatch{op: 'add', path: '/spec/ingress', value: [{}]}]"
    told = f"{POLICY}: cannot be written as stated, MutatingAdmissionPolicy {name} changes it on admission: "
    with mutating(cluster.kubectl, name, ("networking.k8s.io", "networkpolicies"), opens, probe, namespace=SPACE):
        seen = home.run("preview", city)
        assert f"{told}spec.ingress (added)" in seen.text
        # A fence that is as it should be is not written, and so stays closed.
        # The stack would be left out but for the policy: told as `preview` tells it.
        done = up(home, city, code=4)
        found = done.stack(TENANT)
        assert found["outcome"] == "failed"
        assert f"remove or narrow MutatingAdmissionPolicy {name}" in " ".join(found["errors"])
        assert cluster.get(*fence)["spec"] == before
        # What the engine makes is opened; that is told in the same run and in every later one.
        cluster.kubectl("delete", *fence)
        for _ in range(2):
            found = up(home, city, code=4).stack(TENANT)
            assert found["outcome"] == "failed"
            assert told in " ".join(found["errors"])
            assert cluster.get(*fence)["spec"]["ingress"] == [{}]
        assert told in home.run("status", city, code=4).text
    assert f"update {POLICY}" in up(home, city).changes()
    assert cluster.get(*fence)["spec"] == before
    assert up(home, city).changes() == set()


def test_a_stated_field_that_admission_changes_is_told_by_every_run(
    home: Machine, city: CityFiles, cluster: Cluster
) -> None:
    workload = ("deployment", "parks-app-web", "-n", SPACE)
    live = cluster.get(*workload)
    wanted = live["spec"]["replicas"]
    probe = {key: live[key] for key in ("apiVersion", "kind", "spec")}
    probe["metadata"] = {"name": "probe", "namespace": SPACE, "labels": live["metadata"]["labels"]}
    more = f"[JSONPatch{{op: 'replace', path: '/spec/replicas', value: {wanted + 1}}}]"
    with mutating(cluster.kubectl, "scaler", ("apps", "deployments"), more, probe, namespace=SPACE):
        cluster.kubectl("annotate", *workload, "written=once")
        for _ in range(2):
            done = up(home, city)
            assert done.changes() == set()
            told = " ".join(done.stack(TENANT)["warnings"])
            assert f"scaler changes it on admission: spec.replicas ({wanted + 1} instead of {wanted})" in told
        assert "apart from what others have added or changed" in home.run("preview", city).out
        # Not even when it is asked for is it called taken over.
        assert "changes it on admission" in " ".join(up(home, city, "--take-over").stack(TENANT)["warnings"])
    up(home, city, "--no-skip")
    assert cluster.get(*workload)["spec"]["replicas"] == wanted
    assert up(home, city).changes() == set()


def test_what_is_being_deleted_is_told_as_that_and_made_again(home: Machine, city: CityFiles, cluster: Cluster) -> None:
    workload = ("deployment", "parks-app-web", "-n", SPACE)
    cluster.kubectl("patch", *workload, "--type=merge", "-p", '{"metadata": {"finalizers": ["example.org/held"]}}')
    cluster.kubectl("delete", *workload, "--wait=false")
    told = f"Deployment {SPACE}/parks-app-web is being deleted; finalizers hold it: example.org/held"
    status = home.run("status", city, code=4).text
    assert told in status
    assert "1 being deleted on the cluster" in status
    seen = home.run("preview", city, "-o", "json")
    assert f"create Deployment {SPACE}/parks-app-web" in seen.changes()
    assert told in " ".join(seen.stack(TENANT)["warnings"])
    old = cluster.get(*workload)["metadata"]["uid"]
    freed = ("patch", *workload, "--type=merge", "-p", '{"metadata": {"finalizers": null}}')
    timer = threading.Timer(10, cluster.kubectl, freed)
    timer.start()
    try:
        assert f"create Deployment {SPACE}/parks-app-web" in up(home, city).changes()
    finally:
        timer.join()
    assert cluster.get(*workload)["metadata"]["uid"] != old


OPEN = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "allow-all", "namespace": SPACE},
    "spec": {"podSelector": {}, "ingress": [{}], "egress": [{}], "policyTypes": ["Ingress", "Egress"]},
}
RBAC = "rbac.authorization.k8s.io"


def undeclared(done: Done) -> set[str]:
    """What a run's result tells as undeclared, as `Kind namespace/name`."""
    found = [item for stack in done.result()["stacks"] for item in stack["findings"] if item["what"] == "undeclared"]
    assert all(item["uid"] and item["since"] and item["managers"] for item in found)
    return {f"{item['kind']} {item['namespace']}/{item['name']}".replace(" /", " ") for item in found}


def test_what_nobody_declared_is_told_every_time_and_rights_are_removed_once_confirmed(
    home: Machine, city: CityFiles, cluster: Cluster
) -> None:
    assert home.run("status", city, "-o", "json").json()["notes"] == []
    pod = min(item["metadata"]["name"] for item in cluster.get("pods", "-n", SPACE)["items"])
    cluster.kubectl("set", "image", f"pod/{pod}", "*=evil:1", "-n", SPACE)
    altered = home.run("status", city, code=4).out
    assert f"{TENANT}: Pod {SPACE}/{pod}: changed by kubectl-set: spec.containers[name=" in altered
    assert "drifted: 1 changed on the cluster" in altered
    assert "evil:1 instead of" in home.run("preview", city, "--detailed-exitcode", code=2).out
    cloud = home.run("policy", "report", city, "-o", "json").json()["clouds"][0]
    assert f"Pod {SPACE}/{pod}: changed by kubectl-set" in " ".join(cloud["altered"])
    cluster.kubectl("delete", "pod", pod, "-n", SPACE)
    cluster.kubectl("rollout", "status", "deployment/parks-app-web", "-n", SPACE)
    reference = {"apiGroup": RBAC, "kind": "ClusterRole", "name": "view"}
    accounts = {"apiGroup": RBAC, "kind": "Group", "name": f"system:serviceaccounts:{SPACE}"}
    inner = {"name": "mallory", "namespace": SPACE}
    binding = {"apiVersion": f"{RBAC}/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "peek"}}
    role = {"apiVersion": f"{RBAC}/v1", "kind": "Role", "metadata": inner, "rules": []}
    bindings = {**binding, "roleRef": reference, "subjects": [accounts]}
    cluster.apply(OPEN, role, bindings)
    cluster.kubectl("create", "service", "clusterip", "side", "--tcp=80", "-n", SPACE)
    cluster.kubectl("create", "clusterrolebinding", "root", "--clusterrole=cluster-admin", "--user=mallory")
    rights = {
        f"NetworkPolicy {SPACE}/allow-all",
        f"Role {SPACE}/mallory",
        "ClusterRoleBinding peek",
        "ClusterRoleBinding root",
    }
    everything = {*rights, f"Service {SPACE}/side"}
    seen = home.run("status", city, "-o", "json", code=4).json()
    drift = [item for stack in seen["stacks"] for item in stack["drift"]]
    assert {item["what"] for item in drift} == {"undeclared"}
    assert {item["text"].partition(" is not declared: made by kubectl")[0] for item in drift} == everything
    told = home.run("status", city, code=4).out
    assert f"{TENANT}: NetworkPolicy {SPACE}/allow-all is not declared: made by kubectl-client-side-apply at " in told
    assert "drifted: 3 undeclared on the cluster" in told
    previewed = home.run("preview", city, "-o", "json", "--detailed-exitcode", code=2)
    assert undeclared(previewed) == everything
    assert previewed.changes() == set()
    shown = home.run("preview", city).out
    assert "nothing to change in what the files declare; drifting has 5 objects that nobody declared" in shown
    assert f"`wecityctl up --confirm={NAME}` removes it" in shown
    for more in ((), (), ("--no-skip",)):
        done = up(home, city, *more)
        assert (undeclared(done), done.changes()) == (everything, set())
        assert any("allow-all is not declared" in text for text in done.stack(TENANT)["warnings"])
    measures = {
        (item["kind"], item["name"]): item["observations"][0]
        for control in home.run("policy", "report", city, "-o", "json").json()["controls"]
        for item in control["measures"]
        if item["observations"]
    }
    for name in ("flows", "default-deny"):
        assert measures["network-policy", name]["state"] == "undeclared"
        assert f"undeclared: NetworkPolicy {SPACE}/allow-all" in measures["network-policy", name]["detail"]
    assert measures["role", "system-administrators"]["state"] == "undeclared"
    # A run of another stack says nothing of this one's namespace, and removes nothing there.
    other = up(home, city, "--only", "application", f"--confirm={NAME}")
    assert (undeclared(other), other.changes()) == ({"ClusterRoleBinding peek", "ClusterRoleBinding root"}, set())
    assert "ClusterRoleBinding peek was not removed, because only part of the city was run" in other.result()["notes"]
    # One is held: it is in force until it is gone, whoever has deleted it.
    policy = ("networkpolicy", "allow-all", "-n", SPACE)
    cluster.kubectl("patch", *policy, "--type=merge", "-p", '{"metadata": {"finalizers": ["x.example/hold"]}}')
    opening = f"NetworkPolicy {SPACE}/allow-all"
    removed = up(home, city, f"--confirm={NAME}", code=4)
    assert removed.changes() == {f"delete {title}" for title in rights - {opening}}
    assert undeclared(up(home, city)) == {f"Service {SPACE}/side", opening}
    assert "held by x.example/hold, and still in force" in home.run("status", city, code=4).out
    assert opening in home.run("destroy", city, "--preview").out
    cluster.kubectl("patch", *policy, "--type=merge", "-p", '{"metadata": {"finalizers": null}}')
    assert undeclared(up(home, city)) == {f"Service {SPACE}/side"}
    home.run("status", city, code=4)
    cluster.kubectl("delete", "service", "side", "-n", SPACE)
    home.run("status", city)
    assert "as its files say (" in home.run("up", city, "--yes").out
    assert cluster.get("networkpolicy", "default-deny", "-n", SPACE)


def test_what_controllers_make_for_the_city_is_declared(home: Machine, city: CityFiles, cluster: Cluster) -> None:
    city.component("parks-app").pop("replicas")
    city.component("parks-app")["autoscale"] = {"min": 2, "max": 3, "cpu": 70}
    city.save()
    up(home, city)
    for space in (SPACE, "platform-application"):
        cluster.kubectl("delete", "pods", "--all", "-n", space)
        # In this very moment there are pods and sets that nobody has seen yet.
        assert undeclared(up(home, city)) == set()
    cluster.kubectl("rollout", "status", "deployment/parks-app-web", "-n", SPACE)
    home.run("status", city)


def test_what_a_lost_state_no_longer_knows_is_no_strangers(home: Machine, city: CityFiles, cluster: Cluster) -> None:
    """An `up` adopts it: it is neither told as undeclared nor removed, whatever was confirmed."""
    (state,) = (home.state / "state" / ".pulumi" / "stacks").rglob(f"{TENANT}.json")
    before = cluster.get("networkpolicies", "-A")["items"]
    state.rename(state.with_suffix(".lost"))
    cluster.apply(OPEN)
    seen = {item["stack"]: item for item in home.run("status", city, "-o", "json", code=4).json()["stacks"]}
    told = {item["text"] for item in seen[TENANT]["drift"]}
    made = f"was made by this city's stack {TENANT} and is not in its state; `up` adopts it"
    assert f"Namespace {SPACE} {made}" in told
    assert f"{POLICY} {made}" in told
    assert f"{len(told)} not in its state" in seen[TENANT]["reason"]
    assert seen[TENANT]["state"] == "drifted"
    # What is a stranger's stays that.
    others = [item["text"] for name, stack in seen.items() if name != TENANT for item in stack["drift"]]
    assert [text.partition(" is not declared")[0] for text in others] == [f"NetworkPolicy {SPACE}/allow-all"]
    cluster.kubectl("delete", "networkpolicy", "allow-all", "-n", SPACE)
    assert undeclared(home.run("preview", city, "-o", "json")) == set()
    part = up(home, city, "--only", "application", f"--confirm={NAME}")
    assert part.changes() == set()
    done = up(home, city, f"--confirm={NAME}")
    assert undeclared(done) == set()
    assert not [change for change in done.changes() if change.startswith("delete")]
    after = cluster.get("networkpolicies", "-A")["items"]
    assert [item["metadata"]["uid"] for item in after] == [item["metadata"]["uid"] for item in before]


def test_what_a_lost_state_no_longer_knows_is_restored_where_it_closes_the_city(
    home: Machine, city: CityFiles, cluster: Cluster
) -> None:
    city.component("parks-app").pop("autoscale", None)
    city.component("parks-app")["replicas"] = 2
    city.save()
    up(home, city)
    (state,) = (home.state / "state" / ".pulumi" / "stacks").rglob(f"{TENANT}.json")
    workload = ("deployment", "parks-app-web", "-n", SPACE)
    (quota,) = cluster.get("resourcequota", "-n", SPACE)["items"]
    objects = (POLICY_OF_SPACE, ("resourcequota", quota["metadata"]["name"], "-n", SPACE), ("namespace", SPACE))

    def content() -> object:
        found = [cluster.get(*each) for each in objects]
        return [(item["spec"], item["metadata"]["labels"], item["metadata"]["uid"]) for item in found]

    before = content()
    hard = min(quota["spec"]["hard"])
    opened = (
        {"spec": {"ingress": [{}]}},
        {"spec": {"hard": {hard: "1000"}}},
        {"metadata": {"labels": {ENFORCE: "privileged"}}},
    )
    state.rename(state.with_suffix(".lost"))
    for each, patch in zip(objects, opened, strict=True):
        cluster.kubectl("patch", *each, "--type=merge", "-p", json.dumps(patch))
    assert content() != before
    seen = home.run("preview", city)
    assert "conflict" not in seen.text
    done = up(home, city)
    text = " ".join(done.stack(TENANT)["warnings"])
    assert "changed by kubectl-patch: metadata.labels.pod-security.kubernetes.io/enforce; restored" in text
    assert f"changed by kubectl-patch: spec.hard.{hard}; restored" in text
    assert f"{POLICY}: changed by kubectl-patch: spec.ingress (added); restored" in text
    assert "admission" not in text
    assert content() == before
    again = up(home, city, "--no-skip")
    assert (again.changes(), again.stack(TENANT)["findings"]) == (set(), [])
    # What only runs is refused, and taken over where that is asked for.
    wanted = cluster.get(*workload)["spec"]["replicas"]
    state.rename(state.with_suffix(".lost"))
    cluster.kubectl("scale", *workload, f"--replicas={wanted + 2}")
    refused = up(home, city, code=4)
    assert "spec.replicas is owned by 'kubectl'" in " ".join(refused.stack(TENANT)["errors"])
    assert cluster.get(*workload)["spec"]["replicas"] == wanted + 2
    assert "spec.replicas; changed back" in " ".join(up(home, city, "--take-over").stack(TENANT)["warnings"])
    assert cluster.get(*workload)["spec"]["replicas"] == wanted
    assert up(home, city).changes() == set()


def test_a_destroy_tells_what_it_leaves_because_no_state_has_it(
    home: Machine, city: CityFiles, cluster: Cluster
) -> None:
    up(home, city)
    (state,) = (home.state / "state" / ".pulumi" / "stacks").rglob(f"{TENANT}.json")
    state.rename(state.with_suffix(".lost"))
    done = home.run("destroy", city, f"--confirm={NAME}", "--only", "parks", "-o", "json")
    (note,) = [text for text in done.result()["notes"] if "of the city stay" in text]
    assert "for no stack's state has them" in note
    assert f"Namespace {SPACE}" in note
    assert cluster.get(*POLICY_OF_SPACE)
    up(home, city)
    done = home.run("destroy", city, f"--confirm={NAME}", "--only", "parks", "--delete-data", "-o", "json")
    assert not [text for text in done.result()["notes"] if "of the city stay" in text]
    up(home, city)


def test_a_waiver_that_has_ended_is_taken_out_of_the_cluster(home: Machine, city: CityFiles, cluster: Cluster) -> None:
    """The day comes without a change of the files, and what it lets pass must not go on being let pass."""
    spec = {
        "rule": "privileged-pods",
        "subjects": ["parks/legacy-map"],
        "owner": "alice@drifting.example",
        "reason": "the supplier is late",
        "expires": "2099-12-31",
    }
    waiver = document("Waiver", "legacy", spec)
    city.add("waivers.yaml", waiver)
    city.save()
    policy = ("validatingadmissionpolicy", f"{NAME}-privileged-pods")
    try:
        up(home, city)
        assert "parks/legacy-map" in json.dumps(cluster.get(*policy)["spec"])
        home.run("status", city)
        spec["expires"] = "2026-01-01"
        city.save()
        told = home.run("status", city, code=4).text
        assert "waiver legacy ended on 2026-01-01, and the cluster lets pass what it covers" in told
        assert home.run("policy", "refresh", city, "--yes", "-o", "json").changes() == {
            f"update ValidatingAdmissionPolicy {NAME}-privileged-pods"
        }
        assert "parks/legacy-map" not in json.dumps(cluster.get(*policy)["spec"])
        home.run("status", city)
        assert up(home, city).changes() == set()
    finally:
        city.remove("Waiver", "legacy")
        city.save()
