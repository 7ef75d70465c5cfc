"""The end-to-end probes of shared capabilities on real servers: what is broken fails, and nothing is left behind."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from stacks.platforms.application.postgresql.access import BINARIES
from tests.attack.conftest import Unpacked
from tests.attack.served import ADMIN, Served, attacked, cache_server, database_server, object_store, wait_until
from tests.images.rootfs import needs_root
from wecityctl.model.city import Capability, Platform, Use

pytestmark = [pytest.mark.build, needs_root, pytest.mark.timeout(300)]

DATA = Platform("data", (Capability("data", "object-storage", "object-storage"),))


@pytest.fixture(scope="module")
def database(unpacked: Unpacked) -> Iterator[Served]:
    with database_server(attacked(("health", "code", Use("postgresql", "db"))), unpacked("postgresql")) as served:
        wait_until(lambda: served.probe().returncode == 0, 90)
        yield served


@pytest.fixture(scope="module")
def cache(unpacked: Unpacked) -> Iterator[Served]:
    with cache_server(attacked(("health", "code", Use("cache", "cache"))), unpacked("cache")) as served:
        wait_until(lambda: served.probe().returncode == 0)
        yield served


@pytest.fixture(scope="module")
def store(unpacked: Unpacked) -> Iterator[Served]:
    city = attacked(("health", "code", Use("object-storage", "files")), platform=DATA)
    with object_store(city, unpacked("object-storage")) as served:
        wait_until(lambda: served.probe().returncode == 0)
        yield served


@pytest.fixture(params=["database", "cache", "store"])
def served(request: pytest.FixtureRequest) -> Served:
    found: Served = request.getfixturevalue(request.param)
    return found


def sql(served: Served, text: str) -> list[str]:
    """What a statement of the administrator prints, by line."""
    words = (f"{BINARIES}/psql", "--no-psqlrc", "--tuples-only", "--no-align", "-h", "127.0.0.1", "-U", "postgres")
    done = served.image.run(*words, "-c", text, PGPORT=str(served.port), PGPASSWORD=ADMIN)
    assert done.returncode == 0, done.stderr
    return str(done.stdout).split()


def failed(served: Served, seconds: int = 4, **values: str) -> str:
    """What a probe says that must fail within the bound of its one attempt, `seconds`."""
    began = time.monotonic()
    done = served.probe(seconds, **values)
    assert done.returncode != 0, done.stdout
    assert time.monotonic() - began < seconds + 16
    return str(done.stdout + done.stderr)


@contextmanager
def mode(place: Path, bits: int) -> Iterator[None]:
    before = place.stat().st_mode
    place.chmod(bits)
    try:
        yield
    finally:
        place.chmod(before)


def test_many_at_once_pass_and_say_what_they_did(served: Served) -> None:
    with ThreadPoolExecutor(4) as pool:
        for done in pool.map(lambda _: served.probe(), range(4)):
            assert done.returncode == 0, done.stdout + done.stderr
            assert done.stdout.count("\n") == 1
            assert "written" in done.stdout or "committed" in done.stdout
            assert done.stderr == ""


def test_a_wrong_password_fails(served: Served) -> None:
    said = failed(served, ADMIN_PASSWORD="wrong")
    assert any(word in said for word in ("password authentication failed", "WRONGPASS", "SignatureDoesNotMatch")), said


def test_a_server_with_a_certificate_of_others_fails(database: Served, store: Served) -> None:
    with database.certified_by_others(), store.certified_by_others():
        assert "certificate verify failed" in failed(database)
        assert "certificate" in failed(store, 20)


def test_a_server_that_is_not_there_fails(served: Served) -> None:
    assert failed(served, PORT="1")


def test_a_server_that_does_not_answer_any_more_fails(served: Served) -> None:
    group = served.groups[served.name]
    os.killpg(group, signal.SIGSTOP)
    try:
        assert failed(served)
    finally:
        os.killpg(group, signal.SIGCONT)
    assert served.probe().returncode == 0


def test_a_volume_that_takes_nothing_fails(database: Served, cache: Served, store: Served) -> None:
    assert database.data is not None
    assert store.data is not None
    [number] = sql(database, "SELECT oid FROM pg_database WHERE datname = 'postgres'")
    with mode(next(database.data.glob(f"pgdata/base/{number}")), 0o500):
        assert "Permission denied" in failed(database)
    with mode(Path(f"/proc/{cache.groups['cache']}/root/data"), 0o555):
        assert "save the ACLs" in failed(cache)
    with mode(store.data / "buckets", 0o500):
        # Its client tries three times more.
        assert "is answered by 5" in failed(store, 20)
    assert [item.probe().returncode for item in (database, cache, store)] == [0, 0, 0]


def test_a_database_keeps_no_table_but_those_of_probes_that_may_still_run(database: Served) -> None:
    now = int(time.time())
    old, new = f"wecity_probe_{now - 700}_0123abcd", f"wecity_probe_{now}_0123abcd"
    sql(database, f"CREATE TABLE public.{old} (value text)")
    sql(database, f"CREATE TABLE public.{new} (value text)")
    assert database.probe().returncode == 0
    assert sql(database, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'") == [new]
    sql(database, f"DROP TABLE public.{new}")


def test_a_cache_keeps_no_key(cache: Served) -> None:
    words = ("valkey-cli", "--no-auth-warning", "--tls", "--cacert", "/etc/tls/ca.crt", "-h", "127.0.0.1")
    who = ("-p", str(cache.port), "--user", "admin", "DBSIZE")
    assert cache.image.run(*words, *who, REDISCLI_AUTH=ADMIN).stdout.strip() == "0"


def test_a_store_keeps_no_bucket_but_those_of_probes_that_may_still_run(store: Served) -> None:
    assert store.data is not None
    now = int(time.time())
    names = [f"wecity-probe-{now - 700}-0123abcd", f"wecity-probe-{now}-0123abcd"]
    make = _script(store, "call PUT $server/$BUCKET 200 < /dev/null; echo 1 | call PUT $server/$BUCKET/object 200")
    for name in names:
        make(BUCKET=name)
    assert store.probe().returncode == 0
    assert [path.name for path in (store.data / "buckets").glob("wecity-probe-*")] == names[1:]


def _script(store: Served, body: str) -> Callable[..., Any]:
    """Run requests of the administrator with the functions that provisioning uses."""
    from stacks.platforms.data.object_storage.access import FUNCTIONS

    text = f"set -eu; cd /tmp; CURL='--cacert /etc/tls/ca.crt'\n{FUNCTIONS}\n{body}"
    where = f"server=https://127.0.0.1:{store.port}\n"
    return lambda **values: store.image.run(
        "/bin/sh", "-c", where + text, ADMIN_PASSWORD=ADMIN, **values
    ).check_returncode()
