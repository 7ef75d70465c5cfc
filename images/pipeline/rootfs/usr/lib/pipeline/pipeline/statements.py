"""The statements whose text depends on a description. Its names are `a-z`, `0-9` and `_` and are quoted; values of
records are parameters, `v0` and so on in the order of the fields."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.description import Description

TYPES = {"text": "text", "number": "double precision", "time": "timestamp with time zone"}

PREPARE = (
    "CREATE TABLE IF NOT EXISTS refused (id bigserial PRIMARY KEY, received timestamptz NOT NULL DEFAULT now(),"
    " source text NOT NULL, field text NOT NULL, reason text NOT NULL, record text NOT NULL)",
    "CREATE TABLE IF NOT EXISTS counts (day date NOT NULL, source text NOT NULL, outcome text NOT NULL,"
    " records bigint NOT NULL, PRIMARY KEY (day, source, outcome))",
    "CREATE TABLE IF NOT EXISTS hourly (grouped text NOT NULL, hour timestamptz NOT NULL, records bigint NOT NULL,"
    " late bigint NOT NULL, mean double precision, least double precision, most double precision,"
    " PRIMARY KEY (grouped, hour))",
    "CREATE TABLE IF NOT EXISTS forecast (grouped text NOT NULL, hour timestamptz NOT NULL,"
    " expected double precision NOT NULL, lowest double precision NOT NULL, highest double precision NOT NULL,"
    " days integer NOT NULL, error double precision, PRIMARY KEY (grouped, hour))",
)


@dataclass(frozen=True, slots=True)
class Statements:
    """The statements of one description. `prepare` is several, to be run in their order."""

    prepare: tuple[str, ...]
    insert: str
    find_same: str
    mark_changed: str
    compute: str
    delete_old: str


def statements(about: Description) -> Statements:
    """The statements for the records that `about` describes."""
    group, time, measure = (f'"{name}"' for name in (about.group, about.time, about.measure))
    columns = {name: f'"{name}" {TYPES[each.type]}' for name, each in about.fields.items()}
    places = {name: f"CAST(:v{index} AS {TYPES[each.type]})" for index, (name, each) in enumerate(about.fields.items())}
    names, values = ", ".join(f'"{name}"' for name in places), ", ".join(places.values())
    same = " AND ".join(f'"{name}" IS NOT DISTINCT FROM {place}' for name, place in places.items())
    return Statements(
        prepare=(
            *PREPARE,
            # Fields that came later are missing in older records, so that only those of the key exclude null.
            f"CREATE TABLE IF NOT EXISTS records ({columns[about.group]} NOT NULL, {columns[about.time]} NOT NULL,"
            " source text NOT NULL, received timestamptz NOT NULL DEFAULT now(), late boolean NOT NULL,"
            f" computed boolean NOT NULL DEFAULT false, PRIMARY KEY ({group}, {time}))",
            *(f"ALTER TABLE records ADD COLUMN IF NOT EXISTS {column}" for column in columns.values()),
            "CREATE INDEX IF NOT EXISTS records_to_compute ON records ((1)) WHERE NOT computed",
        ),
        # ruff: noqa: S608 - names are quoted, and values are parameters
        insert=f"INSERT INTO records ({names}, source, late) VALUES ({values}, :source, :late) ON CONFLICT DO NOTHING",
        find_same=f"SELECT 1 FROM records WHERE {same}",
        mark_changed="CREATE TEMPORARY TABLE changed ON COMMIT DROP AS"
        " WITH marked AS (UPDATE records SET computed = true WHERE NOT computed"
        f" RETURNING {group} AS grouped, date_trunc('hour', {time}) AS hour) SELECT DISTINCT grouped, hour FROM marked",
        compute=f"INSERT INTO hourly SELECT {group}, date_trunc('hour', {time}), count(*),"
        f" count(*) FILTER (WHERE late), avg({measure}), min({measure}), max({measure})"
        f" FROM records JOIN changed ON grouped = {group} AND {time} >= hour AND {time} < hour + interval '1 hour'"
        " GROUP BY 1, 2 ON CONFLICT (grouped, hour) DO UPDATE SET records = excluded.records,"
        " late = excluded.late, mean = excluded.mean, least = excluded.least, most = excluded.most",
        delete_old=f"DELETE FROM records WHERE {time} < now() - :days * interval '1 day'",
    )
