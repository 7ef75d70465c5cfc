"""What `status`, `preview` and the evidence say while things are missing, changed, failed, stopped or copied.

One small city on simulated nodes; the tests follow each other in this order.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.files import SIMULATED, CityFiles, app, document, tenant
from tests.e2e.machine import Cluster, Machine, eventually, refused_by_the_engine
from tests.support.admission import denying

pytestmark = pytest.mark.cluster

NAME = "stat"
CLOUD = f"{NAME}-main"
TENANT, ENTRY = f"{NAME}.tenant.parks.main", f"{NAME}.entry"
SPACE = "parks-internet"
DENY = ("networkpolicy", "default-deny", "-n", SPACE)


@pytest.fixture(scope="module")
def city(home: Machine) -> CityFiles:
    spec = {
        "domain": f"{NAME}.gov.example",
        "zones": [{"name": "internet", "kind": "internet"}],
        "images": {"source": "built", "architectures": ["amd64"]},
    }
    files = {
        "city.yaml": [
            document("City", NAME, spec),
            document("Cloud", "main", {**SIMULATED, "zones": ["internet"]}),
            document("Platform", "application", {"capabilities": [{"name": "gateway"}]}),
            tenant("parks"),
            app("meter", "parks"),
        ]
    }
    at_night = {"name": "tidy", "image": "catalogue:sample-app", "schedule": "0 3 1 * *", "timeZone": "Asia/Shanghai"}
    files["city.yaml"][-1]["spec"]["components"].append(at_night)
    return CityFiles(home.root / "city", files).save()


@pytest.fixture(scope="module")
def cluster(home: Machine) -> Cluster:
    return Cluster(home.state / "clouds" / CLOUD / "kubeconfig")


def states(home: Machine, city: CityFiles, code: int) -> dict[str, dict[str, Any]]:
    """The stacks as `status` has them, by name."""
    return {item["stack"]: item for item in home.run("status", city, "-o", "json", code=code).json()["stacks"]}


@contextmanager
def refusing(cluster: Cluster, operation: str) -> Iterator[None]:
    """The API server refuses an operation on the city's Deployments, as an administrator's own policy may."""
    rule = {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": [operation], "resources": ["deployments"]}
    group = "admissionregistration.k8s.io/v1"
    policy = {
        "apiVersion": group,
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": "nobody"},
        "spec": {
            "matchConstraints": {
                "resourceRules": [rule],
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": SPACE}},
            },
            "validations": [{"expression": "false", "message": "not today"}],
        },
    }
    binding = {
        "apiVersion": group,
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": "nobody"},
        "spec": {"policyName": "nobody", "validationActions": ["Deny"]},
    }
    cluster.apply(policy, binding)
    try:
        yield
    finally:
        cluster.kubectl("delete", "validatingadmissionpolicybinding,validatingadmissionpolicy", "nobody")


def up_notes(home: Machine, city: CityFiles) -> list[str]:
    notes: list[str] = home.run("up", city, "--yes", "-o", "json").result()["notes"]
    return notes


def measures(home: Machine, city: CityFiles) -> dict[tuple[str, str], dict[str, Any]]:
    """The measures of the evidence by kind and name."""
    report = json.loads(home.run("policy", "report", city, "--format", "json").out)
    return {(item["kind"], item["name"]): item for control in report["controls"] for item in control["measures"]}


def test_a_city_that_was_never_made_is_told_as_that(home: Machine, city: CityFiles) -> None:
    assert {item["state"] for item in states(home, city, 6).values()} == {"never-made"}
    assert "never made" in home.run("status", city, code=6).out


def test_an_address_that_the_entry_point_does_not_serve_yet_is_told_as_that(home: Machine, city: CityFiles) -> None:
    """A part of the city is brought up before the entry point."""
    done = home.run("up", city, "--yes", "--only", "parks", "-o", "json").result()
    address = f"meter.{NAME}.gov.example/"
    assert f"the entry point does not serve {address} of parks/meter yet" in " ".join(done["notes"])
    seen = home.run("status", city, code=4).out
    assert f"{address} (not served yet)" in seen
    # A job at set times that has not run yet.
    assert "at 0 3 1 * * Asia/Shanghai, has not run yet (simulated)" in seen


def test_a_city_that_is_up_is_ok(home: Machine, city: CityFiles) -> None:
    assert not [note for note in up_notes(home, city) if "does not serve" in note]
    found = states(home, city, 0)
    assert {item["state"] for item in found.values()} == {"ok"}
    assert "(not served yet)" not in home.run("status", city).out
    assert {(item["last_run"], item["last_result"]) for item in found.values()} == {("up", "succeeded")}
    seen = measures(home, city)
    assert seen["network-policy", "default-deny"]["observations"][0]["state"] == "observed"
    assert seen["rule", "default-deny"]["observations"][0]["state"] == "observed"
    # No program runs on simulated nodes: nothing is said of what it would have found.
    for flags in ((), ("--probe",)):
        probes = home.run("status", city, *flags, "-o", "json").json()["probes"]
        assert [(item["capability"], item["result"], item["at"]) for item in probes] == [("gateway", "simulated", "")]
    crossed = {name for name, item in seen.items() for each in item["observations"] if each["state"] != "observed"}
    assert crossed == set()


def test_what_is_missing_or_opened_is_shown_and_fails_the_evidence(
    home: Machine, city: CityFiles, cluster: Cluster
) -> None:
    cluster.kubectl("delete", "deployment", "meter-web", "-n", SPACE)
    cluster.kubectl("patch", *DENY, "--type=merge", "-p", json.dumps({"spec": {"ingress": [{}]}}))
    found = states(home, city, 4)
    assert {name: item["state"] for name, item in found.items() if item["state"] != "ok"} == {TENANT: "drifted"}
    drift = {(item["kind"], item["name"]): item["what"] for item in found[TENANT]["drift"]}
    assert drift == {("Deployment", "meter-web"): "missing", ("NetworkPolicy", "default-deny"): "security"}
    text = home.run("status", city, code=4).out
    assert f"Deployment {SPACE}/meter-web is gone from the cluster" in text
    assert "drifted: 1 missing and 1 changed on the cluster" in text
    seen = measures(home, city)
    (altered,) = seen["network-policy", "default-deny"]["observations"]
    assert altered["state"] == "altered"
    assert f"NetworkPolicy {SPACE}/default-deny: changed by kubectl-patch: spec.ingress (added)" in altered["detail"]
    (crossed,) = seen["rule", "default-deny"]["observations"]
    assert crossed["state"] == "crossed"
    assert f"Namespace {SPACE}: no NetworkPolicy denies ingress" in crossed["detail"]


def test_what_others_run_in_our_namespaces_is_judged_too(home: Machine, city: CityFiles, cluster: Cluster) -> None:
    home.run("up", city, "--yes")
    assert {item["state"] for item in states(home, city, 0).values()} == {"ok"}
    bindings = [f"{NAME}-service-accounts", f"{NAME}-privileged-pods"]
    cluster.kubectl("delete", "validatingadmissionpolicybinding", *bindings)
    arguments = ("create", "deployment", "side", "-n", SPACE, "--image=registry.example/side:1")
    # The API server goes by a binding for a moment after it is gone.
    eventually(lambda: "/side created" in cluster.kubectl(*arguments, code=None), 30)
    seen = measures(home, city)
    (crossed,) = seen["rule", "service-accounts"]["observations"]
    assert crossed["state"] == "crossed"
    assert f"Deployment {SPACE}/side: its pods carry the token of the default service account" in crossed["detail"]
    assert seen["admission", "service-accounts"]["observations"][0]["state"] == "missing"
    cluster.kubectl("delete", "deployment", "side", "-n", SPACE)
    home.run("up", city, "--yes")
    assert measures(home, city)["rule", "service-accounts"]["observations"][0]["state"] == "observed"


def test_an_up_that_failed_is_not_ok(home: Machine, city: CityFiles, cluster: Cluster) -> None:
    city.add("city.yaml", app("mower", "parks"))
    city.save()
    # And a tenant that gets no further than its first object, which never had a good run.
    city.add("city.yaml", tenant("baths"))
    city.add("city.yaml", app("pool", "baths"))
    city.save()
    probe = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "probe"}}
    with refusing(cluster, "CREATE"), denying(cluster.kubectl, "closed", ("", "namespaces"), probe):
        home.run("up", city, "--yes", code=4)
    seen = states(home, city, 4)
    found = seen[TENANT]
    assert (found["state"], found["last_run"], found["last_result"]) == ("failed", "up", "failed")
    assert "its last `up` failed" in found["reason"]
    assert ("Deployment", "mower-web", True) in {
        (item["kind"], item["name"], item["unmade"]) for item in found["drift"]
    }
    found = seen[TENANT.replace("parks", "baths")]
    assert (found["state"], {item["what"] for item in found["drift"]}) == ("failed", {"missing"})
    assert f"{len(found['drift'])} missing on the cluster" in found["reason"]
    text = home.run("status", city, code=4).text
    assert "NetworkPolicy baths-internet/default-deny is not there: no run has come to make it" in text
    home.run("up", city, "--yes")
    assert {item["state"] for item in states(home, city, 0).values()} == {"ok"}


def test_a_destroy_that_fails_leaves_a_state_that_the_engine_takes(
    home: Machine, city: CityFiles, cluster: Cluster
) -> None:
    with refusing(cluster, "DELETE"):
        failed = home.run("destroy", city, f"--confirm={NAME}", "--only", "parks", code=4)
    assert "not today" in failed.out
    assert "integrity" not in failed.out
    assert refused_by_the_engine(home, city) == []
    assert states(home, city, 4)[TENANT]["state"] in ("failed", "incomplete")
    home.run("up", city, "--yes")
    assert {item["state"] for item in states(home, city, 0).values()} == {"ok"}


def test_a_stopped_cloud_is_told_and_nothing_is_offered_that_will_not_happen(home: Machine, city: CityFiles) -> None:
    home.run("local", "stop", "-n", CLOUD)
    found = home.run("status", city, "-o", "json", code=4).json()
    assert found["stopped"] == ["main"]
    assert {item["state"] for item in found["stacks"] if item["cloud"]} == {"cloud-stopped"}
    text = home.run("status", city, code=4)
    assert f"cloud main is stopped; `up` starts it, or wecityctl local start --name {CLOUD}" in text.text
    seen = home.run("preview", city, "--detailed-exitcode", code=2)
    assert "cloud main is stopped; `up` starts it first; nothing else would change" in seen.out
    stream = home.run("preview", city, "-o", "json")
    assert stream.changes() == set()
    assert stream.result()["starts"] == ["main"]


def test_a_change_of_the_files_is_worked_out_without_the_cloud(home: Machine, city: CityFiles) -> None:
    city.component("meter")["replicas"] = 2
    city.save()
    assert "update Deployment parks-internet/meter-web" in home.run("preview", city, "-o", "json").changes()
    assert len(home.run("preview", city, "-o", "json").changes()) <= 3
    city.component("meter")["replicas"] = 1
    city.save()


def test_what_needs_the_stopped_cloud_is_refused_and_writes_nothing(home: Machine, city: CityFiles) -> None:
    stacks = home.state / "state" / ".pulumi" / "stacks" / "wecity"
    before = {path.name: path.read_bytes() for path in stacks.glob("*.json")}
    for arguments in (("destroy", city, f"--confirm={NAME}", "--only", "entry"), ("refresh", city)):
        refused = home.run(*arguments, code=4)
        assert "cloud main is stopped" in refused.text
        assert f"wecityctl local start --name {CLOUD}" in refused.text
    assert {path.name: path.read_bytes() for path in stacks.glob("*.json")} == before
    assert refused_by_the_engine(home, city) == []


def test_up_starts_the_cloud_and_changes_nothing_else(home: Machine, city: CityFiles) -> None:
    done = home.run("up", city, "--yes", "-o", "json")
    assert done.changes() == set()
    assert {item["state"] for item in states(home, city, 0).values()} == {"ok"}


def test_a_copied_state_directory_leaves_the_original_alone(home: Machine, city: CityFiles) -> None:
    copied = home.root / "copied"
    shutil.copytree(home.root / "s", copied, ignore=shutil.ignore_patterns("*.sock"))
    where = {"XDG_STATE_HOME": str(copied)}
    running = json.loads((home.state / "clouds" / CLOUD / "supervisor.json").read_text())["supervisor"]
    for arguments in (("up", city, "--yes"), ("local", "start", "-n", CLOUD), ("local", "stop", "-n", CLOUD)):
        refused = home.run(*arguments, env=where, code=2)
        assert "is a copy of the one in" in refused.text
        assert "local reset" in refused.text
    home.run("local", "reset", "-n", CLOUD, "-y", env=where)
    assert not (copied / "wecityctl" / "clouds" / CLOUD).exists()
    assert json.loads((home.state / "clouds" / CLOUD / "supervisor.json").read_text())["supervisor"] == running
    assert {item["state"] for item in states(home, city, 0).values()} == {"ok"}
    # What the copy has without its cloud would be made anew, and is not told as replaced.
    seen = home.run("preview", city, "-o", "json", env=where)
    assert {change.split()[0] for change in seen.changes()} == {"create"}
    refused = home.run("destroy", city, f"--confirm={NAME}", env=where, code=4)
    assert "is not on this machine" in refused.text


def test_destroy_leaves_nothing(home: Machine, city: CityFiles, cluster: Cluster) -> None:
    home.run("destroy", city, f"--confirm={NAME}", "--delete-data")
    assert cluster.objects_of(NAME) == set()
    found = states(home, city, 6)
    assert {item["state"] for item in found.values()} == {"taken-down"}
    assert all(item["reason"].startswith("made, and taken down at ") for item in found.values())
    updates = home.run("history", city, "-o", "json").json()["updates"]
    assert {item["stack"] for item in updates if item["operation"] == "destroy"} >= found.keys()
    assert not Path(home.state / "state" / ".pulumi" / "stacks" / "wecity" / f"{ENTRY}.json").exists()
