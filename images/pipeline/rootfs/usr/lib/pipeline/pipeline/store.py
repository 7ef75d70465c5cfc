"""Stores records and what is computed of them in the department's own PostgreSQL database."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime

import pg8000.exceptions
import pg8000.native
from sample_app.bindings import Binding

from pipeline.description import Description
from pipeline.errors import PipelineError
from pipeline.filtering import Accepted, Refused
from pipeline.model import DAYS, Forecast, forecast
from pipeline.statements import TYPES, statements

OUTCOMES = ("accepted", "late", "duplicate", "refused")
# Any number, as long as all who prepare or compute use the same: they take turns.
LOCK = 1_907_101
DAYS_OF_REFUSED = 30


@dataclass(slots=True)
class Taken:
    """How many of some records were accepted (of these so many late), were there before, and were refused."""

    accepted: int = 0
    late: int = 0
    duplicate: int = 0
    refused: list[tuple[int, Refused]] = field(default_factory=list)


class Store:
    """One connection, which threads use in turn; after an error the next use opens another one."""

    def __init__(self, binding: Binding, description: Description) -> None:
        self._binding, self._description, self._statements = binding, description, statements(description)
        self._lock = threading.Lock()
        self._connection: pg8000.native.Connection | None = None

    @property
    def database(self) -> str:
        return self._binding.get("database")

    @contextmanager
    def transaction(self) -> Iterator[pg8000.native.Connection]:
        """A transaction, which is committed if its block ends without an error. Raises `PipelineError` for what the
        driver raises."""
        with self._lock, _mapped():
            connection = self._connection or _connect(self._binding)
            self._connection = None
            try:
                connection.run("BEGIN")
                yield connection
                connection.run("COMMIT")
            except BaseException:
                with suppress(Exception):
                    connection.close()
                raise
            self._connection = connection

    def lock(self, connection: pg8000.native.Connection) -> None:
        """Wait, to the end of the transaction, for whoever else changes tables or what is computed."""
        connection.run("SELECT pg_advisory_xact_lock(:lock)", lock=LOCK)

    def prepare(self) -> None:
        """Make the tables, and columns that the description has since. Raises `PipelineError` for a changed type."""
        with self.transaction() as connection:
            self.lock(connection)
            for statement in self._statements.prepare:
                connection.run(statement)
            _check_columns(connection, self._description)

    def take(self, source: str, decisions: Iterable[Accepted | Refused]) -> Taken:
        """Store what was decided of records, all or nothing, and count it."""
        taken = Taken()
        with self.transaction() as connection:
            for index, decision in enumerate(decisions):
                # Another record with this key is found only when it is stored.
                found = self._insert(connection, source, decision) if isinstance(decision, Accepted) else decision
                if isinstance(found, Refused):
                    connection.run(
                        "INSERT INTO refused (source, field, reason, record)"
                        " VALUES (:source, :field, :reason, :record)",
                        source=source, field=found.field, reason=found.reason, record=found.record,
                    )  # fmt: skip
                    taken.refused.append((index, found))
                elif found:
                    taken.accepted += 1
                    taken.late += decision.late
                else:
                    taken.duplicate += 1
            amounts = (taken.accepted, taken.late, taken.duplicate, len(taken.refused))
            for outcome, amount in zip(OUTCOMES, amounts, strict=True):
                if amount:
                    connection.run(
                        "INSERT INTO counts VALUES (current_date, :source, :outcome, :amount) ON CONFLICT"
                        " (day, source, outcome) DO UPDATE SET records = counts.records + excluded.records",
                        source=source, outcome=outcome, amount=amount,
                    )  # fmt: skip
        return taken

    def _insert(self, connection: pg8000.native.Connection, source: str, record: Accepted) -> bool | Refused:
        """Whether the record is new; refused if there is another one with its key and other values."""
        about = self._description
        values = {f"v{index}": record.values[name] for index, name in enumerate(about.fields)}
        connection.run(self._statements.insert, **values, source=source, late=record.late)
        if connection.row_count:
            return True
        if connection.run(self._statements.find_same, **values):
            return False
        text = ", ".join(f"{name}={value}" for name, value in record.values.items())
        return Refused(about.time, f"another record of this {about.group} and time is there", text[:4000])

    def compute(self) -> list[str]:
        """Compute the hours anew that have new records; the groups that have any."""
        with self.transaction() as connection:
            self.lock(connection)
            # What comes in meanwhile stays to be computed by the next run.
            connection.run(self._statements.mark_changed)
            connection.run(self._statements.compute)
            found = connection.run("SELECT DISTINCT grouped FROM changed ORDER BY 1")
            # Their hours keep what was computed of them.
            connection.run(self._statements.delete_old, days=self._description.keep)
            connection.run(
                "DELETE FROM refused WHERE received < now() - :days * interval '1 day'", days=DAYS_OF_REFUSED
            )
        return [str(group) for (group,) in found]

    def forecast(self, now: datetime) -> list[tuple[str, Forecast]]:
        """Put the forecasts of all groups in the place of the last ones."""
        found: list[tuple[str, Forecast]] = []
        with self.transaction() as connection:
            self.lock(connection)
            rows = connection.run(
                "SELECT grouped, hour, mean FROM hourly WHERE mean IS NOT NULL"
                " AND hour > CAST(:now AS timestamptz) - :days * interval '1 day' ORDER BY 1, 2",
                now=now, days=DAYS + 2,
            )  # fmt: skip
            means: dict[str, dict[datetime, float]] = {}
            for group, hour, mean in rows:
                means.setdefault(group, {})[hour] = mean
            connection.run("DELETE FROM forecast")
            for group, known in means.items():
                for each in forecast(known, now):
                    connection.run(
                        "INSERT INTO forecast VALUES (:group, :hour, :expected, :lowest, :highest, :days, :error)",
                        group=group, hour=each.hour, expected=each.expected, lowest=each.lowest,
                        highest=each.highest, days=each.days, error=each.error,
                    )  # fmt: skip
                    found.append((group, each))
        return found

    def counts(self, days: int) -> dict[tuple[str, str], int]:
        """How many records of each source had each outcome, today and in the days before."""
        with self.transaction() as connection:
            rows = connection.run(
                "SELECT source, outcome, sum(records)::bigint FROM counts"
                " WHERE day > current_date - CAST(:days AS integer) GROUP BY 1, 2 ORDER BY 1, 2",
                days=days,
            )
        return {(source, outcome): records for source, outcome, records in rows}

    def newest_hour(self) -> datetime | None:
        """The last hour that was computed."""
        with self.transaction() as connection:
            ((found,),) = connection.run("SELECT max(hour) FROM hourly")
        return found


@contextmanager
def _mapped() -> Iterator[None]:
    try:
        yield
    except (pg8000.exceptions.Error, OSError) as error:
        # What the server says is a mapping, whose `M` is the message.
        said = error.args[0].get("M") if error.args and isinstance(error.args[0], dict) else error
        raise PipelineError(f"the database: {said}; try again, or look at the database") from error


def _connect(binding: Binding) -> pg8000.native.Connection:
    connection = pg8000.native.Connection(
        user=binding.get("username"),
        password=binding.get("password"),
        host=binding.get("host"),
        port=int(binding.get("port", default="5432")),
        database=binding.get("database") or None,
        timeout=30,
        application_name="pipeline",
        ssl_context=binding.tls or False,
    )
    # Hours and days are those of one zone, whatever the server's is.
    connection.run("SET TIME ZONE 'UTC'")
    return connection


def _check_columns(connection: pg8000.native.Connection, about: Description) -> None:
    rows = connection.run(
        "SELECT column_name, data_type FROM information_schema.columns"
        " WHERE table_schema = 'public' AND table_name = 'records'"
    )
    there = dict(rows)
    for name, each in about.fields.items():
        if there[name] != TYPES[each.type]:
            raise PipelineError(
                f"fields.{name}.type: is {each.type}, and the table has {there[name]}; give the field another name"
            )
