"""Formats capability types for users and programs: the list, one type, and the reference page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from wecityctl.model.catalogue import SIZE_FACTORS, CapabilityType, Port, UseLimits, Workload
from wecityctl.model.words import counted

if TYPE_CHECKING:
    from rich.table import Table

_HEAD = """\
# The catalogue

Generated from the capability types by `make schema`; do not edit. `wecityctl catalog list` shows those that are
installed, those of partners' packages among them, and `wecityctl catalog show NAME` one of them.

| type | platform | what it is | engines | licence | uses |
| --- | --- | --- | --- | --- | --- |
"""


def type_json(kind: CapabilityType) -> dict[str, Any]:
    """Return the contract of a type as JSON values, without internal fields."""
    binding = kind.binding
    return {
        "name": kind.name,
        "platform": kind.platform,
        "title": kind.title,
        "licence": kind.licence,
        "engines": list(kind.engines),
        "versions": list(kind.versions),
        "architectures": list(kind.architectures),
        "images": list(kind.images),
        "ports": [
            {
                "name": port.name,
                "number": port.number,
                "protocol": port.protocol,
                "ui": port.ui,
                "metrics": port.metrics,
            }
            for port in kind.ports
        ],
        "workloads": {
            size: [
                {
                    "name": item.name,
                    "replicas": item.replicas,
                    "each_node": item.each_node,
                    **item.total,
                    "storage": item.storage,
                }
                for item in kind.workloads(size)
            ]
            for size in SIZE_FACTORS
        },
        "max_replicas": kind.max_replicas,
        "uses": [{"type": use.type, "as": use.alias} for use in kind.uses],
        "provides": list(kind.provides),
        "binding": {"type": binding.type, "keys": list(binding.keys)} if binding is not None else None,
        "stores_data": kind.stores_data,
        "limits": dict(_limits(kind)),
        "entry": bool(kind.entry),
        "tls": kind.tls,
        "sm": kind.sm,
        "health": kind.health,
        "probe": bool(kind.probe),
    }


def type_table(kinds: Iterable[CapabilityType]) -> Table:
    """Return a table with one row for each type, sorted by platform and name."""
    from wecityctl.report.tables import new_table

    table = new_table(("PLATFORM", "TYPE", "TITLE", "USES"), prose=("TITLE", "USES"))
    for kind in sorted(kinds, key=lambda item: (item.platform, item.name)):
        table.add_row(kind.platform, kind.name, kind.title, _uses(kind) if kind.uses else "–")
    return table


def type_text(kind: CapabilityType) -> Iterator[str]:
    """Yield all facts on one type that the author of a city needs, one per line."""
    yield f"{kind.name}: {kind.title}"
    for name, text in _facts(kind):
        yield f"  {name:<12} {text}"


def catalogue_page(kinds: Iterable[CapabilityType], proved: str = "") -> str:
    """Return the reference page: a table of all types, the section `proved`, then a section for each."""
    ordered = sorted(kinds, key=lambda item: (item.platform, item.name))
    rows = "".join(
        f"| [`{kind.name}`](#{kind.name}) | {kind.platform} | {kind.title} | {', '.join(kind.engines)} | "
        f"{kind.licence} | {_uses(kind)} |\n"
        for kind in ordered
    )
    sections = "".join(
        f"\n## {kind.name}\n\n{kind.title}.\n\n" + "".join(f"- {name}: {text}\n" for name, text in _facts(kind))
        for kind in ordered
    )
    return _HEAD + rows + proved + sections


def _facts(kind: CapabilityType) -> Iterator[tuple[str, str]]:
    yield "platform", kind.platform
    yield "engines", ", ".join(kind.engines)
    yield "versions", ", ".join(kind.versions)
    yield "licence", kind.licence
    yield "images", f"{', '.join(kind.images)} for {', '.join(kind.architectures)}"
    yield "ports", ", ".join(map(_port, kind.ports))
    for size in SIZE_FACTORS:
        yield size, "; ".join(map(_pods, kind.workloads(size)))
    if kind.max_replicas > 1:
        yield "replicas", f"up to {kind.max_replicas}"
    if kind.uses:
        yield "uses", _uses(kind)
    if kind.provides:
        yield "provides", ", ".join(kind.provides)
    if kind.binding is not None:
        own = ("ca.crt",) if kind.tls else ()
        keys = ("type", "provider", "host", "port", *own, *kind.binding.keys)
        yield "binding", f"{kind.binding.type}: {', '.join(keys)}"
    if limits := ", ".join(f"{name} {value}" for name, value in _limits(kind)):
        yield "limits", f"{limits} for a use that states none"
    yield "health", kind.health if kind.probe else f"{kind.health} (no probe)"


def _pods(item: Workload) -> str:
    words = [counted(item.replicas, "pod"), item.name, "on each node" if item.each_node else ""]
    volume = f", with a volume of {item.storage}" if item.storage else ""
    return f"{' '.join(filter(None, words))} of {item.total['cpu']} CPU and {item.total['memory']}{volume}"


def _limits(kind: CapabilityType) -> Iterator[tuple[str, Any]]:
    for item in fields(UseLimits):
        if value := getattr(kind.limits, item.name):
            yield item.name, value


def _port(port: Port) -> str:
    marks = [mark for mark, is_marked in (("ui", port.ui), ("metrics", port.metrics)) if is_marked]
    return f"{port.number} {port.name} ({port.protocol})" + (f" ({', '.join(marks)})" if marks else "")


def _uses(kind: CapabilityType) -> str:
    return ", ".join(f"{use.type} as {use.alias}" for use in kind.uses)
