"""Formats what was used in a period: a table for users, CSV for spreadsheets, plain values for programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from wecityctl.model.capacity import GIB
from wecityctl.model.metering import HOUR, CityUsage, CloudUsage, Coverage, Gap, Group, Row, total_of
from wecityctl.model.times import rfc3339

if TYPE_CHECKING:
    from rich.table import Table

_SUBJECTS: Mapping[Group, tuple[str, ...]] = {
    "tenant": ("tenant",),
    "app": ("tenant", "app"),
    "capability": ("platform", "capability"),
}
# Title of the table, name elsewhere, attribute of a row.
_AMOUNTS = (
    ("CPU H", "cpu_core_hours", "cpu"),
    ("LIMIT H", "cpu_limit_core_hours", "cpu_limit"),
    ("MEMORY GIB H", "memory_gib_hours", "memory"),
    ("LIMIT GIB H", "memory_limit_gib_hours", "memory_limit"),
    ("STORAGE GIB H", "storage_gib_hours", "storage"),
    ("POD H", "pod_hours", "pods"),
)
# Gaps that are told one by one.
_SHOWN = 10
_PLATFORMS = "(platforms)"


def table_of(found: CityUsage) -> Table:
    """Return a table with a row for each owner, and their sum."""
    from wecityctl.report.tables import new_table

    counts, currencies = _names(found)
    numbers = (*(title for title, _, _ in _AMOUNTS), *(name.upper() for name in counts))
    costs = tuple(f"COST {currency}" for currency in currencies)
    subjects = _SUBJECTS[found.by]
    table = new_table((*(item.upper() for item in subjects), *numbers, *costs), right=(*numbers, *costs))
    for row in found.rows:
        names = [getattr(row.owner, item) for item in subjects]
        table.add_row(
            *(name or (_PLATFORMS if item == "tenant" else "–") for item, name in zip(subjects, names, strict=True)),
            *_cells(row, counts, currencies),
        )
    if len(found.rows) > 1:
        table.add_section()
        total = total_of(found.rows)
        table.add_row("all", *("" for _ in subjects[1:]), *_cells(total, counts, currencies), style="bold")
    return table


def lines_of(found: CityUsage) -> Iterator[str]:
    """Yield what the table has no room for: for how long it is counted, what is missing, and what has a price."""
    period = found.period
    yield f"from {rfc3339(period.begin)} until {rfc3339(period.end)}"
    for cloud in found.clouds:
        yield f"{cloud.cloud}: {_counted(cloud.coverage, period.hours)}"
        yield from (f"  {line}" for line in _gaps(cloud.coverage.gaps))
        for item in cloud.namespaces:
            if item.coverage.counted < cloud.coverage.counted:
                yield f"  namespace {item.namespace}: {_counted(item.coverage, period.hours)}"
    counted = {name for row in found.rows for name in row.counts}
    for name in found.counters:
        if name not in counted:
            yield f"{name}: nothing was counted"
    for cloud_name, why in sorted(found.unknown.items()):
        yield f"{cloud_name}: not counted: {why}"
    for resource in sorted({name for row in found.rows for name in row.others}):
        if amount := sum(row.others.get(resource, 0.0) for row in found.rows):
            yield _requested(resource, amount)
    yield from _price_lines(found)


def _requested(resource: str, amount: float) -> str:
    """An amount of a resource that has no column, in GiB where the cluster counts it in bytes, times hours."""
    if resource == "ephemeral-storage" or resource.startswith("hugepages-"):
        return f"{resource}, requested: {_number(amount / GIB)} GiB hours"
    return f"{resource}, requested: {_number(amount)} hours"


def _price_lines(found: CityUsage) -> Iterator[str]:
    if any(row.cost for row in found.rows):
        yield (
            "cost: requested CPU and memory, and volumes, at the prices that the files have now; limits, pods, "
            "accelerators and counts have no price"
        )
    for cloud in found.unpriced:
        yield f"cost: cloud {cloud} has no prices in the files, so what is used there is not in the cost"


def csv_of(found: CityUsage) -> str:
    """Return the rows as CSV, with a line of titles. Numbers have a point, and no separators."""
    counts, currencies = _names(found)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        (
            "from", "until", *_SUBJECTS[found.by], *(name for _, name, _ in _AMOUNTS), *counts,
            *(f"cost_{currency}" for currency in currencies), "counted_hours", "period_hours",
        )
    )  # fmt: skip
    for row in found.rows:
        writer.writerow(
            (
                rfc3339(found.period.begin), rfc3339(found.period.end),
                *(getattr(row.owner, item) for item in _SUBJECTS[found.by]),
                *(round(getattr(row, attribute), 6) for _, _, attribute in _AMOUNTS),
                *(row.counts.get(name, 0) for name in counts),
                *(_money(row.cost.get(currency)) for currency in currencies),
                _hours(min((cloud.coverage.counted for cloud in found.clouds), default=0)),
                round(found.period.hours, 4),
            )
        )  # fmt: skip
    return text.getvalue()


def as_json(found: CityUsage) -> dict[str, Any]:
    """Return everything as plain values: amounts as numbers, money as decimal strings, times as RFC 3339."""
    return {
        "city": found.city,
        "from": rfc3339(found.period.begin),
        "until": rfc3339(found.period.end),
        "period_hours": round(found.period.hours, 4),
        "by": found.by,
        "rows": [_row_json(row, found.by) for row in found.rows],
        "total": _amounts_json(total_of(found.rows)),
        "clouds": [_cloud_json(cloud) for cloud in found.clouds],
        "unknown": dict(found.unknown),
        "unpriced": list(found.unpriced),
        "counters": list(found.counters),
    }


def _row_json(row: Row, by: Group) -> dict[str, Any]:
    return {**{item: getattr(row.owner, item) for item in _SUBJECTS[by]}, **_amounts_json(row)}


def _amounts_json(row: Row) -> dict[str, Any]:
    return {
        **{name: round(getattr(row, attribute), 6) for _, name, attribute in _AMOUNTS},
        "other_requests": dict(row.others),
        "counts": dict(row.counts),
        "cost": {currency: _money(amount) for currency, amount in row.cost.items()},
    }


def _cloud_json(cloud: CloudUsage) -> dict[str, Any]:
    return {
        "cloud": cloud.cloud,
        **_coverage_json(cloud.coverage),
        "namespaces": [
            {
                "namespace": item.namespace,
                "tenant": item.owner.tenant,
                "platform": item.owner.platform,
                **_coverage_json(item.coverage),
            }
            for item in cloud.namespaces
        ],
    }


def _coverage_json(coverage: Coverage) -> dict[str, Any]:
    return {
        "counted_hours": round(coverage.counted / HOUR, 6),
        "gaps": [
            {"from": rfc3339(gap.begin), "until": rfc3339(gap.end), "missing_hours": round(gap.missing / HOUR, 6)}
            for gap in coverage.gaps
        ],
    }


def _names(found: CityUsage) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The counts and currencies that any row has."""
    counts = {name for row in found.rows for name in row.counts}
    return tuple(sorted(counts)), tuple(sorted({name for row in found.rows for name in row.cost}))


def _cells(row: Row, counts: tuple[str, ...], currencies: tuple[str, ...]) -> Iterator[str]:
    for _, _, attribute in _AMOUNTS:
        yield _number(getattr(row, attribute))
    for name in counts:
        yield _number(row.counts[name]) if name in row.counts else "–"
    for currency in currencies:
        yield _money(row.cost[currency]) if currency in row.cost else "–"


def _counted(coverage: Coverage, hours: float) -> str:
    return f"counted for {_hours(coverage.counted):.10g} of {round(hours, 2):.10g} h"


def _gaps(gaps: tuple[Gap, ...]) -> Iterator[str]:
    for gap in gaps[:_SHOWN]:
        yield f"not counted: {_hours(gap.missing):.10g} h between {rfc3339(gap.begin)} and {rfc3339(gap.end)}"
    if len(gaps) > _SHOWN:
        yield f"… and {len(gaps) - _SHOWN} more gaps: see -o json"


def _hours(seconds: int) -> float:
    return round(seconds / HOUR, 2)


def _number(amount: float) -> str:
    """Three digits at least, and all those before the point."""
    return f"{amount:,.0f}" if amount >= 1000 or amount == round(amount) else f"{amount:,.3f}"


def _money(amount: Decimal | None) -> str:
    return "" if amount is None else f"{amount:.4f}"
