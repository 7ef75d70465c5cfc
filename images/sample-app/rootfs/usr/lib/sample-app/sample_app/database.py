"""The app's PostgreSQL database: one table with one row, written once and read at each visit."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import pg8000.native

from sample_app.bindings import Binding

TYPES = ("postgresql", "postgres")
TIMEOUT_SECONDS = 5
IDLE_CONNECTIONS = 4
# Any number, as long as all replicas use the same: they take turns to make the table.
TABLE_LOCK = 1_907_004


@dataclass(frozen=True, slots=True)
class Row:
    """What was written first, and by whom."""

    note: str
    created: str
    server: str
    database: str
    role: str


class Database:
    """A few connections, opened when needed and kept while they work."""

    def __init__(self, binding: Binding) -> None:
        self._binding = binding
        self._idle: queue.LifoQueue[pg8000.native.Connection] = queue.LifoQueue(IDLE_CONNECTIONS)
        self._ready = False

    def ping(self) -> None:
        """Raise when the database does not answer."""
        with self._connection() as connection:
            connection.run("SELECT 1")

    def row(self, note: str) -> Row:
        """The row, made with `note` where it is missing."""
        with self._connection() as connection:
            if not self._ready:
                self._make_table(connection)
                self._ready = True
            found = self._select(connection)
            if not found:
                connection.run("INSERT INTO sample_app (id, note) VALUES (1, :note) ON CONFLICT DO NOTHING", note=note)
                found = self._select(connection)
            values = [str(value) for value in found[0]]
            return Row(*values)

    @staticmethod
    def _select(connection: pg8000.native.Connection) -> list[list[Any]]:
        rows: list[list[Any]] = connection.run(
            "SELECT note, to_char(created AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'),"
            " current_setting('server_version'), current_database(), current_user FROM sample_app WHERE id = 1"
        )
        return rows

    @staticmethod
    def _make_table(connection: pg8000.native.Connection) -> None:
        connection.run("BEGIN")
        connection.run("SELECT pg_advisory_xact_lock(:key)", key=TABLE_LOCK)
        connection.run(
            "CREATE TABLE IF NOT EXISTS sample_app"
            " (id integer PRIMARY KEY, note text NOT NULL, created timestamptz NOT NULL DEFAULT now())"
        )
        connection.run("COMMIT")

    @contextmanager
    def _connection(self) -> Iterator[pg8000.native.Connection]:
        connection = self._take()
        try:
            yield connection
        except BaseException:
            # Whatever went wrong, a connection in doubt is not used again.
            with suppress(Exception):
                connection.close()
            self._ready = False
            raise
        try:
            self._idle.put_nowait(connection)
        except queue.Full:
            connection.close()

    def _take(self) -> pg8000.native.Connection:
        while True:
            try:
                connection = self._idle.get_nowait()
            except queue.Empty:
                return connect(self._binding)
            try:
                connection.run("SELECT 1")
            except Exception:  # an idle connection that the server has closed
                with suppress(Exception):
                    connection.close()
                continue
            return connection


def connect(binding: Binding, timeout: float = TIMEOUT_SECONDS) -> pg8000.native.Connection:
    """A connection by the binding's entries; raises what the driver raises. With an authority it checks the server,
    without one it speaks plainly."""
    return pg8000.native.Connection(
        user=binding.get("username"),
        password=binding.get("password"),
        host=binding.get("host"),
        port=int(binding.get("port", default="5432")),
        database=binding.get("database") or None,
        timeout=timeout,
        application_name="sample-app",
        ssl_context=binding.tls or False,
    )
