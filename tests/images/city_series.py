"""The series of an hour of `examples/xingcheng-operations`, as the observer of metrics writes them.

The values are made up, the same at each call. An app has a bad version for five minutes, of which an alert tells.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator

from wecityctl.model.city import City

SECONDS, STEP = 3600, 15
# Of all pods: requests are a quarter of the limits.
_CPU, _MEMORY = 0.5, 512 * 2**20
# What the vault counts, and how much of it in a second.
_VAULT = (("request", 6), ("login_request", 1))
# The app that breaks, and when, in shares of the time.
BROKEN, BEGIN, END = "bus-arrival", 0.55, 0.64


def lines(city: City, end: int) -> Iterator[str]:
    """Yield the samples in the text format, with times in milliseconds, of the hour before `end`."""
    chance = random.Random(7)
    owners: list[dict[str, str]] = []
    for app in city.apps:
        for part in app.components:
            owners.append({"tenant": app.tenant, "app": app.name, "component": part.name})
    for item in city.capabilities:
        owners.append({"platform": item.platform, "capability": item.name, "component": item.type})
    shapes = {
        id(labels): (chance.uniform(0.03, 0.2), chance.uniform(0.2, 0.7), chance.uniform(0, 6)) for labels in owners
    }
    for time in range(end - SECONDS, end + 1, STEP):
        share = (time - end + SECONDS) / SECONDS
        for labels in owners:
            cpu, memory, phase = shapes[id(labels)]
            bad = labels.get("app") == BROKEN and BEGIN < share < END
            wave = 1 + 0.4 * math.sin(share * 9 + phase) + chance.uniform(-0.12, 0.12)
            pod = {**labels, "pod": f"{labels['component']}-0", "container": labels["component"]}
            yield _sample("kube_deployment_spec_replicas", labels, 2, time)
            yield _sample("kube_deployment_status_replicas_available", labels, 0 if bad else 2, time)
            yield _sample("kube_pod_status_ready", pod, 0 if bad else 1, time)
            restarts = max(0, math.floor((share - BEGIN) * 60)) if bad else 5 if share >= END else 0
            restarts = restarts if labels.get("app") == BROKEN else 0
            yield _sample("kube_pod_container_status_restarts_total", pod, restarts, time)
            for resource, limit, used in (("cpu", _CPU, cpu * wave), ("memory", _MEMORY, memory + 0.05 * wave)):
                own = {**pod, "resource": resource}
                part_used = used * (1 if resource == "cpu" else _MEMORY) * (0.1 if bad else 1)
                yield _sample("wecity_container_usage", own, part_used, time)
                yield _sample("kube_pod_container_resource_limits", own, limit, time)
                yield _sample("kube_pod_container_resource_requests", own, limit / 4, time)
            if bad and share > BEGIN + 0.01:
                alert = {**labels, "alertname": "Down", "alertstate": "firing", "severity": "critical"}
                yield _sample("ALERTS", alert, 1, time)
        yield from _requests(city, time, share)
        yield from _cluster(city, time, share)


def _requests(city: City, time: int, share: float) -> Iterator[str]:
    """What the gateway has passed on: a few requests a second, which fail while the app that breaks is down."""
    gateway = next(item for item in city.capabilities if item.is_entry)
    own = {"platform": gateway.platform, "capability": gateway.name, "pod": "gateway-0"}
    for number, app in enumerate(item for item in city.apps if item.is_routed):
        whose = {"tenant": app.tenant, "app": app.name, "service": app.name, "service_namespace": app.tenant}
        broken = min(max(share, BEGIN), END) - BEGIN if app.name == BROKEN else 0
        for code, part in (("2xx", share - broken), ("5xx", broken + 0.001 * share)):
            yield _sample("wecity_gateway_requests_total", {**own, **whose, "code": code}, _each(number, part), time)


def _each(number: int, part: float) -> int:
    """The requests of an app within a part of the time."""
    return round(SECONDS * part * (2 + number % 5))


def _cluster(city: City, time: int, share: float) -> Iterator[str]:
    for tenant in city.tenants:
        for resource, hard, used in (("requests.cpu", 8, 1 + 2 * share), ("requests.memory", 16, 9), ("pods", 40, 6)):
            labels = {"tenant": tenant.name, "resource": resource}
            yield _sample("kube_resourcequota", {**labels, "type": "hard"}, hard, time)
            yield _sample("kube_resourcequota", {**labels, "type": "used"}, used, time)
    for node in ("node-1", "node-2", "node-3"):
        ready = {"node": node, "condition": "Ready"}
        yield _sample("kube_node_status_condition", ready, 1, time)
        for resource, value in (("cpu", 4), ("memory", 8 * 2**30)):
            yield _sample("kube_node_status_allocatable", {"node": node, "resource": resource}, value, time)
    # What the store says of itself.
    own = {"job": "victoria-metrics"}
    yield _sample("vm_rows_inserted_total", own, 400 * (time % 100_000), time)
    yield _sample("vm_rows", own, 4e7 + 4e5 * share, time)
    yield _sample("vm_data_size_bytes", own, 60e6 + 3e6 * share, time)
    yield _sample("vm_free_disk_space_bytes", own, 18e9 - 3e6 * share, time)

    for name, figures in (
        ("logs", {"vl_rows_ingested_total": 90 * (time % 100_000), "vl_data_size_bytes": 3e9 + 4e7 * share}),
        ("vault", {f"vault_core_handle_{kind}_count": each * (time % 100_000) for kind, each in _VAULT}),
    ):
        own = {"platform": "operations", "capability": name}
        figures |= {"wecity_volume_bytes_used": 6e9 + 1e9 * share, "wecity_volume_bytes_size": 20e9}
        for figure, value in figures.items():
            yield _sample(figure, own, value, time)
    yield _sample("vl_max_disk_space_usage_bytes", {"platform": "operations", "capability": "logs"}, 15e9, time)


def _sample(name: str, labels: dict[str, str], value: float, time: int) -> str:
    inside = ",".join(f'{key}="{found}"' for key, found in labels.items())
    return f"{name}{{{inside}}} {value} {time * 1000}"
