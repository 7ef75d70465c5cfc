"""Accounts whose use has ended, on real servers: locked at once, listed with size and age, removed when asked for."""

from __future__ import annotations

import contextlib
import os
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from stacks.platforms import tls
from stacks.platforms.application.cache.access import TLS_OPTIONS
from stacks.platforms.application.cache.provision import PROVISIONER as CACHE
from stacks.platforms.application.postgresql.provision import PROVISIONER as POSTGRESQL
from stacks.platforms.data.object_storage.provision import PROVISIONER as STORE
from tests.attack.conftest import Unpacked
from tests.attack.served import (
    ADMIN,
    PASSWORD,
    Served,
    attacked,
    cache_server,
    database_server,
    object_store,
    wait_until,
)
from tests.images.rootfs import needs_root
from wecityctl.model.city import Capability, Platform, Use

pytestmark = [pytest.mark.build, needs_root, pytest.mark.timeout(400)]

EVE, BOB = ("health", "code"), ("transport", "bus")
DATABASE, NEIGHBOUR = "health_code_db", "transport_bus_db"
# What the owner of a database can set for all sessions in it.
SETTINGS = (
    "role = '{role}'",
    "search_path = 'none'",
    "local_preload_libraries = 'nothing_of_that_name'",
    "default_transaction_read_only = on",
    "default_transaction_isolation = 'serializable'",
    "statement_timeout = '1ms'",
    "lock_timeout = '1ms'",
    "idle_session_timeout = '1ms'",
    "idle_in_transaction_session_timeout = '1ms'",
    "client_encoding = 'SQL_ASCII'",
    "standard_conforming_strings = off",
)
USER, OTHER = "health.code.cache", "transport.bus.cache"


@dataclass(frozen=True)
class Kept:
    """A server with two apps' accounts, one of which leaves; `connect` signs in."""

    served: Served
    connect: Callable[..., Any]

    def run(self, script: str, accounts: str = "", **values: str) -> str:
        """What one of the capability's scripts prints."""
        where = {"HOST": "127.0.0.1", "PORT": str(self.served.port), "ADMIN_PASSWORD": ADMIN, "ACCOUNTS": accounts}
        for old, new in self.served.replacing:
            script = script.replace(old, new)
        done = self.served.image.run("/bin/sh", "-c", script, **where, **values)
        assert done.returncode == 0, done.stdout + done.stderr
        return str(done.stdout)


def inventory(text: str) -> dict[str, list[str]]:
    """Owner, bytes, state and since of each account."""
    lines = [line.split() for line in text.splitlines()]
    assert all(words[0] == "account" and len(words) == 6 for words in lines), text
    return {words[1]: words[2:] for words in lines}


@pytest.fixture(scope="module")
def database(unpacked: Unpacked, drivers: Path) -> Iterator[Kept]:
    native = pytest.importorskip("pg8000.native")
    city = attacked((*EVE, Use("postgresql", "db")), (*BOB, Use("postgresql", "db")))
    with database_server(city, unpacked("postgresql")) as served:

        def connect(role: str, password: str = PASSWORD, database: str = "") -> Any:
            where = {"host": "127.0.0.1", "port": served.port, "database": database or role, "timeout": 30}
            return native.Connection(role, password=password, **where)

        wait_until(lambda: _answers(lambda: connect("postgres", ADMIN)), 90)
        served.provision()
        yield Kept(served, connect)


@pytest.fixture(scope="module")
def cache(unpacked: Unpacked, drivers: Path) -> Iterator[Kept]:
    redis = pytest.importorskip("redis")
    city = attacked((*EVE, Use("cache", "cache")), (*BOB, Use("cache", "cache")))
    with cache_server(city, unpacked("cache")) as served:

        def connect(user: str, password: str = PASSWORD, **options: Any) -> Any:
            where = {"host": "127.0.0.1", "port": served.port, "ssl": True, "ssl_ca_data": served.authority}
            who = {"username": user, "password": password, "decode_responses": True}
            return redis.Redis(**where, **who, socket_timeout=20, **options)

        wait_until(lambda: _answers(lambda: connect("admin", ADMIN).ping()))
        served.provision()
        yield Kept(served, connect)


@pytest.fixture(scope="module")
def store(unpacked: Unpacked, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    platform = Platform("data", (Capability("data", "object-storage", "object-storage"),))
    uses = ((*EVE, Use("object-storage", "files")), (*BOB, Use("object-storage", "files")))
    with object_store(attacked(*uses, platform=platform), unpacked("object-storage")) as served:
        authority = tmp_path_factory.mktemp("authority") / "ca.crt"
        authority.write_text(served.authority)

        def connect(user: str, password: str = PASSWORD) -> Any:
            where = {"endpoint_url": f"https://127.0.0.1:{served.port}", "verify": str(authority)}
            how = Config(
                s3={"addressing_style": "path"}, request_checksum_calculation="when_required", signature_version="s3v4"
            )
            who = {"aws_access_key_id": user, "aws_secret_access_key": password, "region_name": "us-east-1"}
            return boto3.client("s3", **where, **who, config=how)

        served.provision()
        yield Kept(served, connect)


def _answers(ask: Callable[[], Any]) -> bool:
    try:
        ask()
    except Exception:
        return False
    return True


def test_a_database_is_locked_at_once_and_its_neighbour_goes_on(database: Kept) -> None:
    eve, bob = database.connect(DATABASE), database.connect(NEIGHBOUR)
    eve.run("CREATE TABLE kept AS SELECT 'here' AS note")
    # It holds its own role in a transaction that it leaves open.
    eve.run("BEGIN")
    eve.run(f"ALTER ROLE {DATABASE} SET work_mem = '1MB'")
    before = inventory(database.run(POSTGRESQL.inventory))
    assert before[DATABASE][0] == "health/code/db"
    assert int(before[DATABASE][1]) > 1_000_000
    assert before[DATABASE][2:] == ["open", "-"]

    database.run(POSTGRESQL.deprovision, f"{DATABASE} health/code/db")
    with pytest.raises(Exception, match=r"terminat|network|reset|closed"):
        eve.run("SELECT 1")
    with pytest.raises(Exception, match="password authentication failed"):
        database.connect(DATABASE)
    assert bob.run("SELECT 1") == [[1]]
    bob.close()
    state, since = inventory(database.run(POSTGRESQL.inventory))[DATABASE][2:]
    assert state == "locked"
    assert abs(int(since) - time.time()) < 60

    # Again, with one that is not there and one that is another's: nothing changes.
    lines = f"{DATABASE} health/code/db\nnobody_x_y nobody/x/y\n{NEIGHBOUR} somebody/else/db\n"
    database.run(POSTGRESQL.deprovision, lines)
    after = inventory(database.run(POSTGRESQL.inventory))
    assert after[DATABASE][2:] == ["locked", since]
    assert after[NEIGHBOUR][2] == "open"


def test_an_app_that_comes_back_finds_its_database(database: Kept) -> None:
    database.run(POSTGRESQL.deprovision, f"{DATABASE} health/code/db")
    database.served.provision()
    with contextlib.closing(database.connect(DATABASE)) as eve:
        assert eve.run("SELECT note FROM kept") == [["here"]]
    assert inventory(database.run(POSTGRESQL.inventory))[DATABASE][2:] == ["open", "-"]


def test_a_database_is_deleted_with_what_its_role_has_in_others(database: Kept) -> None:
    with contextlib.closing(database.connect(NEIGHBOUR)) as bob:
        bob.run(f"GRANT CONNECT ON DATABASE {NEIGHBOUR} TO {DATABASE}")
        bob.run(f"CREATE SCHEMA shared; GRANT ALL ON SCHEMA shared TO {DATABASE}")
        bob.run("CREATE TABLE shared.own (note text)")
        bob.run(f"ALTER DATABASE {NEIGHBOUR} SET default_transaction_read_only = on")
    with contextlib.closing(database.connect(DATABASE, database=NEIGHBOUR)) as eve:
        eve.run("SET transaction_read_only = off; CREATE TABLE shared.eves (note text)")
    # Another's account is not deleted, whatever the line says.
    database.run(POSTGRESQL.delete, f"{NEIGHBOUR} health/code/db")
    held = database.connect(DATABASE)
    database.run(POSTGRESQL.delete, f"{DATABASE} health/code/db")
    with pytest.raises(Exception, match=r"terminat|network|reset|closed"):
        held.run("SELECT 1")
    database.run(POSTGRESQL.delete, f"{DATABASE} health/code/db")
    assert set(inventory(database.run(POSTGRESQL.inventory))) == {NEIGHBOUR}
    with contextlib.closing(database.connect("postgres", ADMIN)) as admin:
        assert admin.run("SELECT 1 FROM pg_roles WHERE rolname = :role", role=DATABASE) == []
        assert admin.run("SELECT 1 FROM pg_database WHERE datname = :role", role=DATABASE) == []
    with contextlib.closing(database.connect(NEIGHBOUR)) as bob:
        assert bob.run("SELECT tablename FROM pg_tables WHERE schemaname = 'shared'") == [["own"]]
    database.served.provision()
    with contextlib.closing(database.connect(DATABASE)) as eve:
        assert eve.run("SELECT to_regclass('kept')") == [[None]]


def test_nothing_that_owners_set_stops_lock_inventory_delete_or_a_new_account(database: Kept) -> None:
    """Neither what the app that leaves set in its own database, nor its neighbour where it has something."""
    database.served.provision()
    with contextlib.closing(database.connect(NEIGHBOUR)) as bob:
        bob.run("SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE")
        bob.run(f"GRANT CONNECT ON DATABASE {NEIGHBOUR} TO {DATABASE}")
        bob.run("CREATE SCHEMA IF NOT EXISTS given")
        bob.run(f"GRANT ALL ON SCHEMA given TO {DATABASE}")
    with contextlib.closing(database.connect(DATABASE, database=NEIGHBOUR)) as eve:
        eve.run("SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE")
        eve.run("CREATE TABLE given.eves (note text)")
        eve.run("SELECT lo_create(0)")
        eve.run("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC")
    with contextlib.closing(database.connect(DATABASE)) as eve:
        eve.run(f"GRANT CONNECT ON DATABASE {DATABASE} TO {NEIGHBOUR}")
    # Nobody can close the database that he is in.
    owners = {
        name: database.connect(name, database=other) for name, other in ((DATABASE, NEIGHBOUR), (NEIGHBOUR, DATABASE))
    }
    for name, owner in owners.items():
        owner.run("SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE")
        for setting in SETTINGS:
            owner.run(f"ALTER DATABASE {name} SET {setting.format(role=name)}")
            owner.run(f"ALTER ROLE {name} SET {setting.format(role=name)}")
        owner.run(f"ALTER DATABASE {name} CONNECTION LIMIT 0")
        owner.run(f"ALTER DATABASE {name} IS_TEMPLATE true")
        owner.run(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    assert set(inventory(database.run(POSTGRESQL.inventory))) == {DATABASE, NEIGHBOUR}
    database.run(POSTGRESQL.deprovision, f"{DATABASE} health/code/db")
    assert inventory(database.run(POSTGRESQL.inventory))[DATABASE][2] == "locked"
    database.run(POSTGRESQL.delete, f"{DATABASE} health/code/db")
    assert set(inventory(database.run(POSTGRESQL.inventory))) == {NEIGHBOUR}
    with contextlib.closing(database.connect("postgres", ADMIN)) as admin:
        assert admin.run("SELECT 1 FROM pg_roles WHERE rolname = :role", role=DATABASE) == []
        # What the neighbour has set stays as it is.
        found = "SELECT datallowconn, datistemplate FROM pg_database WHERE datname = :name"
        assert admin.run(found, name=NEIGHBOUR) == [[False, True]]
    database.served.provision()
    with contextlib.closing(database.connect(DATABASE)) as eve:
        assert eve.run("SELECT 1") == [[1]]


def test_a_user_of_a_cache_is_locked_at_once_and_its_neighbour_goes_on(cache: Kept) -> None:
    eve, bob = cache.connect(USER), cache.connect(OTHER)
    eve.set(f"{USER}:kept", "here" * 1000)
    cache.connect(USER, db=3).set(f"{USER}:elsewhere", "too")
    bob.set(f"{OTHER}:kept", "his")
    before = inventory(cache.run(CACHE.inventory, TLS=TLS_OPTIONS))
    assert int(before[USER][1]) > 4000 > int(before[OTHER][1]) > 0
    assert before[USER][2:] == ["open", "-"]

    cache.run(CACHE.deprovision, f"{USER} health/code/cache", TLS=TLS_OPTIONS)
    for client in (eve, cache.connect(USER)):
        with pytest.raises(Exception, match=r"WRONGPASS|invalid username|closed"):
            client.get(f"{USER}:kept")
    assert bob.get(f"{OTHER}:kept") == "his"
    state, since = inventory(cache.run(CACHE.inventory, TLS=TLS_OPTIONS))[USER][2:]
    assert state == "locked"
    assert abs(int(since) - time.time()) < 60

    lines = f"{USER} health/code/cache\nnobody.x.y nobody/x/y\nadmin nobody/x/y\n"
    cache.run(CACHE.deprovision, lines, TLS=TLS_OPTIONS)
    after = inventory(cache.run(CACHE.inventory, TLS=TLS_OPTIONS))
    assert after[USER][2:] == ["locked", since]
    assert after[OTHER][2] == "open"
    # What a restart reads: the lock is in the file as well.
    admin = cache.connect("admin", ADMIN)
    admin.execute_command("ACL", "LOAD")
    assert admin.execute_command("ACL", "DRYRUN", "admin", "PING") == "OK"
    assert inventory(cache.run(CACHE.inventory, TLS=TLS_OPTIONS))[USER][2:] == ["locked", since]


def test_an_app_that_comes_back_finds_its_keys(cache: Kept) -> None:
    cache.run(CACHE.deprovision, f"{USER} health/code/cache", TLS=TLS_OPTIONS)
    cache.served.provision()
    assert cache.connect(USER).get(f"{USER}:kept") == "here" * 1000
    assert inventory(cache.run(CACHE.inventory, TLS=TLS_OPTIONS))[USER][2:] == ["open", "-"]


def test_a_user_of_a_cache_is_deleted_with_its_keys(cache: Kept) -> None:
    many = cache.connect(USER).pipeline()
    for number in range(2500):
        many.set(f"{USER}:{number}", "x")
    many.execute()
    for _ in range(2):
        cache.run(CACHE.delete, f"{USER} health/code/cache", TLS=TLS_OPTIONS)
    assert set(inventory(cache.run(CACHE.inventory, TLS=TLS_OPTIONS))) == {OTHER}
    admin = cache.connect("admin", ADMIN)
    assert list(admin.scan_iter("*")) == [f"{OTHER}:kept"]
    assert list(cache.connect("admin", ADMIN, db=3).scan_iter("*")) == []
    cache.served.provision()
    assert cache.connect(USER).get(f"{USER}:kept") is None


BUCKET, OTHERS = "health.code.files", "transport.bus.files"
# What an address, XML or a shell may stumble over.
ODD = ("a&b", "<c>", "d e+f%g", "健康/码", "quote'\"", "line\nbreak", "~tilde*")


def test_a_user_of_an_object_store_is_locked_at_once_and_its_neighbour_goes_on(store: Kept) -> None:
    eve, bob = store.connect(BUCKET), store.connect(OTHERS)
    for key in ODD:
        eve.put_object(Bucket=BUCKET, Key=key, Body=b"1234567890")
    bob.put_object(Bucket=OTHERS, Key="his", Body=b"1")
    link = eve.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": "a&b"})
    reach = {"AUTHORITY": tls.AUTHORITY}
    before = inventory(store.run(STORE.inventory, **reach))
    assert before == {BUCKET: ["-", str(10 * len(ODD)), "open", "-"], OTHERS: ["-", "1", "open", "-"]}

    lines = f"{BUCKET} health/code/files\nnobody.x.y nobody/x/y\nadmin nobody/x/y\nhealth.code health/code/files\n"
    store.run(STORE.deprovision, lines, **reach)
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        eve.get_object(Bucket=BUCKET, Key="a&b")
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(link, timeout=10, context=ssl.create_default_context(cadata=store.served.authority))
    assert bob.get_object(Bucket=OTHERS, Key="his")["Body"].read() == b"1"
    state, since = inventory(store.run(STORE.inventory, **reach))[BUCKET][2:]
    assert state == "locked"
    assert abs(int(since) - time.time()) < 60
    store.run(STORE.deprovision, lines, **reach)
    after = inventory(store.run(STORE.inventory, **reach))
    assert after[BUCKET][2:] == ["locked", since]
    assert after[OTHERS][2] == "open"


def test_an_app_that_comes_back_finds_its_bucket(store: Kept) -> None:
    store.run(STORE.deprovision, f"{BUCKET} health/code/files", AUTHORITY=tls.AUTHORITY)
    store.served.provision()
    assert store.connect(BUCKET).get_object(Bucket=BUCKET, Key="健康/码")["Body"].read() == b"1234567890"
    assert inventory(store.run(STORE.inventory, AUTHORITY=tls.AUTHORITY))[BUCKET][2:] == ["open", "-"]


def test_a_bucket_is_deleted_with_its_objects(store: Kept) -> None:
    eve = store.connect(BUCKET)
    # More than a page, whose last name needs an escape in an address. Objects are files; uploads would take long.
    place = Path(store.served.replacing[-1][1].removeprefix("/tmp")) / "buckets" / BUCKET / "m"
    place.mkdir()
    for number in range(1010 - len(ODD)):
        (place / f"{number:04} &").write_text("1")
    for path in (place, *place.iterdir()):
        os.chown(path, 65532, 65532)
    assert eve.get_object(Bucket=BUCKET, Key="m/0000 &")["Body"].read() == b"1"
    eve.create_multipart_upload(Bucket=BUCKET, Key="unfinished")
    size = 10 * len(ODD) + 1010 - len(ODD)
    reach = {"AUTHORITY": tls.AUTHORITY}
    assert inventory(store.run(STORE.inventory, **reach))[BUCKET][1] == str(size)
    for _ in range(2):
        store.run(STORE.delete, f"{BUCKET} health/code/files", **reach)
    assert set(inventory(store.run(STORE.inventory, **reach))) == {OTHERS}
    admin = store.connect("admin", ADMIN)
    assert {item["Name"] for item in admin.list_buckets()["Buckets"]} == {OTHERS, "wecity-limits"}
    assert [item["Key"] for item in admin.list_objects_v2(Bucket="wecity-limits")["Contents"]] == [OTHERS]
    store.served.provision()
    assert store.connect(BUCKET).list_objects_v2(Bucket=BUCKET)["KeyCount"] == 0
