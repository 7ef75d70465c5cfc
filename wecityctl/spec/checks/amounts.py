"""Checks amounts: tenants' quotas against what their apps request, autoscaling bounds, and the size of files."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from wecityctl.errors import Problem
from wecityctl.model.city import App
from wecityctl.model.quantity import format_bytes, format_cpu, parse_quantity
from wecityctl.model.shares import Demand, demand_of, need_of
from wecityctl.spec.checks.check import Check
from wecityctl.spec.parsed_city import ParsedCity

# The API server's limit for one ConfigMap, less a margin for the object's other fields.
MAX_FILES_BYTES = 1_000_000
_RESOURCES = ("cpu", "memory", "storage")


def quotas(parsed_city: ParsedCity) -> Iterator[Problem]:
    """A tenant's quota is enough for all its running apps at maximum scale, plus one surge pod during an update."""
    running: dict[str, dict[str, list[App]]] = {}
    for app in parsed_city.apps:
        if app.value.runs:
            running.setdefault(app.value.tenant, {}).setdefault(app.value.zone, []).append(app.value)
    for tenant in parsed_city.tenants:
        zones = running.get(tenant.value.name, {})
        apps = {app.name: demand_of(app) for found in zones.values() for app in found}
        # Each zone has a namespace with its own share of the quota, and needs a surge pod of its own.
        need = sum(map(need_of, zones.values()), Demand())
        used = sum(apps.values(), Demand())
        for resource in _RESOURCES:
            quota, total, wanted = (
                getattr(tenant.value.quota, resource),
                getattr(used, resource),
                getattr(need, resource),
            )
            if parse_quantity(quota) >= wanted:
                continue
            biggest = max(apps, key=lambda name: getattr(apps[name], resource))
            message = (
                f"quota {quota} is less than the {_format(resource, total)} that the tenant's running apps ask for at"
                f" most (the most by {biggest!r}: {_format(resource, getattr(apps[biggest], resource))})"
            )
            if parse_quantity(quota) >= total:
                message = (
                    f"quota {quota} holds the tenant's running apps ({_format(resource, total)}) and has no room for"
                    " the second pod that an update of a single replica starts before it ends the first"
                    if not any(_has_canary(app) for found in zones.values() for app in found)
                    else f"quota {quota} holds the tenant's running apps ({_format(resource, total)}) and has no room"
                    " for the pods of a canary, and those that an update starts before it ends others"
                )
            yield tenant.problem(("spec", "quota", resource), message, f"at least {_format(resource, wanted)}")


def autoscaling(parsed_city: ParsedCity) -> Iterator[Problem]:
    """The lower bound of autoscaling is not above the upper one."""
    for app in parsed_city.apps:
        for index, part in enumerate(app.value.components):
            scale = part.autoscale
            if scale is not None and scale.min > scale.max:
                path = ("spec", "components", index, "autoscale", "min")
                yield app.problem(path, f"min {scale.min} is more than max {scale.max}", f"at most {scale.max}")


def files_fit(parsed_city: ParsedCity) -> Iterator[Problem]:
    """A component's files fit into one ConfigMap."""
    for app in parsed_city.apps:
        for index, part in enumerate(app.value.components):
            size = sum(len(path) + len(text.encode(errors="replace")) for path, text in part.files.items())
            if size > MAX_FILES_BYTES:
                path = ("spec", "components", index, "files")
                message = f"the files are too large together: {size:,} bytes"
                yield app.problem(path, message, f"at most {MAX_FILES_BYTES:,}; put them in the image", on_key=True)


def _has_canary(app: App) -> bool:
    return any(part.strategy is not None and part.strategy.type == "canary" for part in app.components)


def _format(resource: str, value: Decimal) -> str:
    return f"{format_cpu(value)} CPU" if resource == "cpu" else format_bytes(value)


CHECKS: tuple[Check, ...] = (
    quotas,
    autoscaling,
    files_fit,
)
