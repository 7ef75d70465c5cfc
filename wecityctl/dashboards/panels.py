"""The panels of every city, tenant, app and capability, over what the observer of `metrics` reads of all of them."""

from __future__ import annotations

from wecityctl.model.catalogue import Panel

_READY = '{__name__=~"kube_deployment_status_replicas_available|kube_statefulset_status_replicas_ready"}'
_WANTED = '{__name__=~"kube_deployment_spec_replicas|kube_statefulset_replicas"}'


def _pods(*by: str) -> tuple[Panel, ...]:
    """Panels about pods, with a line for each value of the labels `by`."""
    each = f"sum by ({', '.join(by)})"

    def used(resource: str) -> str:
        return f'{each} (wecity_container_usage{{resource="{resource}"}})'

    def limit(resource: str) -> str:
        return f'{each} (kube_pod_container_resource_limits{{resource="{resource}"}})'

    return (
        Panel("Pods ready and wanted", f"{each} ({_READY})", by=by, limit=f"{each} ({_WANTED})"),
        Panel(
            "Restarts within 10 minutes",
            f"{each} (increase(kube_pod_container_status_restarts_total[10m]))",
            by=by,
        ),
        Panel("CPU cores and limit", used("cpu"), "cores", by, limit("cpu")),
        Panel("Memory and limit", used("memory"), "bytes", by, limit("memory")),
    )


def _quota(by: str) -> Panel:
    used = 'kube_resourcequota{type="used",tenant!=""}'
    hard = 'kube_resourcequota{type="hard",tenant!=""}'
    return Panel("Quota in use", f"max by ({by}) ({used} / ignoring (type) ({hard} > 0))", "share", (by,))


def _firing(by: str) -> Panel:
    return Panel("Alerts that fire", f'count by ({by}) (ALERTS{{alertstate="firing"}})', by=(by,))


APP = (*_pods("component"), _firing("alertname"))
CAPABILITY = (*_pods("component"), _firing("alertname"))
TENANT = (*_pods("app"), _quota("resource"), _firing("app"))
CITY = (
    Panel(
        "Nodes ready",
        'sum(kube_node_status_condition{condition="Ready"})',
        limit='count(kube_node_status_condition{condition="Ready"})',
    ),
    Panel(
        "CPU cores requested and allocatable",
        'sum(kube_pod_container_resource_requests{resource="cpu"})',
        "cores",
        limit='sum(kube_node_status_allocatable{resource="cpu"})',
    ),
    Panel(
        "Memory requested and allocatable",
        'sum(kube_pod_container_resource_requests{resource="memory"})',
        "bytes",
        limit='sum(kube_node_status_allocatable{resource="memory"})',
    ),
    _firing("severity"),
    Panel("Pods ready by tenant", 'sum by (tenant) (kube_pod_status_ready{tenant!=""})', by=("tenant",)),
    Panel(
        "CPU cores by tenant",
        'sum by (tenant) (wecity_container_usage{resource="cpu",tenant!=""})',
        "cores",
        ("tenant",),
    ),
    Panel(
        "Memory by tenant",
        'sum by (tenant) (wecity_container_usage{resource="memory",tenant!=""})',
        "bytes",
        ("tenant",),
    ),
    _quota("tenant"),
    Panel(
        "CPU cores by capability",
        'sum by (capability) (wecity_container_usage{resource="cpu",capability!=""})',
        "cores",
        ("capability",),
    ),
    Panel(
        "Memory by capability",
        'sum by (capability) (wecity_container_usage{resource="memory",capability!=""})',
        "bytes",
        ("capability",),
    ),
)
