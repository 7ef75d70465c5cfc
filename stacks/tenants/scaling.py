"""Decides whether the files or an autoscaler set a component's number of replicas. Pure; does not load Pulumi."""

from __future__ import annotations

from collections.abc import Mapping

from wecityctl.inputs import StackInputs
from wecityctl.model import naming
from wecityctl.model.city import App, Component

Workload = tuple[str, str]


def is_autoscaled(app: App, component: Component) -> bool:
    """Whether an autoscaler sets the component's replicas. A suspended app has no autoscaler."""
    return component.autoscale is not None and app.stage != "suspended"


def stated_replicas(app: App, component: Component) -> int:
    """The number of replicas for a component that no autoscaler scales; 0 for a suspended app."""
    return 0 if app.stage == "suspended" else component.replicas


def autoscaled_workloads(inputs: StackInputs) -> Mapping[Workload, bool]:
    """Whether an autoscaler sets the replicas, for each of the tenant's Deployments by (namespace, name)."""
    tenant = inputs.stack.subject
    return {
        (naming.tenant_namespace(tenant, app.zone), naming.component_workload(app.name, component.name)): (
            is_autoscaled(app, component)
        )
        for app in inputs.city.apps_of(tenant)
        if app.runs and inputs.placement.apps.get((app.tenant, app.name)) == inputs.stack.cloud
        for component in app.components
        if not component.is_job and not component.volumes
    }
