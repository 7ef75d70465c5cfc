"""An app that takes all it can of a shared PostgreSQL server, and its neighbour in the same one."""

from __future__ import annotations

import contextlib
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stacks.passwords import scram_verifier
from stacks.platforms.application.postgresql.access import LOCK
from tests.attack.conftest import Unpacked
from tests.attack.served import ADMIN, PASSWORD, Attacked, Served, attacked, database_server, wait_until
from tests.images.rootfs import needs_root
from wecityctl.model.city import Use

pytestmark = [pytest.mark.build, pytest.mark.by_digest, needs_root, pytest.mark.timeout(400)]

EVE, BOB = "health_code_db", "transport_bus_db"

Connect = Callable[..., Any]


def limited(**eve: Any) -> Attacked:
    """Eve's app states limits; her neighbour's takes what there is."""
    return attacked(("health", "code", Use("postgresql", "db", **eve)), ("transport", "bus", Use("postgresql", "db")))


@pytest.fixture(scope="module")
def served(unpacked: Unpacked) -> Iterator[Served]:
    city = limited(connections=8, storage="48Mi", statement_seconds=2)
    with database_server(city, unpacked("postgresql")) as found:
        yield found


@pytest.fixture(scope="module")
def connect(served: Served, drivers: Path) -> Connect:
    """A connection as a role; the first waits for the server, makes a role as earlier versions did, and provisions."""
    native = pytest.importorskip("pg8000.native")

    def client(role: str, password: str = PASSWORD, database: str = "", timeout: float = 60) -> Any:
        where = {"host": "127.0.0.1", "port": served.port, "database": database or role, "timeout": timeout}
        return native.Connection(role, password=password, **where)

    wait_until(lambda: _opens(lambda: client("postgres", ADMIN)), 90)
    admin = client("postgres", ADMIN)
    admin.run(f"CREATE ROLE {EVE} LOGIN PASSWORD '{PASSWORD}'")
    admin.run(f"CREATE DATABASE {EVE} OWNER {EVE}")
    older = client(EVE)
    older.run("CREATE TABLE kept (note text)")
    older.run("INSERT INTO kept VALUES ('from before')")
    older.close()
    admin.close()
    served.provision()
    # A second run finds everything as it is.
    served.provision()
    return client


def _opens(make: Callable[[], Any]) -> bool:
    try:
        make().close()
    except Exception:
        return False
    return True


def from_elsewhere(served: Served, authority: str = "") -> Any:
    """Eve's connection from an address that is not the server's own, checked with `authority`, else in plain text."""
    native = pytest.importorskip("pg8000.native")
    where = {"host": "127.0.0.1", "port": served.port, "database": EVE, "source_address": ("127.0.0.2", 0)}
    context = ssl.create_default_context(cadata=authority) if authority else False
    return native.Connection(EVE, password=PASSWORD, timeout=20, ssl_context=context, **where)


def hold(connect: Connect, role: str, wanted: int) -> list[Any]:
    """As many connections as the server gives, `wanted` at most."""
    held: list[Any] = []
    for _ in range(wanted):
        with contextlib.suppress(Exception):
            held.append(connect(role))
    return held


def test_what_was_there_before_limits_is_untouched(connect: Connect) -> None:
    assert connect(EVE).run("SELECT note FROM kept") == [["from before"]]


def test_what_an_app_has_left_is_not_handed_to_another(connect: Connect, served: Served) -> None:
    """Another tenant's app, at a later time, whose names come to the same database."""
    other = attacked(("transport", "bus", Use("postgresql", "db")))
    said = served.provision(replace(other, roles=dict.fromkeys(other.roles, EVE)), code=3)
    assert f"database {EVE} holds what health/code/db has left" in said
    with contextlib.closing(connect("postgres", ADMIN)) as admin:
        assert admin.run("SELECT owner FROM wecity.limits WHERE role = :role", role=EVE) == [["health/code/db"]]
        assert admin.run("SELECT rolconnlimit FROM pg_roles WHERE rolname = :role", role=EVE) == [[8]]


def test_who_comes_from_elsewhere_speaks_tls_or_is_refused(connect: Connect, served: Served) -> None:
    with pytest.raises(Exception, match="no encryption"):
        from_elsewhere(served)
    with contextlib.closing(from_elsewhere(served, served.authority)) as eve:
        query = "SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
        assert eve.run(query) == [[True, "TLSv1.3"]]
    with contextlib.closing(connect("postgres", ADMIN)) as admin:
        assert admin.run("SHOW ssl_min_protocol_version") == [["TLSv1.2"]]


def test_a_renewed_certificate_is_served_without_a_restart(connect: Connect, served: Served) -> None:
    held, admin = from_elsewhere(served, served.authority), connect("postgres", ADMIN)
    started, before = admin.run("SELECT pg_postmaster_start_time()"), served.certificate()
    served.certify()
    wait_until(lambda: served.certificate() != before)
    with contextlib.closing(held), contextlib.closing(from_elsewhere(served, served.authority)) as eve:
        assert held.run("SELECT 1") == eve.run("SELECT 1") == [[1]]
    assert admin.run("SELECT pg_postmaster_start_time()") == started
    wait_until(lambda: served.logged("takes over its renewed certificate"))
    admin.close()


def test_a_server_of_another_authority_is_refused(connect: Connect, served: Served) -> None:
    with served.certified_by_others():
        with pytest.raises(Exception, match="certificate verify failed"):
            from_elsewhere(served, served.authority)
        assert "certificate verify failed" in served.provision(code=1)


@pytest.mark.proves("postgresql", "limited")
def test_a_role_gets_its_connections_and_leaves_the_others_theirs(connect: Connect, served: Served) -> None:
    held = hold(connect, EVE, 93)
    try:
        assert len(held) <= 8
        with pytest.raises(Exception, match="too many connections"):
            connect(EVE)
        # What a database's owner may change of it lets nobody in.
        held[0].run(f"ALTER DATABASE {EVE} CONNECTION LIMIT 90")
        with pytest.raises(Exception, match="too many connections"):
            connect(EVE)
        with pytest.raises(Exception, match=r"permission denied|must be"):
            held[0].run(f"ALTER ROLE {EVE} CONNECTION LIMIT 90")
        neighbours = hold(connect, BOB, 93)
        assert len(neighbours) == 20
        assert connect("postgres", ADMIN).run("SHOW superuser_reserved_connections") == [["5"]]
        served.provision()
        for each in neighbours:
            each.close()
    finally:
        for each in held:
            with contextlib.suppress(Exception):
                each.close()


def test_no_password_or_data_of_an_app_is_in_the_servers_log(connect: Connect, served: Served) -> None:
    with contextlib.closing(connect(EVE)) as eve:
        # Provisioning waits for this in vain, and what it sent would be logged.
        eve.run("BEGIN")
        eve.run(f"ALTER ROLE {EVE} PASSWORD '{PASSWORD}'")
        assert "lock timeout" in served.provision(code=3, password="the-next-password", only=EVE)
        eve.run("ROLLBACK")
        for statement in ("ALTER ROLE nobody PASSWORD 'of-a-statement'", "DO $$ BEGIN RAISE 'an error' USING DETAIL = "
                          "'of-a-detail'; END $$", "SELECT 'of-a-statement'::integer / 0"):  # fmt: skip
            with pytest.raises(Exception, match=r"exist|denied|error|invalid"):
                eve.run(statement)
    wait_until(lambda: served.logged("canceling statement due to lock timeout"))
    wait_until(lambda: served.logged("an error"))
    for word in ("the-next-password", "SCRAM-SHA-256$", "STATEMENT", "of-a-detail"):
        assert not served.logged(word), word
    served.provision()
    with contextlib.closing(connect("postgres", ADMIN)) as admin:
        (stored,) = admin.run("SELECT rolpassword FROM pg_authid WHERE rolname = :role", role=EVE)
        assert stored == [scram_verifier(EVE, PASSWORD)]


def test_a_role_may_not_write_more_temporary_files(connect: Connect) -> None:
    eve = connect(EVE)
    assert eve.run("SHOW temp_file_limit") == [["512MB"]]
    with pytest.raises(Exception, match="permission denied to set parameter"):
        eve.run("SET temp_file_limit = -1")


def test_a_statement_ends_though_its_session_lifted_the_timeout(connect: Connect) -> None:
    eve = connect(EVE)
    with pytest.raises(Exception, match="statement timeout"):
        eve.run("SELECT pg_sleep(30)")
    eve.run("SET statement_timeout = 0")
    started = time.monotonic()
    with pytest.raises(Exception, match=r"terminating connection|network error|closed"):
        eve.run("SELECT pg_sleep(60)")
    assert time.monotonic() - started < 40


def test_a_transaction_ends_however_often_it_says_something(connect: Connect) -> None:
    eve = connect(EVE)
    eve.run("BEGIN")
    eve.run("DELETE FROM kept WHERE false")

    def ended() -> bool:
        try:
            eve.run("SELECT 1")
        except Exception:
            return True
        return False

    wait_until(ended, 60)


def test_a_query_that_asks_for_all_memory_fails_alone(connect: Connect) -> None:
    bob = connect(BOB)
    eve = connect(EVE)
    eve.run("SET statement_timeout = 0")
    with pytest.raises(Exception, match="out of memory"):
        eve.run("SELECT length(repeat('x', 900000000))")
    assert eve.run("SELECT length(repeat('x', 40000000))") == [[40000000]]
    assert bob.run("SELECT 1") == [[1]]
    bob.close()
    eve.close()


@pytest.mark.proves("postgresql", "limited")
def test_a_full_database_is_read_only_then_closed_and_opens_with_a_higher_limit(
    connect: Connect, served: Served
) -> None:
    bob, admin = connect(BOB), connect("postgres", ADMIN)
    bob.run("CREATE TABLE mine (n integer)")
    connect(EVE).run("CREATE TABLE filler (data text)")

    def state() -> str:
        found = admin.run("SELECT state FROM wecity.limits WHERE role = :role", role=EVE)
        return str(found[0][0])

    def write(*before: str, rows: int = 60000) -> str:
        """Some megabytes; the answer is why it did not work."""
        try:
            eve = connect(EVE)
            with contextlib.closing(eve):
                for statement in (*before, f"INSERT INTO filler SELECT md5(i::text) FROM generate_series(1, {rows}) i"):
                    eve.run(statement)
        except Exception as error:
            return str(error)
        return ""

    # Whoever changes a role waits for a transaction that has changed it: the guard does not wait for the app's.
    holder = connect(EVE)
    holder.run("BEGIN")
    holder.run(f"ALTER ROLE {EVE} PASSWORD '{PASSWORD}'")
    # An app that writes is told why it may not any more; so little at once that it is not beyond that by the next look.
    wait_until(lambda: "read-only transaction" in write(rows=8000), 180)
    assert state() == "read-only"
    # It can still make room, when it says that it means to.
    insist = "SET default_transaction_read_only = off"
    with contextlib.closing(connect(EVE)) as eve:
        assert eve.run("SELECT note FROM kept") == [["from before"]]
        eve.run(insist)
        eve.run("TRUNCATE filler")
    wait_until(lambda: state() == "open", 60)
    # Who insists on writing on is shut out, and only he.
    wait_until(lambda: "too many connections" in write(insist), 120)
    assert state() == "closed"
    whole = admin.run("SELECT pg_database_size(:role)", role=EVE)[0][0]
    assert 48 * 1024**2 < whole < 150 * 1024**2
    assert bob.run("INSERT INTO mine VALUES (1) RETURNING n") == [[1]]
    # A higher limit in the files opens it at the next `up`, with all that is in it.
    served.provision(limited(connections=8, storage="1Gi", statement_seconds=2))
    with contextlib.closing(connect(EVE)) as eve:
        assert eve.run("SELECT note FROM kept") == [["from before"]]
    assert state() == "open"


def test_notifications_that_a_listener_holds_do_not_fill_the_volume(connect: Connect, served: Served) -> None:
    assert served.data is not None
    queue = served.data / "pgdata/pg_notify"

    def size() -> int:
        return sum(path.stat().st_size for path in queue.iterdir())

    listener, bob = connect(EVE), connect(BOB)
    listener.run("LISTEN all_day")
    listener.run("BEGIN")
    listener.run("SELECT 1")
    deadline, largest = time.monotonic() + 60, 0
    send = "SELECT pg_notify('all_day', repeat('x', 7900) || i) FROM generate_series(1, 2000) i"
    while not served.logged("sessions that filled the queue of notifications"):
        assert time.monotonic() < deadline
        with contextlib.suppress(Exception), contextlib.closing(connect(EVE)) as eve:
            for _ in range(20):
                eve.run(send)
                largest = max(largest, size())
    assert largest > 100 * 1024**2
    wait_until(lambda: size() < 20 * 1024**2)
    with pytest.raises(Exception, match=r"terminat|network|reset|closed"):
        listener.run("SELECT 1")
    assert bob.run("SELECT 1") == [[1]]
    bob.close()


def test_the_guard_waits_for_a_job_without_a_lock_on_the_limits(connect: Connect) -> None:
    """A Job changes the table while it has the advisory lock: they would wait for each other."""
    with contextlib.closing(connect("postgres", ADMIN)) as admin:
        admin.run(f"SELECT pg_advisory_lock({LOCK})")
        waiting = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        wait_until(lambda: admin.run(waiting) != [])
        admin.run("SET lock_timeout = '900ms'")
        admin.run("ALTER TABLE wecity.limits ADD COLUMN IF NOT EXISTS owner text")


def test_what_an_owner_changed_of_its_database_is_as_it_was_after_provisioning(
    connect: Connect, served: Served
) -> None:
    with contextlib.closing(connect(EVE)) as eve:
        eve.run(f"ALTER DATABASE {EVE} SET default_transaction_read_only = on")
        eve.run(f"ALTER ROLE {EVE} IN DATABASE {EVE} SET default_transaction_read_only = on")
        eve.run(f"ALTER DATABASE {EVE} SET statement_timeout = '1ms'")
        eve.run(f"ALTER DATABASE {EVE} SET search_path = kept")
        eve.run(f"ALTER DATABASE {EVE} CONNECTION LIMIT 0")
    with contextlib.closing(connect("postgres", ADMIN)) as admin:
        admin.run(f"ALTER DATABASE {EVE} OWNER TO {BOB}")
        admin.run(f"ALTER DATABASE {EVE} ALLOW_CONNECTIONS false")
    with pytest.raises(Exception, match=r"too many connections|not currently accepting"):
        connect(EVE)
    served.provision(limited(connections=8, storage="1Gi", statement_seconds=2))
    with contextlib.closing(connect(EVE)) as eve:
        assert eve.run("SHOW default_transaction_read_only") == [["off"]]
        # What is a matter of taste stays.
        assert eve.run("SHOW search_path") == [["kept"]]
        eve.run(f"ALTER DATABASE {EVE} RESET search_path")


def test_the_limits_are_no_apps_to_read_or_change(connect: Connect) -> None:
    with pytest.raises(Exception, match="permission denied for database"):
        connect(EVE, database="postgres")
