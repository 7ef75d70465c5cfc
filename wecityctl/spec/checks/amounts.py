"""Sums and bounds: quotas against what the apps ask for, and autoscaling."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from wecityctl.errors import Problem
from wecityctl.model.city import App
from wecityctl.model.quantity import format_bytes, format_cpu, parse_quantity
from wecityctl.spec.draft import Draft

# What Kubernetes takes in one ConfigMap, with room for its own fields.
MAX_FILES_BYTES = 1_000_000
_RESOURCES = ("cpu", "memory", "storage")


def quotas(draft: Draft) -> Iterator[Problem]:
    """A tenant's quota holds all its running apps at their largest."""
    asked: dict[str, dict[str, dict[str, Decimal]]] = {}
    for app in draft.apps:
        if app.value.runs:
            asked.setdefault(app.value.tenant, {})[app.value.name] = app_demand(app.value)
    for tenant in draft.tenants:
        apps = asked.get(tenant.value.name, {})
        for resource in _RESOURCES:
            total = sum((demand[resource] for demand in apps.values()), Decimal(0))
            if total <= parse_quantity(getattr(tenant.value.quota, resource)):
                continue
            biggest = max(apps, key=lambda name: apps[name][resource])
            message = (
                f"quota {getattr(tenant.value.quota, resource)} is less than the {_format(resource, total)} that the "
                f"tenant's running apps ask for at most (the most by {biggest!r}: "
                f"{_format(resource, apps[biggest][resource])})"
            )
            yield tenant.problem(("spec", "quota", resource), message, f"at least {_format(resource, total)}")


def app_demand(app: App) -> dict[str, Decimal]:
    """What `app` may ask for at its largest, in base units."""
    demand = dict.fromkeys(_RESOURCES, Decimal(0))
    for part in app.components:
        replicas = part.autoscale.max if part.autoscale is not None else part.replicas
        demand["cpu"] += replicas * parse_quantity(part.resources.cpu)
        demand["memory"] += replicas * parse_quantity(part.resources.memory)
    demand["storage"] = sum((parse_quantity(use.storage) for use in app.uses if use.storage), Decimal(0))
    return demand


def autoscaling(draft: Draft) -> Iterator[Problem]:
    """The bounds are in order."""
    for app in draft.apps:
        for index, part in enumerate(app.value.components):
            scale = part.autoscale
            if scale is not None and scale.min > scale.max:
                path = ("spec", "components", index, "autoscale", "min")
                yield app.problem(path, f"min {scale.min} is more than max {scale.max}", f"at most {scale.max}")


def files_fit(draft: Draft) -> Iterator[Problem]:
    """A component's files go into one ConfigMap."""
    for app in draft.apps:
        for index, part in enumerate(app.value.components):
            size = sum(len(path) + len(text.encode(errors="replace")) for path, text in part.files.items())
            if size > MAX_FILES_BYTES:
                path = ("spec", "components", index, "files")
                message = f"the files are too large together: {size:,} bytes"
                yield app.problem(path, message, f"at most {MAX_FILES_BYTES:,}; put them in the image", on_key=True)


def _format(resource: str, value: Decimal) -> str:
    return f"{format_cpu(value)} CPU" if resource == "cpu" else format_bytes(value)
