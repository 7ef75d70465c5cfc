"""Backups on a real node, to a real S3 server: taken, listed, and restored in place, after a loss and elsewhere."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.e2e.files import CityFiles
from tests.e2e.machine import Cluster, Machine, eventually
from tests.e2e.operations.conftest import Target
from tests.e2e.operations.test_what_was_lost import VAULT
from tests.e2e.pages import follow
from wecityctl.model.naming import COMPONENT_LABEL

pytestmark = [
    pytest.mark.node,
    pytest.mark.timeout(1500),
    pytest.mark.by_digest(
        "docs/how-to/back-up-and-restore.md",
        "examples/xingcheng-operations",
        "stacks/platforms/application/postgresql",
        "stacks/platforms/backup_scripts.py",
        "stacks/platforms/backups.py",
        "stacks/platforms/job_pods.py",
        "stacks/platforms/operations",
        "stacks/platforms/provisioner.py",
        "stacks/platforms/rotation.py",
        "stacks/platforms/stateful.py",
        "stacks/platforms/store.py",
        "wecityctl/cli/backup.py",
        "wecityctl/cli/restore.py",
        "wecityctl/model/backups.py",
        "wecityctl/operations/backup_jobs.py",
        "wecityctl/operations/backups.py",
        "wecityctl/operations/compliance",
        "wecityctl/operations/provisioning_again.py",
        "wecityctl/operations/restore.py",
        "wecityctl/operations/restores_under_way.py",
        "wecityctl/operations/state_copies.py",
        "wecityctl/operations/state_target.py",
    ),
]

ROWS = "SELECT string_agg(name, ' ' ORDER BY name) FROM kept"


def query(cluster: Cluster, tenant: str, statement: str) -> Any:
    """The first value that an app's own database answers with, by the app's own binding."""
    words = ("exec", "-n", f"{tenant}-internet", f"deploy/{tenant}-app-web", "--")
    check = ("python3", "-m", "sample_app.check", "postgresql", statement)
    answer = json.loads(cluster.kubectl(*words, *check))
    assert answer["ok"], answer
    return answer["rows"][0][0] if answer["rows"] else None


def write(cluster: Cluster, tenant: str, *names: str) -> None:
    query(cluster, tenant, "CREATE TABLE IF NOT EXISTS kept (name text)")
    query(cluster, tenant, "DELETE FROM kept")
    for name in names:
        query(cluster, tenant, f"INSERT INTO kept VALUES ('{name}')")


def snapshots(home: Machine, city: CityFiles) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = home.run("backup", "list", city, "-o", "json").json()["snapshots"]
    return found


@pytest.fixture(scope="module")
def saved(home: Machine, city: CityFiles, cluster: Cluster) -> dict[str, Any]:
    """The first backup of the city, with rows of both tenants."""
    write(cluster, "parks", "oak", "elm")
    write(cluster, "roads", "ring")
    return dict(home.run("backup", "run", city, "-o", "json", timeout=600).json())


def test_each_account_is_a_snapshot_of_its_own(home: Machine, city: CityFiles, saved: dict[str, Any]) -> None:
    assert not saved["failed"]
    found = {(item["capability"], item["owner"]) for item in saved["saved"]}
    assert {("postgresql", "parks/parks-app/db"), ("postgresql", "roads/roads-app/db"), ("vault", "-")} <= found
    assert {item["id"][:8] for item in snapshots(home, city)} == {item["snapshot"][:8] for item in saved["saved"]}
    assert "sound" in home.run("backup", "verify", city, "--read", "100%").err


def test_data_is_replaced_only_with_leave(
    home: Machine, city: CityFiles, cluster: Cluster, saved: dict[str, Any]
) -> None:
    write(cluster, "parks", "younger")
    write(cluster, "roads", "younger")
    shown = home.run("restore", city, "parks", "--preview")
    assert "parks_parks_app_db" in shown.out and "roads" not in shown.out
    refused = home.run("restore", city, "parks/parks-app", code=None)
    assert refused.code == 2 and f"--confirm={city.name}" in refused.err
    assert query(cluster, "parks", ROWS) == "younger"
    home.run("restore", city, "parks", "--confirm", city.name)
    # The app's own credentials still open it, and only the tenant's data was touched.
    assert eventually(lambda: query(cluster, "parks", ROWS)) == "elm oak"
    assert query(cluster, "roads", ROWS) == "younger"


def test_a_scheduled_backup_works_and_no_other_runs_meanwhile(
    home: Machine, city: CityFiles, cluster: Cluster, saved: dict[str, Any]
) -> None:
    before = len(snapshots(home, city))
    place = ("-n", "platform-application")
    cluster.kubectl("create", "job", "by-schedule", "--from=cronjob/postgresql-backup", *place)
    refused = home.run("backup", "run", city, "postgresql", code=1)
    assert "another one is under way: job by-schedule" in refused.err
    cluster.kubectl("wait", "--for=condition=complete", "job/by-schedule", "--timeout=80s", *place)
    assert len(snapshots(home, city)) > before - 1
    cluster.kubectl("delete", "job", "by-schedule", *place)


def test_a_scheduled_backup_does_not_begin_while_data_is_restored(cluster: Cluster, saved: dict[str, Any]) -> None:
    place = ("-n", "platform-application")
    # As `restore` makes it before its Job begins.
    cluster.kubectl("create", "configmap", "postgresql-restoring", "--from-literal=job=restoring-now", *place)
    cluster.kubectl("create", "job", "refused", "--from=cronjob/postgresql-backup", *place)
    told = "wecity problem a restore is under way: job restoring-now"
    assert eventually(lambda: told in cluster.kubectl("logs", "job/refused", "-c", "backup", *place))
    cluster.kubectl("delete", "job/refused", "configmap/postgresql-restoring", *place)


@pytest.mark.proves("vault", "ran", "used")
def test_a_use_that_was_rotated_since_opens_again_after_the_vault_was_restored(
    home: Machine, city: CityFiles, cluster: Cluster, saved: dict[str, Any]
) -> None:
    def sign_in() -> Any:
        words = ("exec", "-n", "parks-internet", "deploy/parks-app-web", "--")
        script = VAULT.replace("/keys/", "/vault/")
        return json.loads(cluster.kubectl(*words, "python3", "-c", script, "POST", "oak"))["version"]

    home.run("secrets", "rotate", city, "--app", "parks/parks-app")
    home.run("up", city, "--yes", timeout=600)
    assert eventually(sign_in)
    restored = home.run("restore", city, "vault", "--confirm", city.name, timeout=600)
    assert "until the next `wecityctl up` sets today's" in restored.err
    home.run("up", city, "--yes", timeout=600)
    assert eventually(sign_in)


def test_a_scheduled_backup_that_is_killed_is_taken_by_its_next_pod(
    home: Machine, city: CityFiles, cluster: Cluster, target: Target, saved: dict[str, Any]
) -> None:
    place = ("-n", "platform-application")
    before = {item["id"] for item in snapshots(home, city)}
    cluster.kubectl("create", "job", "by-schedule-killed", "--from=cronjob/postgresql-backup", *place)

    def running() -> list[str]:
        pods = cluster.get("pods", "-l", "batch.kubernetes.io/job-name=by-schedule-killed", *place)["items"]
        return [item["metadata"]["name"] for item in pods if item["status"]["phase"] == "Running"]

    (first,) = eventually(running, 60)
    cluster.kubectl("delete", "pod", first, "--grace-period=0", "--force", *place)
    # It waits a minute for the lock of the one that was killed before it leaves older backups as they are.
    cluster.kubectl("wait", "--for=condition=complete", "job/by-schedule-killed", "--timeout=240s", *place, timeout=250)
    taken = {item["owner"] for item in snapshots(home, city) if item["id"] not in before}
    assert {"parks/parks-app/db", "roads/roads-app/db"} <= taken
    cluster.kubectl("delete", "job", "by-schedule-killed", *place)
    # `backup verify` would be refused for half an hour.
    for lock in target.server.buckets.rglob("locks/*"):
        lock.unlink()


def test_an_up_sees_a_restore_whose_command_was_killed(
    home: Machine, city: CityFiles, cluster: Cluster, saved: dict[str, Any]
) -> None:
    place = ("-n", "platform-application")
    words = ("create", "job", "restore-left", "--from=cronjob/postgresql-backup", "--dry-run=client", "-o", "json")
    left = json.loads(cluster.kubectl(*words, *place))
    # As `restore` makes it, but that it never ends.
    left["metadata"]["labels"] = left["spec"]["template"]["metadata"]["labels"] | {COMPONENT_LABEL: "restore"}
    left["spec"]["parallelism"] = 0
    cluster.apply(left)
    refused = home.run("up", city, "--yes", code=1)
    assert "a restore goes on: job platform-application/restore-left on main" in refused.err
    cluster.kubectl("delete", "job", "restore-left", *place)


def test_backups_alone_reach_the_target(
    cluster: Cluster, city: CityFiles, target: Target, saved: dict[str, Any]
) -> None:
    server = target.server
    words = ("exec", "-n", "parks-internet", "deploy/parks-app-web", "--", "python3", "-m", "sample_app.check")
    answer = json.loads(cluster.kubectl(*words, "tcp", server.address, str(server.port), code=None).splitlines()[0])
    assert not answer["ok"], answer


def test_the_report_tells_what_the_target_has(home: Machine, city: CityFiles, saved: dict[str, Any]) -> None:
    report = home.run("policy", "report", city, "-o", "json").json()
    control = next(item for item in report["controls"] if "备份" in item["title"])
    (measure,) = [item for item in control["measures"] if item["name"] == "backups"]
    (observed,) = measure["observations"]
    # Of every capability with accounts: the report passes over none.
    assert (observed["cloud"], observed["state"]) == ("main", "observed"), observed
    assert observed["present"] == observed["wanted"] > 7, observed
    assert "postgresql: newest complete 20" in observed["detail"] and "4 accounts" in observed["detail"], observed
    # The vault's are of all its accounts together.
    assert "vault: newest complete 20" in observed["detail"] and "3 accounts" in observed["detail"], observed
    for name in ("metrics", "logs", "registry"):
        assert f"{name}: newest complete 20" in observed["detail"], observed
    assert any(note.startswith("restoring postgresql: ") for note in measure["notes"])
    # Each `up` has left a copy of the states.
    (copies,) = [item for item in control["measures"] if item["name"] == "state-copies"]
    (seen,) = copies["observations"]
    assert (seen["cloud"], seen["state"], seen["present"]) == ("s3://backups/hunan", "observed", 1), seen
    assert home.run("status", city, "-o", "json", code=None).json()["state_copies"]["current"]


def test_the_page_about_it_is_true(home: Machine, city: CityFiles, saved: dict[str, Any]) -> None:
    assert follow(home, city, "back-up-and-restore.md", "operations") == 8
