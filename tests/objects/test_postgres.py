"""Objects in PostgreSQL: what a database adds – roles, settings, sockets, rows of others, a server that restarts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.postgres_server import PostgresServer
from wecityctl.errors import AuthenticationError, DeploymentError
from wecityctl.objects import Objects, open_objects

TABLE = "adds"


@pytest.fixture
def objects(postgres: PostgresServer) -> Iterator[Objects]:
    opened = open_objects(postgres.url(TABLE))
    yield opened
    opened.close()
    postgres.sql(f"DROP TABLE {TABLE}")


def test_rows_are_those_of_pulumi(postgres: PostgresServer, objects: Objects) -> None:
    objects.put("a/b", b"data")
    objects.create("c", b"data")
    assert postgres.sql(f"SELECT key, data->>'data' FROM {TABLE} ORDER BY key") == (
        "postgres/a/b|ZGF0YQ==\npostgres/c|ZGF0YQ=="
    )
    columns = "SELECT column_name, data_type FROM information_schema.columns"
    assert postgres.sql(f"{columns} WHERE table_name = '{TABLE}' ORDER BY 1") == (
        "data|json\nkey|text\nupdated_at|timestamp with time zone"
    )
    postgres.sql(f"INSERT INTO {TABLE} VALUES ('postgres/bad', '{{\"data\": \"no base64!\"}}'), ('other/x', '{{}}')")
    assert [entry.key for entry in objects.list()] == ["a/b", "bad", "c"], "other/x is another database's"
    with pytest.raises(DeploymentError, match="does not hold what Pulumi writes"):
        objects.get("bad")


def test_looking_makes_no_table_and_the_first_object_does(postgres: PostgresServer) -> None:
    found, other = (open_objects(postgres.url("anew")) for _ in range(2))
    assert (found.get("a"), found.list()) == (None, [])
    found.delete("a")
    assert postgres.sql("SELECT to_regclass('anew')") == ""
    assert found.create("a", b"1")
    assert (other.get("a"), [entry.key for entry in other.list()]) == (b"1", ["a"])
    for each in (found, other):
        each.close()


def test_a_socket_of_this_machine(postgres: PostgresServer, objects: Objects) -> None:
    objects.put("a", b"1")
    where = f"host={postgres.socket}&port={postgres.port}&table={TABLE}"
    local = open_objects(f"postgresql://{postgres.user}:{postgres.password}@/postgres?{where}")
    assert local.get("a") == b"1"
    local.close()


def test_variables_stand_in_for_what_the_url_leaves_out(
    postgres: PostgresServer, objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects.put("a", b"1")
    for name, value in {
        "HOST": "127.0.0.1",
        "PORT": postgres.port,
        "USER": postgres.user,
        "SSLMODE": "disable",
    }.items():
        monkeypatch.setenv(f"PG{name}", str(value))
    monkeypatch.setenv("PGPASSWORD", postgres.password)
    found = open_objects(f"postgres:///postgres?table={TABLE}")
    assert found.get("a") == b"1"
    found.close()


def test_a_role_that_may_only_use_the_table(postgres: PostgresServer, objects: Objects) -> None:
    objects.put("a", b"1")
    postgres.sql(
        f"CREATE ROLE worker LOGIN PASSWORD 'w'; GRANT SELECT, INSERT, UPDATE, DELETE ON {TABLE} TO worker;"
        "CREATE ROLE reader LOGIN PASSWORD 'r'"
    )
    where = f"127.0.0.1:{postgres.port}/postgres?sslmode=disable&table={TABLE}"
    worker = open_objects(f"postgres://worker:w@{where}")
    worker.put("b", b"2")
    assert not worker.create("a", b"2")
    worker.close()
    reader = open_objects(f"postgres://reader:r@{where}")
    with pytest.raises(AuthenticationError, match="the credentials were refused"):
        reader.get("a")
    reader.close()


def test_a_write_is_durable_where_the_server_says_otherwise(postgres: PostgresServer) -> None:
    """A server may answer before it has written; sessions of ours ask it not to."""
    postgres.sql("CREATE ROLE hasty LOGIN SUPERUSER PASSWORD 'h'; ALTER ROLE hasty SET synchronous_commit = off")
    function = "RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'it is %', "
    postgres.sql(
        "CREATE TABLE durable (key text PRIMARY KEY, data json NOT NULL, updated_at timestamptz DEFAULT now());"
        f"CREATE FUNCTION tell() {function} current_setting('synchronous_commit'); END$$;"
        "CREATE TRIGGER tell BEFORE INSERT ON durable FOR EACH ROW EXECUTE FUNCTION tell()"
    )
    url = f"postgres://hasty:h@127.0.0.1:{postgres.port}/postgres?sslmode=disable&table=durable"
    objects = open_objects(url)
    with pytest.raises(DeploymentError) as refused:
        objects.put("a", b"")
    assert "it is on" in refused.value.details
    objects.close()


def test_connections_that_the_server_ended_are_made_anew(postgres: PostgresServer, objects: Objects) -> None:
    objects.put("a", b"1")
    ended = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'wecityctl'"
    assert postgres.sql(ended) != "0"
    assert objects.get("a") == b"1"
    assert postgres.sql(ended) != "0"
    assert objects.create("b", b"1")


def test_an_unencrypted_server_is_refused_unless_the_url_allows_it(postgres: PostgresServer) -> None:
    with pytest.raises(DeploymentError) as refused:
        open_objects(postgres.url().replace("sslmode=disable&", ""))
    assert "SSL" in refused.value.details and postgres.password not in str(vars(refused.value))
