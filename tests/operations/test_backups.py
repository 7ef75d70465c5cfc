"""What is refused to be restored, and backup Jobs' words for people."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import subprocess
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from stacks.catalogue import load_catalogue
from stacks.platforms.backups import Task, job, notice, script
from tests.engine.drive import make_city
from tests.model.test_backups import ONE
from wecityctl import session
from wecityctl.cli import restore as restore_command
from wecityctl.cli._common import Output
from wecityctl.engine.cluster.account_jobs import JobFailedError
from wecityctl.engine.state.engine_lock import LockedError
from wecityctl.errors import AuthenticationError, ConfigurationError, DeploymentError
from wecityctl.inputs import Cluster
from wecityctl.model.backups import FORMAT, when
from wecityctl.model.outputs import Endpoint
from wecityctl.operations import backups, restore
from wecityctl.operations.account_servers import Server
from wecityctl.operations.backup_jobs import failure, own_lines, read_list
from wecityctl.operations.restore import Restore, Restored, RestorePlan, carry_out, check_version, own_snapshots

KIND = load_catalogue()["postgresql"]


def test_backups_of_another_city_are_refused() -> None:
    foreign = replace(ONE, city="other")
    assert own_snapshots([ONE, foreign], "qinghe", "postgresql", "there") == (ONE,)
    assert own_snapshots([], "qinghe", "postgresql", "there") == ()
    for found in (foreign, replace(ONE, capability="records")):
        with pytest.raises(ConfigurationError, match="in there are not of postgresql of qinghe"):
            own_snapshots([found], "qinghe", "postgresql", "there")


def test_a_repository_that_was_swapped_for_another_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    # They have one password, so that only what a snapshot says of itself tells them apart.
    swapped = {"postgresql": replace(ONE, capability="records"), "records": ONE}
    servers = [SimpleNamespace(endpoint=SimpleNamespace(capability=name)) for name in swapped]
    opened = SimpleNamespace(session=SimpleNamespace(city=SimpleNamespace(name="qinghe")))
    monkeypatch.setattr(backups, "snapshots_of", lambda _, server: (swapped[server.endpoint.capability],))
    found = backups.listed(opened, servers)  # type: ignore[arg-type]
    assert (found.snapshots, len(found.foreign), found.failed) == ((), 2, {})
    monkeypatch.setattr(backups, "snapshots_of", lambda *_: (ONE,))
    found = backups.listed(opened, servers[:1])  # type: ignore[arg-type]
    assert (found.snapshots, found.foreign) == ((ONE,), ())


def test_lines_of_others_are_not_taken_for_a_jobs_own() -> None:
    printed = "wecity saved a x/a/db 1 2\n<Message>no\n\nwecity 77 saved b x/b/db 3 4\n  wecity 77 occupied\nwecity 7 x"
    read = own_lines(printed, "77").splitlines()
    assert [line for line in read if line.startswith("wecity ")] == ["wecity saved b x/b/db 3 4"]
    assert "  wecity saved a x/a/db 1 2" in read and "<Message>no" in read


def page_of(text: bytes, start: int, size: int) -> str:
    part = base64.b64encode(text[start : start + size]).decode()
    return f"wecity snapshots {len(text)} {hashlib.sha256(text).hexdigest()} {part}\n"


def test_a_list_is_read_page_by_page_and_anew_when_it_changes() -> None:
    old, new = json.dumps(["橡树"] * 50).encode(), json.dumps(["elm"] * 70).encode()
    lists = iter([old, old, *[new] * 50])
    asked: list[int] = []

    def page(start: int) -> str:
        asked.append(start)
        return page_of(next(lists), start, 100)

    assert json.loads(read_list(page)) == ["elm"] * 70
    assert asked[:4] == [0, 100, 200, 0]
    assert read_list(lambda start: page_of(b"[]", start, 100)) == "[]"
    changing = itertools.count()
    with pytest.raises(DeploymentError, match="has changed while it was read"):
        read_list(lambda start: page_of(str(next(changing)).encode() * 200, start, 100))
    with pytest.raises(DeploymentError, match=r"more than .* MiB of snapshots"):
        read_list(lambda start: page_of(b"x" * 1000, start, 10))
    for printed in ("", "wecity snapshots 5 a !!", "wecity snapshots x"):
        with pytest.raises(DeploymentError, match="cannot be read"):
            read_list(lambda start, printed=printed: printed)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("newer", "message"),
    [
        ({"format": FORMAT + 1}, "was made by a newer wecityctl"),
        ({"version": "16.1"}, "is of version 16.1, and postgresql of version 15"),
        ({"type": "cache"}, "is of type cache, and postgresql of type postgresql"),
    ],
)
def test_backups_of_what_is_newer_or_another_type_are_refused(newer: dict[str, object], message: str) -> None:
    check_version(ONE, KIND, "postgresql")
    check_version(replace(ONE, version="14.3"), KIND, "postgresql")
    with pytest.raises(ConfigurationError, match=message):
        check_version(replace(ONE, **newer), KIND, "postgresql")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("printed", "kind", "message", "resolution"),
    [
        ("wecity problem the password does not open the backups", AuthenticationError, "the password", "secrets set"),
        (
            "Load(<config/>) failed: Access Denied.\nwecity problem the target cannot be read",
            AuthenticationError,
            "the target refuses the credentials",
            "secrets set",
        ),
        (
            "dial tcp 203.0.113.7:443: i/o timeout\nwecity problem the target cannot be read",
            DeploymentError,
            "the target cannot be read",
            "addresses",
        ),
        (
            "pg_dump: error: no space\nwecity saved a x/a/db 1 2\nwecity failed b x/b/db",
            DeploymentError,
            "not backed up: b",
            "complete",
        ),
        ("", DeploymentError, "job failed", "nothing of it counts"),
        # What fails while it reads is no damage.
        (
            "unable to create lock in backend: repository is already locked by PID 9 on db-backup by (UID 0, GID 0)\n"
            "wecity problem the backups are damaged, or were tampered with",
            LockedError,
            "its backups are in use",
            "half an hour",
        ),
        # The one before was killed while it removed older backups.
        (
            "unable to create lock in backend: repository is already locked exclusively by PID 9 on db-backup by\n"
            "wecity failed b x/b/db\nwecity failed c x/c/db",
            LockedError,
            "its backups are in use, not backed up: b, c",
            "half an hour",
        ),
        (
            "Load(<data/1>) failed: dial tcp 192.0.2.9:443: i/o timeout\n"
            "wecity problem the backup is damaged, or was tampered with: nothing was changed",
            DeploymentError,
            "the target stopped answering",
            "whether the target is up",
        ),
        (
            "ciphertext verification failed\nwecity problem the backups are damaged, or were tampered with",
            DeploymentError,
            "damaged, or were tampered with",
            "",
        ),
        (
            "wecity problem a restore is under way: job postgresql-restore-now",
            LockedError,
            "a restore is under way: job postgresql-restore-now",
            "when that job is gone",
        ),
        # The first reading was whole, so that the second was no damage either; what was changed is told.
        (
            "Load(<data/1>) failed: dial tcp 192.0.2.9:443: i/o timeout\n"
            "wecity problem the backup is damaged, or was tampered with: the keys of a were deleted",
            DeploymentError,
            "the target stopped answering while backups were read: the keys of a were deleted",
            "whether the target is up",
        ),
        (
            "Fatal: create repository failed: repository already contains keys\n"
            "wecity problem the repository has a key and no configuration",
            DeploymentError,
            "the repository has a key and no configuration",
            "look at what is in s3:there/postgresql: with nothing but `keys/`, no backup was ever taken",
        ),
        # Of the target's own answer.
        ("<Message>x\nwecity failed \nwecity", DeploymentError, "job failed", "nothing of it counts"),
    ],
)
def test_a_failed_job_is_told_in_words(printed: str, kind: type[Exception], message: str, resolution: str) -> None:
    error = failure("postgresql", JobFailedError("job failed", printed), "s3:there/postgresql")
    assert type(error) is kind
    assert message in error.message and error.message.startswith("postgresql: ")
    assert resolution in error.resolution
    assert "wecity " not in error.details


def test_a_backup_knows_that_data_is_restored_and_does_not_begin(tmp_path: Path) -> None:
    city = make_city("qinghe")
    endpoint = Endpoint(
        capability="postgresql", type="postgresql", engine="postgresql", namespace="platform-application",
        service="postgresql", port=5432, pod_labels={}, admin_secret="admin", image="image",
    )  # fmt: skip

    def environment(task: Task) -> dict[str, object]:
        made = job(city, KIND, Cluster("main", "", "", "uid"), endpoint, "backup", task, {}, is_tls=False)
        (container,) = made["spec"]["template"]["spec"]["containers"]
        return {item["name"]: item.get("valueFrom") for item in container["env"]}

    told = notice(city, endpoint)
    key = {"name": told["metadata"]["name"], "key": "job", "optional": True}
    assert environment("backup")["RESTORING"] == {"configMapKeyRef": key}
    assert told["metadata"]["namespace"] == "platform-application" and set(told["data"]) == {"job"}
    assert "RESTORING" not in environment("restore")
    # Nothing that the script does after that works here.
    text = script("backup").replace("/tmp/wecity", str(tmp_path))
    run = ["/bin/sh", "-c", text]
    done = subprocess.run(run, env={"RESTORING": told["data"]["job"]}, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout.split("\n")[1:] == ["wecity problem a restore is under way: job postgresql-restore-now", ""]
    done = subprocess.run(run, env={}, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "wecity problem the target cannot be read" in done.stdout


@pytest.mark.parametrize(
    ("kind", "changed", "tells"),
    [
        ("cache", "the keys of a were deleted", True),
        ("cache", "nothing was changed", False),
        ("postgresql", "the capability has not taken it", False),
    ],
)
def test_a_restore_that_failed_midway_says_how_to_get_the_same_backup(
    kind: str, changed: str, tells: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = Endpoint(
        capability="it", type=kind, engine=kind, namespace="platform-application", service="it", port=1, pod_labels={},
        admin_secret="admin", image="image",
    )  # fmt: skip
    server = Server("main", "qinghe.platform.application.main", endpoint, load_catalogue()[kind], False, True)
    said = JobFailedError("job failed", f"wecity problem the capability has not taken the backup: {changed}")

    def run(*arguments: object) -> str:
        raise failure("it", said, restoring=True) from said

    monkeypatch.setattr(restore, "part_of_city", lambda *arguments: nullcontext())
    opened = SimpleNamespace(
        session=SimpleNamespace(city=make_city("qinghe")), servers=(server,), backend=None, run=run
    )
    plan = RestorePlan(opened, (Restore(ONE, "parks/trees/db", "main", "it"),), ())  # type: ignore[arg-type]
    (done,) = carry_out(plan, lambda event: None, replace=True)
    assert done.error is not None
    assert (f"--at {when(ONE.at)}" in done.error.resolution) is tells


@pytest.mark.parametrize(
    ("kind", "told"),
    [("cache", "trees may have a part of its backup: restore it again"), ("postgresql", "trees has what it had")],
)
def test_an_interrupted_restore_says_what_became_of_the_account_that_was_under_way(
    kind: str, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    endpoint = Endpoint(
        capability="it", type=kind, engine=kind, namespace="platform-application", service="it", port=1, pod_labels={},
        admin_secret="admin", image="image",
    )  # fmt: skip
    server = Server("main", "qinghe.platform.application.main", endpoint, load_catalogue()[kind], False, True)
    opened = SimpleNamespace(session=SimpleNamespace(city=make_city("qinghe")), servers=(server,))
    first, second = (
        Restore(replace(ONE, account=name), f"parks/{name}/db", "main", "it") for name in ("elms", "trees")
    )
    plan = RestorePlan(opened, (first, second), ())  # type: ignore[arg-type]

    def interrupted(*_: object, **__: object) -> Iterator[Restored]:
        yield Restored(first, 1.0)
        raise KeyboardInterrupt

    monkeypatch.setattr(session, "open_session", lambda *_: opened.session)
    monkeypatch.setattr(restore, "plan_restore", lambda *_, **__: plan)
    monkeypatch.setattr(restore, "carry_out", interrupted)
    with pytest.raises(KeyboardInterrupt):
        restore_command.restore(Path(), name="parks", output=Output.JSON)
    assert f"1 of 2 accounts were worked on; {told}" in capsys.readouterr().err
    restore_command.restore(Path(), name="parks", preview=True, output=Output.JSON)
    shown = json.loads(capsys.readouterr().out)
    assert [(item["account"], item["restored"]) for item in shown["accounts"]] == [("elms", False), ("trees", False)]
    assert (shown["preview"], shown["accounts"][0]["snapshot"]) == (True, ONE.id)


def test_tries_of_the_same_are_told_once() -> None:
    tries = [
        f'Stat(<config/>) returned error, retrying after {wait}: Get "https://there": no such host'
        for wait in ("1.2s", "803.06ms")
    ]
    printed = "\n".join([*tries, "\x1b[2Ksignal terminated received, cleaning up", "wecity problem the target is away"])
    details = failure("postgresql", JobFailedError("job failed", printed)).details
    assert details == (
        'Stat(<config/>) returned error: Get "https://there": no such host\nsignal terminated received, cleaning up'
    )
