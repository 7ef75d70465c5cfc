"""Publishes the tables as data assets: rights and comments in the database, documents and checks with data services."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from typing import Any

from sample_app.bindings import Binding

from pipeline.description import TABLES, Description
from pipeline.errors import PipelineError
from pipeline.store import Store

# The columns of a table beside what is of the fields, with their classes; None is that of the measure.
_HOURLY = {"hour": "open", "records": "open", "late": "open", "mean": None, "least": None, "most": None}
_FORECAST = {"hour": "open", "expected": None, "lowest": None, "highest": None, "days": "open", "error": None}
_ABOUT = {
    "records": "each record as it was accepted; late: it came after its time",
    "hourly": "records of an hour, with mean, least and most of the measure; late records are counted in",
    "forecast": "the mean of the same hour of the last days, a baseline; error: how far it was off, on average, a day",
}
FRESH = timedelta(hours=2)


class DataServices:
    """The account of the app with data services."""

    def __init__(self, binding: Binding) -> None:
        self._binding = binding
        me = self.ask("GET", "/me")
        self.tenant, self.app, self.reader = me["tenant"], me["app"], me["reader"]

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The answer to a request. Raises `PipelineError` with the reason where it is refused."""
        secret = base64.b64encode(f"{self._binding.get('username')}:{self._binding.get('password')}".encode()).decode()
        text = None if body is None else json.dumps(body, ensure_ascii=False).encode()
        address = self._binding.get("uri") + path
        request = urllib.request.Request(address, text, {"Authorization": f"Basic {secret}"}, method=method)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=30, context=self._binding.tls) as answer:  # noqa: S310
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            said = error.read().decode(errors="replace")[:1000]
            raise PipelineError(f"data services: {method} {path}: {error.code} {said}") from error
        except OSError as error:
            raise PipelineError(f"data services: {method} {path}: {error}; run it again") from error

    def asset(self, table: str) -> str:
        return f"{self.tenant}/{self.app}/{table}"


def publish(description: Description, store: Store, services: DataServices) -> None:
    """Grant the reader what is granted to consumers, and no more, then describe the assets."""
    with store.transaction() as connection:
        store.lock(connection)
        connection.run(f'GRANT CONNECT ON DATABASE "{store.database}" TO "{services.reader}"')
        for table in TABLES:
            columns = ", ".join(f'"{name}"' for name in _read_columns(description, table))
            connection.run(f"COMMENT ON TABLE {table} IS 'data asset {services.asset(table)}'")
            connection.run(f'REVOKE ALL ON {table} FROM "{services.reader}"')
            # PostgreSQL takes rights to columns back with those to the table.
            connection.run(f'GRANT SELECT ({columns}) ON {table} TO "{services.reader}"')
    for table in TABLES:
        services.ask("PUT", f"/assets/{services.asset(table)}", document(description, table, store.database, services))


def document(description: Description, table: str, database: str, services: DataServices) -> dict[str, Any]:
    """What data services are told of a table."""
    before = TABLES[: TABLES.index(table)][-1:]
    return {
        "kind": "table",
        "title": f"{description.title} ({table})",
        "description": _ABOUT[table],
        "sharing": "conditional",
        "columns": [{"name": name, "class": of} for name, of in classes(description, table).items()],
        "sources": [services.asset(each) for each in before],
        "table": {"database": database, "schema": "public", "name": table, "key": _key(description, table)},
        "grants": description.grants.get(table, []),
    }


def classes(description: Description, table: str) -> dict[str, str]:
    """The class of each column of a table that may be granted: what is computed has that of what it is made of."""
    if table == "records":
        return {**{name: each.data_class for name, each in description.fields.items()}, "late": "open"}
    measure = description.fields[description.measure].data_class
    own = _HOURLY if table == "hourly" else _FORECAST
    return {
        "grouped": description.fields[description.group].data_class,
        **{name: measure if of is None else of for name, of in own.items()},
    }


def _key(description: Description, table: str) -> list[str]:
    return [description.group, description.time] if table == "records" else ["grouped", "hour"]


def _read_columns(description: Description, table: str) -> list[str]:
    """What data services read of a table: the key, granted columns, and those that conditions compare."""
    known, found = classes(description, table), dict.fromkeys(_key(description, table))
    for grant in description.grants.get(table, []):
        conditions = [each.get("column") for each in grant.get("rows", [])]
        found |= dict.fromkeys([*grant.get("columns", []), *conditions])
    if unknown := [name for name in found if name not in known]:
        raise PipelineError(f"grants.{table}: {unknown[0]!r} is no column of it; it has {', '.join(known)}")
    return list(found)


def check_quality(description: Description, store: Store, services: DataServices, now: datetime) -> dict[str, bool]:
    """Add the results of the checks to the assets; whether each has passed."""
    counts = store.counts(days=1)
    refused = sum(number for (_, outcome), number in counts.items() if outcome == "refused")
    # A late record is an accepted one, too.
    whole = refused + sum(number for (_, outcome), number in counts.items() if outcome in ("accepted", "duplicate"))
    newest = store.newest_hour()
    checks = [
        (
            "records",
            f"at most {description.refused} % of a day's records are refused",
            refused * 100 <= whole * description.refused,
            f"{refused} of {whole}",
        ),
        (
            "hourly",
            f"the newest hour is at most {FRESH.seconds // 3600} hours old",
            newest is not None and now - newest <= FRESH + timedelta(hours=1),
            newest.isoformat() if newest else "there is none",
        ),
    ]
    for table, rule, passed, detail in checks:
        result = {"rule": rule, "passed": passed, "detail": detail, "at": f"{now.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"}
        services.ask("POST", f"/assets/{services.asset(table)}/quality", result)
    return {rule: passed for _, rule, passed, _ in checks}
