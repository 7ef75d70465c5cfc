"""Parses Pulumi's `postgres://` URL into settings for the PostgreSQL library."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from wecityctl.errors import ConfigurationError
from wecityctl.objects.model import check_prefix

TABLE: Final = "pulumi_state"
_TABLE_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
# Parameters that may be shown, because they contain no secret.
_SHOWN: Final = ("host", "port", "dbname", "sslmode", "application_name", "search_path")
# Parameters of Pulumi's driver that ours does not know and would send to the server as settings.
_DRIVERS_OWN: Final = frozenset(
    {
        "connect_timeout", "client_encoding", "datestyle", "fallback_application_name", "binary_parameters",
        "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout",
        "sslcompression", "sslsni", "load_balance_hosts", "min_protocol_version", "max_protocol_version",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class PostgresSettings:
    """The location and connection settings of a state in PostgreSQL.

    `dsn` is the URL for the library, `url` the one that may be shown. `prefix` starts every key, as in Pulumi: the
    URL's path with a trailing slash, or empty. No message may contain one of `secrets`.
    """

    dsn: str = field(repr=False)
    table: str
    prefix: str
    url: str
    secrets: tuple[str, ...] = field(repr=False)

    @classmethod
    def read(cls, url: str, environment: Mapping[str, str]) -> PostgresSettings:
        """Parse a URL such as `postgres://user:password@host:5432/database?sslmode=require&table=pulumi_state`.

        Without `sslmode` in the URL or in `PGSSLMODE` it is `require`, as in Pulumi's driver. Raises
        `ConfigurationError`, which does not show the URL.
        """
        try:
            split = urlsplit(url)
            query = dict(parse_qsl(split.query, keep_blank_values=True, strict_parsing=bool(split.query)))
            password = unquote(split.password or "")
            _ = split.port
        except ValueError:
            raise ConfigurationError(
                "the postgres:// URL of the state cannot be read",
                resolution="write postgres://user@host:5432/database, with special characters percent-encoded",
            ) from None
        table = query.pop("table", "") or TABLE
        if not _TABLE_NAME.fullmatch(table):
            raise ConfigurationError(
                f"{table!r} cannot be the table of a state",
                resolution="name a table with letters, digits and underscores",
            )
        prefix = check_prefix(unquote(split.path).lstrip("/"))
        shown = {name: value for name, value in query.items() if name in _SHOWN} | {"table": table}
        passed = {name: value for name, value in query.items() if name not in _DRIVERS_OWN}
        if not environment.get("PGSSLMODE") and "service" not in passed:
            passed.setdefault("sslmode", "require")
        passed.setdefault("application_name", "wecityctl")
        host = split.netloc.rpartition("@")[2]
        secrets = (password, split.password or "", query.get("password", ""), query.get("sslpassword", ""))
        return cls(
            dsn=f"postgresql://{split.netloc}{split.path}?{urlencode(passed, quote_via=quote)}",
            table=table,
            prefix=f"{prefix}/" if prefix else "",
            url=f"postgres://{host}{split.path}?{urlencode(shown, safe='/')}",
            secrets=tuple(filter(None, secrets)),
        )
