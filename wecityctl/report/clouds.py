"""Formats a city's clouds as one logical platform: a table for users, plain values for programs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from wecityctl.model.capacity import GIB, Amounts, CityFigures, CloudFigures, PoolFigures, Sum, total
from wecityctl.report.words import duration

if TYPE_CHECKING:
    from rich.table import Table

_COLUMNS = ("CLOUD", "ZONE", "POOL", "ARCH", "NODES", "CPU", "USED", "FREE", "MEMORY", "STORAGE", "COST/H", "FIGURES")
_RIGHT = ("NODES", "CPU", "USED", "FREE", "MEMORY", "STORAGE", "COST/H")
_UNITS = (("PiB", 1024**5), ("TiB", 1024**4), ("GiB", GIB), ("MiB", 1024**2), ("KiB", 1024))
_UNKNOWN = "?"
_DOMESTIC = "信创"


def table_of(figures: CityFigures) -> Table:
    """Return a table with one row for each cloud, zone, pool and architecture, followed by the sums."""
    from wecityctl.report.tables import new_table

    table = new_table(_COLUMNS, right=_RIGHT)
    for cloud in figures.clouds:
        for pool in cloud.pools:
            table.add_row(*_row(cloud, pool), style="" if pool.source == "live" else "dim")
    table.add_section()
    table.add_row(*_sum_row("all clouds", "", figures.total), style="bold")
    for architecture, part in figures.by_architecture.items():
        table.add_row(*_sum_row("", architecture, part))
    if figures.domestic.nodes:
        table.add_row(*_sum_row("", _DOMESTIC, figures.domestic))
    return table


def lines_of(figures: CityFigures) -> Iterator[str]:
    """Yield what the table has no room for: each cloud's health, accelerators, the domestic share."""
    for cloud in figures.clouds:
        yield f"{cloud.name}: {_health(cloud)}"
        if cloud.remedy:
            yield f"  → {cloud.remedy}"
        yield from (f"  {line}" for line in cloud.conditions)
        if cloud.expected:
            yield f"  expected, by the cloud's owner: {', '.join(cloud.expected)}"
        for line in _accelerators(cloud.pools):
            yield f"  {line}"
        if cloud.unattached_storage:
            yield f"  {size(cloud.unattached_storage)} in volumes that no pod uses"
    if figures.domestic.nodes:
        yield f"domestic {_DOMESTIC}: {_share_text(figures)}"


def as_json(figures: CityFigures) -> dict[str, Any]:
    """Return all figures as plain values: CPUs as numbers, bytes as integers, money as decimal strings."""
    return {
        "city": figures.city,
        "clouds": [_cloud_json(cloud) for cloud in figures.clouds],
        "total": {
            **_sum_json(figures.total),
            "architectures": {name: _sum_json(part) for name, part in figures.by_architecture.items()},
            "domestic": {**_sum_json(figures.domestic), "cpu_share": _domestic_share(figures)},
        },
    }


def size(count: int) -> str:
    """Return a number of bytes as text: `4.0 PiB`, `512 GiB`, `96 B`."""
    for unit, factor in _UNITS:
        if count >= factor:
            value = count / factor
            return f"{value:.0f} {unit}" if value >= 100 else f"{value:.1f} {unit}"
    return f"{count} B"


def cpus(millicores: int) -> str:
    """Return millicores as a text in CPUs: `60,000`, `12.5`, `0.02`."""
    if millicores >= 100_000 or millicores % 1000 == 0:
        return f"{millicores // 1000:,}"
    return f"{millicores / 1000:.1f}" if millicores >= 10_000 else f"{millicores / 1000:.2f}"


def _row(cloud: CloudFigures, pool: PoolFigures) -> tuple[str, ...]:
    return (
        cloud.name,
        ", ".join(pool.zones),
        (pool.pool or "-") + (f" {_DOMESTIC}" if pool.domestic else ""),
        pool.architecture,
        *_amount_cells(pool, pool.capacity),
        _cost(pool.allocated_cost, pool.capacity_cost, cloud.currency),
        " ".join(filter(None, (pool.source, "(simulated)" if pool.simulated else ""))),
    )


def _sum_row(title: str, architecture: str, part: Sum) -> tuple[str, ...]:
    costs = [
        _cost(part.allocated_cost.get(currency), cost, currency)
        for currency, cost in sorted(part.capacity_cost.items())
    ]
    return (title, "", "", architecture, *_amount_cells(part, part.known), "; ".join(costs), "")


def _amount_cells(part: PoolFigures | Sum, known: Amounts) -> tuple[str, ...]:
    """Return the cells nodes, CPU, used, free, memory, storage; `known` is the capacity that usage
    is a percentage of.
    """
    used, have = part.allocated, part.capacity
    return (
        str(part.nodes) if part.ready is None else f"{part.ready}/{part.nodes}",
        f"{_known(used, lambda a: cpus(a.cpu))} / {cpus(have.cpu)}",
        _known(used, lambda a: _percent(a.cpu, known.cpu)),
        _known(part.free, lambda a: cpus(a.cpu)),
        f"{_known(used, lambda a: size(a.memory))} / {size(have.memory)}",
        f"{_known(used, lambda a: size(a.storage))} / {size(have.storage)}",
    )


def _known(amounts: Amounts | None, text: Callable[[Amounts], str]) -> str:
    return text(amounts) if amounts is not None else _UNKNOWN


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f} %" if whole else _UNKNOWN


def _cost(allocated: Decimal | None, capacity: Decimal | None, currency: str) -> str:
    if capacity is None:
        return "–"
    used = f"{allocated:,.2f}" if allocated is not None else _UNKNOWN
    return f"{used} / {capacity:,.2f} {currency}"


def _health(cloud: CloudFigures) -> str:
    region = f", {cloud.region}" if cloud.region else ""
    if cloud.source == "declared":
        age = f", files of {_age(cloud.age)} ago" if cloud.read_at else ""
        return f"{cloud.health}{region}: {_of_reason(cloud)}figures are what the files declare{age}"
    latency = f"{cloud.latency * 1000:.0f} ms" if cloud.latency is not None else _UNKNOWN
    return f"{cloud.health}{region}, API {latency}, {cloud.kubernetes_version}, read {_age(cloud.age)} ago"


def _of_reason(cloud: CloudFigures) -> str:
    return f"{cloud.reason}; " if cloud.reason and cloud.reason != cloud.health else ""


def _age(seconds: float) -> str:
    for unit, factor in (("d", 86400), ("h", 3600)):
        if seconds >= 2 * factor:
            return f"{seconds / factor:.0f} {unit}"
    return duration(seconds)


def _accelerators(pools: Iterable[PoolFigures]) -> Iterator[str]:
    having = [pool for pool in pools if pool.capacity.accelerators]
    have = total(pool.capacity for pool in having)
    read = [pool.allocated for pool in having if pool.allocated is not None]
    used = total(read)
    for name, count in have.accelerators.items():
        yield f"{name}: {used.accelerators.get(name, 0) if read else _UNKNOWN} of {count} allocated"


def _domestic_share(figures: CityFigures) -> float:
    whole = figures.total.capacity.cpu
    return round(figures.domestic.capacity.cpu / whole, 4) if whole else 0.0


def _share_text(figures: CityFigures) -> str:
    part, whole = figures.domestic.capacity.cpu, figures.total.capacity.cpu
    return f"{cpus(part)} of {cpus(whole)} CPUs ({_percent(part, whole)})"


def _cloud_json(cloud: CloudFigures) -> dict[str, Any]:
    return {
        "cloud": cloud.name,
        "provider": cloud.provider,
        "region": cloud.region,
        "figures": cloud.source,
        "read_at": cloud.read_at,
        "age_seconds": round(cloud.age, 1),
        "health": cloud.health,
        "reachable": cloud.source == "live",
        "reason": cloud.reason,
        "remedy": cloud.remedy,
        "conditions": list(cloud.conditions),
        "expected": list(cloud.expected),
        "api_latency_ms": None if cloud.latency is None else round(cloud.latency * 1000, 1),
        "kubernetes_version": cloud.kubernetes_version,
        "currency": cloud.currency,
        "unattached_storage_bytes": cloud.unattached_storage,
        "waiting": {
            "pods": cloud.waiting.pods,
            "requests": _amounts_json(cloud.waiting.requests),
            "reasons": dict(cloud.waiting.reasons),
        },
        "pools": [_pool_json(pool) for pool in cloud.pools],
    }


def _pool_json(pool: PoolFigures) -> dict[str, Any]:
    return {
        "zones": list(pool.zones),
        "pool": pool.pool,
        "architecture": pool.architecture,
        "domestic": pool.domestic,
        "simulated": pool.simulated,
        "figures": pool.source,
        "nodes": {"ready": pool.ready, "total": pool.nodes},
        "pods": pool.pods,
        "capacity": _amounts_json(pool.capacity),
        "allocated": None if pool.allocated is None else _amounts_json(pool.allocated),
        "free": None if pool.free is None else _amounts_json(pool.free),
        "cost_per_hour": {
            "capacity": _money(pool.capacity_cost),
            "allocated": _money(pool.allocated_cost),
        },
    }


def _sum_json(part: Sum) -> dict[str, Any]:
    return {
        "nodes": {"ready": part.ready, "total": part.nodes},
        "pods": part.pods,
        "capacity": _amounts_json(part.capacity),
        "capacity_read_live": _amounts_json(part.known),
        "allocated": None if part.allocated is None else _amounts_json(part.allocated),
        "free": None if part.free is None else _amounts_json(part.free),
        "cost_per_hour": {
            "capacity": _money_by_currency(part.capacity_cost),
            "allocated": _money_by_currency(part.allocated_cost),
        },
    }


def _amounts_json(amounts: Amounts) -> dict[str, Any]:
    return {
        "cpu": amounts.cpu / 1000,
        "memory_bytes": amounts.memory,
        "storage_bytes": amounts.storage,
        "accelerators": dict(amounts.accelerators),
    }


def _money(value: Decimal | None) -> str | None:
    return None if value is None else f"{value:.4f}"


def _money_by_currency(values: Mapping[str, Decimal]) -> dict[str, str]:
    return {currency: f"{value:.4f}" for currency, value in values.items()}
