"""Backups with the images' own programs: restic to a real S3 server, of a real PostgreSQL; faults of all kinds.

The scripts are those of the Jobs, run as their pods run them but for the cluster (`tests/e2e/operations` has that).
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from stacks.passwords import scram_verifier, sha256
from stacks.platforms import backup_scripts, backups
from stacks.platforms.application.cache import backup as cache_backup
from stacks.platforms.application.cache import provision as cache_provision
from stacks.platforms.application.cache.access import permissions
from stacks.platforms.application.postgresql.backup import SCRIPTS
from stacks.platforms.application.postgresql.provision import PROVISIONER
from stacks.platforms.data.object_storage import backup as object_backup
from stacks.platforms.data.object_storage import provision as object_provision
from stacks.platforms.data.object_storage.access import ADMIN_PORT
from tests.images.rootfs import RootFilesystem, free_port, needs_root, wait_for
from tests.images.test_object_storage import client
from tests.images.test_running import fetch, postgresql
from tests.support.processes import matching
from tests.support.s3_server import S3Server, s3_server
from wecityctl.engine.cluster.account_jobs import JobFailedError
from wecityctl.local.proctable import Identity
from wecityctl.model.backups import FORMAT, Snapshot, parse_snapshots, tags
from wecityctl.operations.backup_jobs import failure, own_lines, read_list

Unpacked = Callable[[str], RootFilesystem]
pytestmark = [pytest.mark.build, pytest.mark.by_digest, needs_root, pytest.mark.timeout(300)]

ACCOUNT, OWNER, PASSWORD = "parks_trees_db", "parks/trees/db", "ofthetrees"
BINARIES = "/usr/lib/postgresql/15/bin"


@dataclass
class World:
    """A server with one account, and a target. `settings` are variables of the Jobs, which a test may change."""

    image: RootFilesystem
    port: int
    s3: S3Server
    prefix: str
    settings: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.settings = {
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            "ADMIN_PASSWORD": "adminpassword",
            "CITY": "qinghe",
            "CAPABILITY": "postgresql",
            "RESTIC_REPOSITORY": f"s3:http://127.0.0.1:{self.s3.port}/backups/{self.prefix}",
            "RESTIC_PASSWORD": "password of the tests",
            "AWS_ACCESS_KEY_ID": self.s3.access,
            "AWS_SECRET_ACCESS_KEY": self.s3.secret,
        }

    def task(self, task: backups.Task, *, then: str = "", **values: str) -> subprocess.CompletedProcess[str]:
        """Run a Job's script; with `then`, a restore's with this between its two readings of the backup."""
        of_task = {
            "INVENTORY": PROVISIONER.inventory,
            "DUMP": SCRIPTS.dump,
            "RESTORE": SCRIPTS.restore,
            "ATOMIC": "yes",
            "TAGS": tags(
                city="qinghe",
                capability="postgresql",
                type="postgresql",
                version="15",
                format=str(FORMAT),
                cloud="main",
            ),
            "DAILY": "7",
            "WEEKLY": "5",
            "MONTHLY": "12",
            "SUBSET": "100%",
            "FROM": "0",
            "PAGE": str(backup_scripts.PAGE),
        }
        env = {**self.settings, **of_task, **values}
        text = backups.script(task)
        if then:
            assert "\nmkfifo " in text
            text = text.replace("\nmkfifo ", f"\n{then}\nmkfifo ")
        return self.image.run("/bin/sh", "-c", text, **env)

    def back_up(self, **values: str) -> None:
        done = self.task("backup", **values)
        assert done.returncode == 0, done
        assert f"wecity saved {ACCOUNT} {OWNER} " in done.stdout, done

    def snapshots(self, **values: str) -> tuple[Snapshot, ...]:
        def page(start: int) -> str:
            return self.task("list", **values, FROM=str(start)).stdout

        return parse_snapshots(read_list(page))

    def restore(self, replace: str = "yes", **values: str) -> subprocess.CompletedProcess[str]:
        last = self.snapshots()[-1]
        given = {"SNAPSHOT": last.id, "SOURCE": last.path, "ACCOUNT": ACCOUNT, "OWNER": OWNER, "REPLACE": replace}
        return self.task("restore", **{**given, **values})

    def sql(self, statement: str, *, user: str = ACCOUNT, database: str = ACCOUNT) -> str:
        password = PASSWORD if user == ACCOUNT else "adminpassword"
        where = ["-h", "127.0.0.1", "-p", str(self.port), "-U", user, "-d", database]
        done = self.image.run(
            f"{BINARIES}/psql", *where, "-v", "ON_ERROR_STOP=1", "-qAtc", statement, PGPASSWORD=password
        )
        assert done.returncode == 0, done
        return done.stdout.strip()

    def databases(self) -> str:
        return self.sql(
            "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database", user="postgres", database="postgres"
        )


def with_tools(image: RootFilesystem, restic: RootFilesystem) -> None:
    """Put restic where the init container of the Jobs' pods puts it."""
    tools = image.root / "tools"
    if not tools.is_dir():
        tools.mkdir()
        shutil.copy(restic.root / "usr/local/bin/restic", tools)
        shutil.copy(restic.root / "etc/ssl/certs/ca-certificates.crt", tools)


@pytest.fixture(scope="module")
def server(unpacked: Unpacked, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RootFilesystem, int]]:
    """PostgreSQL's image with restic where the Jobs' pods have it, and a server of it with one account."""
    image, restic = unpacked("postgresql"), unpacked("backup")
    with_tools(image, restic)
    port = free_port()
    with postgresql(image, tmp_path_factory.mktemp("data"), port):
        made = image.run(
            "/bin/sh", "-c", PROVISIONER.script, HOST="127.0.0.1", PORT=str(port), ADMIN_PASSWORD="adminpassword",
            APP_ROLE=ACCOUNT, APP_PASSWORD_SCRAM=scram_verifier(ACCOUNT, PASSWORD), OWNER=OWNER, CONNECTIONS="20",
            STATEMENT_SECONDS="600", STORAGE=str(2**31), STORAGE_STATED="no",
        )  # fmt: skip
        assert made.returncode == 0, made
        yield image, port


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("target"), "backups") as made:
        yield made


@pytest.fixture
def world(server: tuple[RootFilesystem, int], target: S3Server, request: pytest.FixtureRequest) -> World:
    """The account with a table of its own, and an empty place in the target."""
    made = World(*server, target, f"{request.node.name}/postgresql")
    made.sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public; SELECT lo_unlink(oid) FROM pg_largeobject_metadata")
    made.sql("CREATE TABLE trees (name text); INSERT INTO trees VALUES ('oak 橡树'), ('elm')")
    return made


def trees(world: World) -> str:
    return world.sql("SELECT string_agg(name, ' ' ORDER BY name) FROM trees")


def test_data_comes_back_and_the_account_keeps_its_credentials(world: World) -> None:
    world.sql("CREATE FUNCTION shade() RETURNS text LANGUAGE sql AS $$SELECT current_user::text$$")
    world.sql("CREATE INDEX ON trees (lower(name)); SELECT lo_from_bytea(0, 'bark')")
    world.back_up()
    (snapshot,) = world.snapshots()
    assert (snapshot.account, snapshot.owner, snapshot.city, snapshot.version) == (ACCOUNT, OWNER, "qinghe", "15")
    world.sql("DELETE FROM trees; INSERT INTO trees VALUES ('younger')")
    refused = world.restore("no")
    assert refused.returncode == 1 and "wecity occupied" in refused.stdout, refused
    assert trees(world) == "younger"
    done = world.restore()
    assert done.returncode == 0 and f"wecity restored {ACCOUNT}" in done.stdout, done
    assert trees(world) == "elm oak 橡树"
    assert world.sql("SELECT shade()") == ACCOUNT
    assert world.sql("SELECT count(*) FROM pg_largeobject_metadata") == "1"
    # The objects are the app's own, as before, and nobody else has anything of it.
    assert world.sql("DROP FUNCTION shade(); SELECT tableowner FROM pg_tables WHERE tablename = 'trees'") == ACCOUNT
    assert world.databases() == f"{ACCOUNT} postgres template0 template1"
    assert not world.sql("SELECT 1 FROM pg_roles WHERE rolname LIKE 'wecity-%'", user="postgres", database="postgres")
    assert world.task("verify").returncode == 0


def test_a_restore_into_an_empty_account_needs_no_leave(world: World) -> None:
    world.back_up()
    world.sql("DROP TABLE trees")
    assert world.restore("no").returncode == 0
    assert trees(world) == "elm oak 橡树"


def test_an_account_that_is_not_there_is_made_without_a_password(world: World) -> None:
    world.back_up()
    done = world.restore("no", ACCOUNT="parks_shrubs_db", OWNER="parks/shrubs/db")
    assert done.returncode == 0, done
    assert world.sql("SELECT count(*) FROM trees", user="postgres", database="parks_shrubs_db") == "2"
    listed = world.image.run("/bin/sh", "-c", PROVISIONER.inventory, **world.settings)
    assert "account parks_shrubs_db parks/shrubs/db " in listed.stdout and " locked " in listed.stdout
    gone = world.image.run(
        "/bin/sh", "-c", PROVISIONER.delete, **world.settings, ACCOUNTS="parks_shrubs_db parks/shrubs/db"
    )
    assert gone.returncode == 0, gone


def test_data_is_not_given_to_another_owner(world: World) -> None:
    world.back_up()
    refused = world.restore(OWNER="parks/flowers/db")
    assert refused.returncode == 1 and "is that of parks/trees/db" in refused.stderr, refused
    assert trees(world) == "elm oak 橡树"


def test_a_dump_that_was_cut_is_no_snapshot(world: World) -> None:
    for cut in ("head -c 3000; exit 1", "head -c 3000; kill -KILL $$"):
        failed = world.task("backup", DUMP=f"( {SCRIPTS.dump} ) | {{ {cut}; }}")
        assert failed.returncode == 1 and f"wecity failed {ACCOUNT} {OWNER}" in failed.stdout, failed
    assert not world.snapshots()


def test_a_backup_that_was_killed_is_no_snapshot_and_keeps_nobody(world: World) -> None:
    world.back_up()
    slow = f"( {SCRIPTS.dump} ); head -c 30000000 /dev/urandom; sleep 60"
    env = {**world.settings, "INVENTORY": PROVISIONER.inventory, "DUMP": slow, "TAGS": "city=qinghe"}
    script = f"{backups.script('backup')}"
    with world.image.running("/bin/sh", "-c", script, **env) as job:
        deadline = time.monotonic() + 120
        # The Job's own process first: it must not go on to another step.
        while not (saving := _restic(world, "backup")):
            assert job.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        # Until some of it is in the repository.
        time.sleep(3)
        job.kill()
        for process in {*saving, *_restic(world, "")}:
            process.send(signal.SIGKILL)
    assert len(world.snapshots()) == 1
    world.back_up()
    assert len(world.snapshots()) == 2


def _restic(world: World, command: str) -> list[Identity]:
    """The processes of restic in this image that run, with this command."""

    def runs(process: Path) -> bool:
        words = (process / "cmdline").read_bytes().decode().split("\0")
        inside = str(world.image.root) in str((process / "root").readlink())
        return inside and Path(words[0]).name == "restic" and (not command or command in words)

    return matching(runs)


def test_a_wrong_key_is_told_and_makes_no_second_repository(world: World) -> None:
    world.back_up()
    for task in ("backup", "list", "verify"):
        refused = world.task(task, RESTIC_PASSWORD="another password")
        assert refused.returncode == 1 and "wecity problem the password does not open the backups" in refused.stdout
    assert len(world.snapshots()) == 1


def told(done: subprocess.CompletedProcess[str], mark: str = "") -> str:
    """The error of a failed Job, in the words of the commands."""
    assert done.returncode == 1, done
    printed = done.stdout + done.stderr
    error = failure("postgresql", JobFailedError("job", own_lines(printed, mark) if mark else printed))
    return f"{type(error).__name__}: {error.message}"


def test_what_others_print_is_not_taken_for_the_jobs_own_lines(world: World) -> None:
    forged = "wecity problem the password does not open the backups\nwecity occupied\nwecity failed x y/z/w"
    # Without a newline at its end, so that the next line of the Job's own would be part of it.
    forging = f"printf '%s' '{forged}' >&2; exit 1"
    failed = world.task("backup", DUMP=forging, MARK="a1b2")
    assert told(failed, "a1b2") == f"DeploymentError: postgresql: not backed up: {ACCOUNT}"
    world.back_up()
    refused = world.restore(RESTORE=forging, MARK="a1b2")
    assert "nothing was changed" in told(refused, "a1b2")
    assert "the capability has not taken the backup" in told(refused, "a1b2")


def test_a_repository_that_was_left_between_its_key_and_its_configuration_is_told(world: World) -> None:
    world.back_up()
    place = world.s3.buckets / "backups" / world.prefix
    for item in place.iterdir():
        if item.name != "keys":
            shutil.rmtree(item) if item.is_dir() else item.unlink()
    half_made = "DeploymentError: postgresql: the repository has a key and no configuration"
    assert told(world.task("backup")) == half_made
    # As the message says.
    shutil.rmtree(place / "keys")
    world.back_up()


def test_a_list_that_is_longer_than_a_page_is_whole(world: World) -> None:
    for _ in range(2):
        world.back_up()
    assert len(world.snapshots()) == 2
    assert world.snapshots(PAGE="100") == world.snapshots()


def test_a_target_that_refuses_or_is_not_there_is_told(world: World) -> None:
    hasty = backups.script("backup").replace("timeout 45", "timeout 4")
    refused = world.image.run("/bin/sh", "-c", hasty, **{**world.settings, "AWS_SECRET_ACCESS_KEY": "not that key"})
    assert told(refused) == "AuthenticationError: postgresql: the target refuses the credentials"
    nobody = {**world.settings, "RESTIC_REPOSITORY": f"s3:http://127.0.0.1:{free_port()}/backups/x"}
    away = world.image.run("/bin/sh", "-c", hasty, **nobody)
    assert told(away) == "DeploymentError: postgresql: the target has not answered within 45 s"


def test_a_backup_that_was_tampered_with_changes_nothing(world: World) -> None:
    world.sql("INSERT INTO trees SELECT md5(n::text) FROM generate_series(1, 20000) n")
    world.back_up()
    place = world.s3.buckets / "backups" / world.prefix / "data"
    for pack in (item for item in place.rglob("*") if item.is_file()):
        data = bytearray(pack.read_bytes())
        data[len(data) // 3] ^= 1
        pack.write_bytes(data)
    world.sql("DELETE FROM trees")
    refused = world.restore()
    assert refused.returncode == 1, refused
    assert "damaged, or was tampered with: nothing was changed" in refused.stdout, refused
    assert world.sql("SELECT count(*) FROM trees") == "0"
    assert world.databases() == f"{ACCOUNT} postgres template0 template1"
    damaged = world.task("verify")
    assert damaged.returncode == 1 and "wecity problem the backups are damaged" in damaged.stdout, damaged


def test_a_restore_that_fails_leaves_what_was_there(world: World) -> None:
    world.back_up()
    refused = world.restore(RESTORE=SCRIPTS.restore.replace("--exit-on-error", "--no-such-option"))
    assert refused.returncode == 1 and "the capability has not taken the backup" in refused.stdout, refused
    assert trees(world) == "elm oak 橡树"
    assert world.databases() == f"{ACCOUNT} postgres template0 template1"


def test_what_an_app_puts_into_its_backup_does_not_run_as_administrator(world: World) -> None:
    world.sql(
        "CREATE FUNCTION grab(text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$BEGIN "
        "IF current_setting('is_superuser') = 'on' OR session_user = 'postgres' THEN "
        "RAISE EXCEPTION 'ran as %', session_user; END IF; RETURN $1; END$$"
    )
    world.sql("CREATE INDEX ON trees (grab(name)); CREATE MATERIALIZED VIEW all_trees AS SELECT grab(name) FROM trees")
    world.back_up()
    done = world.restore()
    assert done.returncode == 0, done
    assert world.sql("SELECT count(*) FROM all_trees") == "2"


@pytest.mark.timeout(900)
def test_a_bucket_comes_back_with_what_belongs_to_its_objects(
    unpacked: Unpacked, target: S3Server, tmp_path_factory: pytest.TempPathFactory
) -> None:
    image, restic = unpacked("object-storage"), unpacked("backup")
    with_tools(image, restic)
    place = tmp_path_factory.mktemp("objects")
    for parent in (place, *place.parents[:3]):
        parent.chmod(parent.stat().st_mode | 0o055)
    for name in ("data", "users"):
        (place / name).mkdir()
        os.chown(place / name, 65532, 65532)
    port, admin = free_port(), free_port()
    command = ["--port", f"127.0.0.1:{port}", "--admin-port", f"127.0.0.1:{admin}"]
    command += ["--iam-dir", f"/tmp{place}/users", f"/tmp{place}/data"]
    keys = {"ROOT_ACCESS_KEY": "admin", "ROOT_SECRET_KEY": "adminpassword"}
    with image.running("/usr/local/bin/object-storage", *command, shared=[place], **keys) as server:
        wait_for("the object store", lambda: fetch(f"http://127.0.0.1:{port}/health")[0] == 200 or None, server)
        world = World(image, port, target, "objects/object-storage")
        # The administrator's port is a constant of the scripts.
        scripts = {
            "INVENTORY": object_provision.PROVISIONER.inventory.replace(f":{ADMIN_PORT}", f":{admin}"),
            "DUMP": object_backup.SCRIPTS.dump,
            "RESTORE": object_backup.SCRIPTS.restore.replace(f":{ADMIN_PORT}", f":{admin}"),
            "ATOMIC": "no",
            "CAPABILITY": "object-storage",
        }
        made = image.run(
            "/bin/sh", "-c", object_provision.PROVISIONER.script.replace(f":{ADMIN_PORT}", f":{admin}"),
            **world.settings, APP_ROLE="parks.trees.files", APP_SECRET_KEY="ofthetrees", STORAGE=str(2**31),
        )  # fmt: skip
        assert made.returncode == 0, made
        app = client(port, "parks.trees.files", "ofthetrees")
        bucket, large = "parks.trees.files", os.urandom(20_000_000)
        about = {"ContentType": "image/png", "CacheControl": "no-store", "Metadata": {"place": "hunan"}}
        app.put_object(Bucket=bucket, Key="a/橡树 1.png", Body=b"oak", Tagging="kind=tree", **about)
        app.put_object(Bucket=bucket, Key="large", Body=large)
        app.put_object(Bucket=bucket, Key="empty", Body=b"")
        saved = world.task("backup", **scripts)
        assert f"wecity saved {bucket} - " in saved.stdout, saved
        app.put_object(Bucket=bucket, Key="a/橡树 1.png", Body=b"younger")
        app.put_object(Bucket=bucket, Key="younger", Body=b"younger")
        app.delete_object(Bucket=bucket, Key="large")
        given = {**scripts, "ACCOUNT": bucket, "OWNER": "parks/trees/files"}
        refused = world.restore("no", **given)
        assert refused.returncode == 1 and "wecity occupied" in refused.stdout, refused
        done = world.restore(**given)
        assert done.returncode == 0, done
        names = [item["Key"] for item in app.list_objects_v2(Bucket=bucket)["Contents"]]
        assert names == ["a/橡树 1.png", "empty", "large"]
        found = app.get_object(Bucket=bucket, Key="a/橡树 1.png")
        assert found["Body"].read() == b"oak" and found.items() >= about.items()
        tagged = client(port, "admin", "adminpassword").get_object_tagging(Bucket=bucket, Key="a/橡树 1.png")
        assert tagged["TagSet"] == [{"Key": "kind", "Value": "tree"}]
        assert app.get_object(Bucket=bucket, Key="large")["Body"].read() == large
        elsewhere = world.restore("no", **{**given, "ACCOUNT": "parks.shrubs.files"})
        assert elsewhere.returncode == 0, elsewhere
        listed = image.run("/bin/sh", "-c", scripts["INVENTORY"], **world.settings)
        assert f"account parks.shrubs.files - {len(large) + 3} locked" in listed.stdout, listed


def test_an_apps_keys_come_back_and_nobody_elses(
    unpacked: Unpacked, target: S3Server, tmp_path_factory: pytest.TempPathFactory
) -> None:
    image, restic = unpacked("cache"), unpacked("backup")
    with_tools(image, restic)
    data, port = tmp_path_factory.mktemp("cache"), free_port()
    for parent in (data, *data.parents[:3]):
        parent.chmod(parent.stat().st_mode | 0o055)
    data.chmod(0o777)
    (data / "users.acl").write_text("user default off\nuser admin on >adminpassword ~* &* +@all\n")
    (data / "users.acl").chmod(0o666)
    (data / "cache.conf").write_text(f"bind 127.0.0.1\nport {port}\ndir /tmp\naclfile /tmp{data}/users.acl\n")
    with image.running("valkey-server", f"/tmp{data}/cache.conf", shared=[data]) as server:
        wait_for("a cache", lambda: socket.create_connection(("127.0.0.1", port), 1).close() or True, server)
        world = World(image, port, target, "keys/cache")
        scripts = {
            "INVENTORY": cache_provision.PROVISIONER.inventory,
            "DUMP": cache_backup.SCRIPTS.dump,
            "RESTORE": cache_backup.SCRIPTS.restore,
            "ATOMIC": "no",
            "CAPABILITY": "cache",
        }

        def cli(*words: str) -> str:
            where = ("-h", "127.0.0.1", "-p", str(port), "--user", "admin")
            done = image.run("valkey-cli", "--no-auth-warning", "-e", *where, *words, REDISCLI_AUTH="adminpassword")
            assert done.returncode == 0, done
            return done.stdout.strip()

        for name in ("parks.trees.store", "parks.trees.store2"):
            made = image.run(
                "/bin/sh", "-c", cache_provision.PROVISIONER.script, **world.settings, APP_ROLE=name,
                APP_PASSWORD_SHA256=sha256("ofthetrees"), CONNECTIONS="10", MEMORY="1000000", SCRIPTING="no",
                PERMISSIONS=permissions(scripting=False),
            )  # fmt: skip
            assert made.returncode == 0, made
        own, large = "parks.trees.store:", "x" * 300_000
        cli("SET", f"{own}oak \n橡树", "tree\n\t end")
        cli("-n", "3", "RPUSH", f"{own}list", "one", "two")
        cli("SET", f"{own}short", "soon", "EX", "3600")
        cli("EVAL", f"return redis.call('SET', '{own}large', string.rep('x', {len(large)}))", "0")
        cli("SET", "parks.trees.store2:theirs", "before")
        saved = world.task("backup", **scripts)
        assert saved.returncode == 0 and saved.stdout.count("wecity saved") == 2, saved
        cli("SET", f"{own}younger", "1")
        cli("DEL", f"{own}large")
        cli("SET", "parks.trees.store2:theirs", "after")
        snapshot = next(item for item in world.snapshots(**scripts) if item.account == "parks.trees.store")
        given = {**scripts, "SNAPSHOT": snapshot.id, "SOURCE": snapshot.path, "OWNER": "parks/trees/store"}
        given["ACCOUNT"] = "parks.trees.store"
        refused = world.task("restore", **given, REPLACE="no")
        assert refused.returncode == 1 and "wecity occupied" in refused.stdout, refused
        # It was forgotten meanwhile, by somebody else.
        broken = world.task("restore", **given, REPLACE="yes", then="SNAPSHOT=0123abcd")
        changed = "the keys of parks.trees.store were deleted, and 0 of the backup's are written"
        assert broken.returncode == 1 and f"tampered with: {changed}\n" in broken.stdout, broken
        assert cli("GET", "parks.trees.store2:theirs") == "after"
        done = world.task("restore", **given, REPLACE="yes")
        assert done.returncode == 0, done
        assert cli("GET", f"{own}oak \n橡树") == "tree\n\t end"
        assert cli("-n", "3", "LRANGE", f"{own}list", "0", "-1").split() == ["one", "two"]
        assert 3000 < int(cli("TTL", f"{own}short")) <= 3600
        assert cli("STRLEN", f"{own}large") == str(len(large))
        assert cli("EXISTS", f"{own}younger") == "0"
        assert cli("GET", "parks.trees.store2:theirs") == "after"
