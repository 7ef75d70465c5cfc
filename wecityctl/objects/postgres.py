"""Objects as rows of a PostgreSQL table, that of Pulumi's `postgres://` back end, accessed with asyncpg.

The library is asynchronous, so every step can have a time limit; it runs on an event loop in a thread of its own.
Pulumi's table is defined in github.com/pulumi/pulumi/pkg/v3/backend/diy/postgres: key, JSON with the data in base64,
and time. As in all back ends of Pulumi except files, every key starts with the URL's path (here the database).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import hashlib
import logging
import os
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError as FutureCancelledError
from datetime import UTC
from typing import Any, Final, TypeVar

from wecityctl.errors import AuthenticationError, ConfigurationError, DeploymentError, WecityError
from wecityctl.objects.idempotent_writes import (
    LostAnswerError,
    create_once,
    new_token,
    repeat,
    replace_once,
    require_own,
)
from wecityctl.objects.model import Entries, Entry, Limits, check_key, check_prefix, shown
from wecityctl.objects.postgres_settings import PostgresSettings

T = TypeVar("T")

# Pulumi accepts the first; the second is an alias of libpq.
SCHEMES: Final = ("postgres", "postgresql")
CONNECTIONS: Final = 4
# Classes of SQLSTATE after which a retry may succeed: connection, rollback, resources, operator, system, internal.
_PASSING: Final = ("08", "40", "53", "57", "58", "XX")
_REFUSED: Final = ("28", "42501")
_NO_DATABASE: Final = "3D000"
_WRITER: Final = "wecity_writer"
_SIZE: Final = "octet_length(rtrim(data->>'data', '=')) * 3 / 4"
_DURABLE: Final = (
    "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
)


def open_url(url: str, limits: Limits) -> Postgres:
    """Open the table of a `postgres://` URL. A missing table is created with the first object, as Pulumi does.

    Raises `ConfigurationError` for an unusable URL and a missing database, `AuthenticationError` for rejected
    credentials, and `DeploymentError` if the server does not answer.
    """
    found = Postgres(PostgresSettings.read(url, os.environ), limits)
    try:
        found.look(f"open {found.url}")
    except BaseException:
        found.close()
        raise
    return found


class Postgres:
    """The objects in one table."""

    def __init__(self, settings: PostgresSettings, limits: Limits) -> None:
        self._settings, self._limits = settings, limits
        self._table, self._secrets = settings.table, settings.secrets
        self.url = settings.url
        self._process = os.getpid()
        self._pool: Any = None
        self._has_table = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="postgres", daemon=True)
        self._thread.start()

    def look(self, what: str) -> bool:
        """Connect, and return whether the table exists. Changes nothing. `what` is for errors, such
        as `read a in …`.
        """
        statement = "SELECT to_regclass($1)::text"
        if not self._has_table:
            found = repeat(self._limits, lambda: self._run(lambda c: c.fetchval(statement, self._table), what), what)
            self._has_table = found is not None
        return self._has_table

    def _make_table(self, what: str) -> None:
        """Create the table if it does not exist."""
        # Checked first, because a user of the table may not be allowed to create one.
        if self.look(what):
            return
        statement = (
            f"CREATE TABLE IF NOT EXISTS {self._table} (key TEXT PRIMARY KEY, data JSON NOT NULL,"
            " updated_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now());"
            f"CREATE INDEX IF NOT EXISTS {self._table}_key_prefix_idx ON {self._table} (key text_pattern_ops)"
        )
        repeat(self._limits, lambda: self._run(lambda c: c.execute(statement), what), what)
        self._has_table = True

    def get(self, key: str) -> bytes | None:
        """See `Objects.get`. Raises `DeploymentError` for a row that is not in Pulumi's format."""
        what, row_key = self._begin("read", key), self._settings.prefix + key
        if not self.look(what):
            return None
        statement = f"SELECT data->>'data' AS data FROM {self._table} WHERE key = $1"  # noqa: S608 - a checked name
        row = repeat(self._limits, lambda: self._run(lambda c: c.fetchrow(statement, row_key), what), what)
        if row is None:
            return None
        try:
            return base64.b64decode(row["data"] or "", validate=True)
        except binascii.Error as error:
            raise DeploymentError(
                f"cannot {what}: the row does not hold what Pulumi writes",
                details=shown(error),
                resolution=f"look at the row with this key in the table {self._table}",
            ) from error

    def exists(self, key: str) -> bool:
        """See `Objects.exists`."""
        what, row_key = self._begin("read", key), self._settings.prefix + key
        if not self.look(what):
            return False
        statement = f"SELECT 1 FROM {self._table} WHERE key = $1"  # noqa: S608
        found = repeat(self._limits, lambda: self._run(lambda c: c.fetchval(statement, row_key), what), what)
        return found is not None

    def put(self, key: str, data: bytes) -> None:
        """See `Objects.put`."""
        what, row_key = self._begin("write", key), self._settings.prefix + key
        self._make_table(what)
        statement = (
            f"INSERT INTO {self._table} (key, data) VALUES ($1, $2)"  # noqa: S608
            " ON CONFLICT (key) DO UPDATE SET data = $2, updated_at = now()"
        )
        text = _document(data)
        repeat(self._limits, lambda: self._run(lambda c: c.execute(statement, row_key, text), what), what)

    def create(self, key: str, data: bytes) -> bool:
        """See `Objects.create`. The row's JSON also has the token of the call; Pulumi reads only the data."""
        what, row_key, token = self._begin("create", key), self._settings.prefix + key, new_token()
        self._make_table(what)
        insert = f"INSERT INTO {self._table} (key, data) VALUES ($1, $2) ON CONFLICT (key) DO NOTHING"  # noqa: S608
        select = f"SELECT coalesce(data->>'{_WRITER}', '') AS token FROM {self._table} WHERE key = $1"  # noqa: S608
        text = _document(data, token)

        def write() -> bool:
            return bool(self._run(lambda c: c.execute(insert, row_key, text), what) == "INSERT 0 1")

        def stored_token() -> str | None:
            row = self._run(lambda c: c.fetchrow(select, row_key), what)
            return None if row is None else str(row["token"])

        return create_once(self._limits, write, stored_token, token, what)

    def replace(self, key: str, data: bytes, before: bytes) -> bool:
        """See `Objects.replace`. The server compares digests, so `before` is not sent."""
        what, row_key, token = self._begin("replace", key), self._settings.prefix + key, new_token()
        if not self.look(what):
            return False
        update = (
            f"UPDATE {self._table} SET data = $2, updated_at = now()"  # noqa: S608
            " WHERE key = $1 AND sha256(convert_to(data->>'data', 'UTF8')) = $3"
        )
        select = f"SELECT data->>'{_WRITER}' FROM {self._table} WHERE key = $1"  # noqa: S608
        text, digest = _document(data, token), hashlib.sha256(base64.b64encode(before)).digest()

        def write() -> bool:
            return bool(self._run(lambda c: c.execute(update, row_key, text, digest), what) == "UPDATE 1")

        def is_own() -> bool:
            return bool(self._run(lambda c: c.fetchval(select, row_key), what) == token)

        return replace_once(self._limits, write, is_own, what)

    def replaces_safely(self) -> bool:
        """See `Objects.replaces_safely`."""
        return True

    def delete(self, key: str) -> None:
        """See `Objects.delete`."""
        what, row_key = self._begin("delete", key), self._settings.prefix + key
        if not self.look(what):
            return
        statement = f"DELETE FROM {self._table} WHERE key = $1"  # noqa: S608
        repeat(self._limits, lambda: self._run(lambda c: c.execute(statement, row_key), what), what)

    def list(self, prefix: str = "") -> Entries:
        """See `Objects.list`."""
        start = check_prefix(prefix)
        what = self._begin("list", start)
        if not self.look(what):
            return []
        statement = f"SELECT key, {_SIZE} AS size, updated_at FROM {self._table} WHERE starts_with(key, $1)"  # noqa: S608
        below = self._settings.prefix + (f"{start}/" if start else "")
        rows = repeat(self._limits, lambda: self._run(lambda c: c.fetch(statement, below), what), what)
        found = [
            Entry(row["key"].removeprefix(self._settings.prefix), row["size"] or 0, row["updated_at"].astimezone(UTC))
            for row in rows
        ]
        return sorted(found, key=lambda entry: entry.key)

    def close(self) -> None:
        """Close the connections and end the thread."""
        if self._process != os.getpid() or self._loop.is_closed():
            return

        async def end() -> None:
            if self._pool is not None:
                self._pool.terminate()
            rest = asyncio.all_tasks() - {asyncio.current_task()}
            for task in rest:
                task.cancel()
            await asyncio.gather(*rest, return_exceptions=True)

        with contextlib.suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(end(), self._loop).result(self._limits.seconds)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(self._limits.seconds)
        if not self._thread.is_alive():
            self._loop.close()

    def _begin(self, verb: str, key: str) -> str:
        """Return the operation as text for errors. Raises `WecityError` for an invalid key, in a forked process, and if
        closed.
        """
        require_own(self._process, self.url)
        if self._loop.is_closed():
            raise WecityError(f"{self.url} is closed already")
        if key or verb != "list":
            check_key(key)
        return f"{verb} {key} in {self.url}" if key else f"{verb} {self.url}"

    def _run(self, act: Callable[[Any], Awaitable[T]], what: str) -> T:
        """Make one attempt of `act` on a connection, with a time limit. Raises `LostAnswerError` and the project's
        errors.
        """
        import asyncpg

        future = asyncio.run_coroutine_threadsafe(self._attempt(act), self._loop)
        try:
            return future.result(self._limits.seconds + 5.0)
        except (TimeoutError, FutureCancelledError):
            raise LostAnswerError(f"no answer within {self._limits.seconds:g} s") from None
        except asyncpg.PostgresError as error:
            raise self._mapped(error, what) from None
        except (OSError, asyncpg.InternalClientError) as error:
            raise LostAnswerError(shown(error, self._secrets)) from None
        except (asyncpg.ClientConfigurationError, ValueError) as error:
            # The error's text may contain the URL.
            raise ConfigurationError(
                f"{self.url} cannot be used",
                details=type(error).__name__,
                resolution="check the URL, the PG variables and the files that they name",
            ) from None
        except asyncpg.InterfaceError as error:
            raise LostAnswerError(shown(error, self._secrets)) from None
        finally:
            future.cancel()

    async def _attempt(self, act: Callable[[Any], Awaitable[T]]) -> T:
        """Run `act` on a connection of the pool; a connection that failed is not reused."""
        async with asyncio.timeout(self._limits.seconds):
            if self._pool is None:
                self._pool = await self._connected()
            connection = await self._pool.acquire()
            try:
                return await act(connection)
            except BaseException:
                connection.terminate()
                raise
            finally:
                await self._pool.release(connection)

    async def _connected(self) -> Any:
        """Return the connection pool with one open connection."""
        import asyncpg

        async def begin(connection: Any) -> None:
            await connection.execute(_DURABLE)

        async def keep(connection: Any) -> None:
            """Nothing of a session changes between two uses."""

        # Errors are raised; the library would also log tracebacks to stderr.
        logging.getLogger("asyncpg").addHandler(logging.NullHandler())
        return await asyncpg.create_pool(
            self._settings.dsn, min_size=0, max_size=CONNECTIONS, timeout=self._limits.seconds, init=begin, reset=keep
        )

    def _mapped(self, error: Any, what: str) -> Exception:
        """Return the project's error for one that the server reports."""
        state, details = error.sqlstate or "", shown(error, self._secrets)
        if state.startswith(_REFUSED):
            return AuthenticationError(
                f"cannot {what}: the credentials were refused",
                details=details,
                resolution="check the user, the password and what the user may do",
            )
        if state == _NO_DATABASE:
            return ConfigurationError(
                f"cannot {what}: there is no such database",
                details=details,
                resolution="create the database, or correct the URL of the state",
            )
        # Two processes created the table at the same time, and one met the other's table, type or catalogue entry.
        if state.startswith(_PASSING) or state in ("23505", "42P07", "42710"):
            return LostAnswerError(details)
        return DeploymentError(f"cannot {what}", details=details, resolution="see what the server's log says")


def _document(data: bytes, token: str = "") -> str:
    """Return the JSON of a row."""
    encoded = base64.b64encode(data).decode()
    writer = f', "{_WRITER}": "{token}"' if token else ""
    return f'{{"data": "{encoded}"{writer}}}'
