"""The program of a tenant's stack: a namespace for each zone of its apps on one cloud, with policies, quota and
apps.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from stacks import admin_rbac, network_policies, observers, pods, pulls
from stacks.objects import KubernetesObject, Manifest, Scope, open_scope
from stacks.tenants import deployers
from stacks.tenants.app import Application
from stacks.tenants.quota import limit_range, resource_quota
from wecityctl.inputs import StackInputs
from wecityctl.model import naming
from wecityctl.model.city import App, City, Quota, Tenant
from wecityctl.model.manifests import images_of
from wecityctl.model.naming import TENANT_LABEL, ZONE_LABEL
from wecityctl.model.outputs import ProvidedAddress, RouteTarget, TenantOutputs, UsedAddress, to_json
from wecityctl.model.registries import resolve_image, use_pull_secrets
from wecityctl.model.shares import share_quota

_Of = TypeVar("_Of", RouteTarget, ProvidedAddress, UsedAddress)


def run(inputs: StackInputs) -> dict[str, Any]:
    """Register the tenant's namespaces and apps on this stack's cloud, and return the stack's outputs."""
    tenant = inputs.city.tenant(inputs.stack.subject)
    scope = open_scope(inputs, "tenant", tenant.name)
    apps = [app for app in inputs.city.apps_of(tenant.name) if app.runs and _is_here(inputs, app)]
    places = {place.zone: place for place in tenant_places(inputs, tenant)}
    # Provisioning Jobs take longest and are in the capabilities' namespaces, so they are registered first.
    applications = [Application(scope, app) for app in apps]
    opened = {zone: _open_namespace(scope, tenant, place) for zone, place in places.items()}
    for application in applications:
        application.register_workloads(*opened[application.app.zone])
    scope.add_all([*deployers.clusterwide(inputs.city, tenant, [place.namespace for place in places.values()])])
    outputs = TenantOutputs(
        tenant.name,
        inputs.stack.cloud,
        tuple(place.namespace for place in places.values()),
        tuple(route for application in applications for route in application.routes),
        tuple(app.name for app in apps),
        tuple(item for application in applications for item in application.provided_addresses()),
        tuple(item for application in applications for item in application.used_addresses()),
    )
    return to_json(_as_before(outputs, inputs) if inputs.held else outputs)


def _as_before(outputs: TenantOutputs, inputs: StackInputs) -> TenantOutputs:
    """The outputs with what they had of the apps that are left as they are."""
    last, held = inputs.last, inputs.held
    before = last if isinstance(last, TenantOutputs) else replace(outputs, routes=(), apps=(), provided=(), used=())

    def merged(new: Iterable[_Of], old: Iterable[_Of]) -> tuple[_Of, ...]:
        return tuple([item for item in new if item.app not in held] + [item for item in old if item.app in held])

    return replace(
        outputs,
        routes=merged(outputs.routes, before.routes),
        apps=tuple(name for name in outputs.apps or () if name not in held or name in (before.apps or ())),
        provided=merged(outputs.provided, before.provided),
        used=merged(outputs.used, before.used),
    )


@dataclass(frozen=True)
class Place:
    """One namespace of a tenant, with its zone, its share of the quota and the apps that run in it."""

    zone: str
    namespace: str
    quota: Quota
    apps: tuple[App, ...]


def tenant_places(inputs: StackInputs, tenant: Tenant) -> Iterator[Place]:
    """Yield the tenant's namespaces on this cloud.

    Quotas are divided over all clouds first, so that the shares add up.
    """
    apps = _apps_by_place(inputs, tenant)
    for key, quota in share_quota(tenant.quota, apps).items():
        cloud, zone = _unkey(key)
        if cloud == inputs.stack.cloud:
            yield Place(zone, naming.tenant_namespace(tenant.name, zone), quota, tuple(apps[key]))


def zone_flows(city: City, cloud: str, zone: str, namespace: str) -> Iterator[Manifest]:
    """Yield network policies for declared flows that start or end in this zone and whose other end is on this cloud.

    A flow from a zone to itself only allows a use across clouds (`stacks.tenants.interconnect`); it opens nothing here.
    """
    here = set(city.cloud(cloud).zones)
    for flow in city.flows:
        if flow.source == flow.target or not {flow.source, flow.target} <= here:
            continue
        name = naming.fit(f"flow-{flow.source}-{flow.target}-{naming.digest(*map(str, flow.ports))}")
        if flow.source == zone:
            rule = network_policies.to_peer(network_policies.zone_peer(city.name, flow.target), flow.ports)
            yield network_policies.policy(namespace, naming.fit(f"{name}-out"), None, egress=[rule])
        if flow.target == zone:
            rule = network_policies.from_peer(network_policies.zone_peer(city.name, flow.source), flow.ports)
            yield network_policies.policy(namespace, naming.fit(f"{name}-in"), None, ingress=[rule])


def _is_here(inputs: StackInputs, app: App) -> bool:
    return inputs.placement.apps[(app.tenant, app.name)] == inputs.stack.cloud


def _apps_by_place(inputs: StackInputs, tenant: Tenant) -> Mapping[str, list[App]]:
    """The tenant's apps by `cloud/zone`, in order. A tenant without apps gets the first zone of its cloud."""
    found: dict[str, list[App]] = {}
    for app in inputs.city.apps_of(tenant.name):
        if app.runs:
            found.setdefault(f"{inputs.placement.apps[(tenant.name, app.name)]}/{app.zone}", []).append(app)
    if not found:
        cloud = inputs.city.cloud(inputs.stack.cloud)
        found[f"{cloud.name}/{cloud.zones[0]}"] = []
    return dict(sorted(found.items()))


def _unkey(key: str) -> tuple[str, str]:
    cloud, _, zone = key.partition("/")
    return cloud, zone


def _open_namespace(scope: Scope, tenant: Tenant, place: Place) -> tuple[KubernetesObject, Sequence[KubernetesObject]]:
    """Register a namespace; returns it, and the policies and quota that the first pod in it must wait for."""
    labels = {**tenant.labels, TENANT_LABEL: tenant.name, ZONE_LABEL: place.zone}
    annotations = {f"{naming.LABEL_PREFIX}/title": tenant.title}
    namespace = scope.add(pods.namespace(place.namespace, labels, annotations), protect=True)
    inside = scope.after(namespace)
    city = scope.inputs.city
    flows = list(zone_flows(city, scope.inputs.stack.cloud, place.zone, place.namespace))
    guardrails = [
        network_policies.default_deny(place.namespace),
        network_policies.allow_dns(place.namespace),
        *flows,
        resource_quota(place.namespace, place.quota, place.apps, flows=flows, several_clouds=len(city.clouds) > 1),
        limit_range(place.namespace),
    ]
    built = inside.add_all(guardrails)
    images = [
        resolve_image(image, scope.inputs.images, city.images.registry)
        for app in place.apps
        for image in images_of(app)
    ]
    secrets = list(pulls.secrets_for(scope.inputs, place.namespace, images))
    roles = [*admin_rbac.bindings(city, place.namespace), *observers.bindings(scope.inputs, place.namespace)]
    inside.add_all([*administration(tenant, place.namespace), *roles])
    pulled = [name for app in place.apps for name in use_pull_secrets(app, city, scope.inputs.catalogue)]
    own = sorted({*secret_names(place.apps), *pulled}) if secrets else None
    bounded = inside.add_all([*deployers.namespaced(tenant, place.namespace, own)])
    # Before the first credential deployers may read every Secret here.
    pulling = inside.after(*bounded).add_all(secrets)
    return namespace, [*built, *pulling]


def secret_names(apps: Sequence[App]) -> list[str]:
    """The names of all Secrets that these apps have, or get when a component's first secret or route is added."""
    found = {naming.binding_secret(app.name, use.alias) for app in apps for use in app.uses}
    found |= {naming.binding_secret(app.name, use.alias) for app in apps for use in app.app_uses}
    for app in apps:
        for part in app.components:
            workload = naming.component_workload(app.name, part.name)
            found |= {f"{workload}-secrets", naming.tls_secret(workload)}
        found |= {naming.tls_secret(item.name) for item in app.manifests if item.kind == "Service"}
    return sorted(found)


def administration(tenant: Tenant, namespace: str) -> Iterator[Manifest]:
    """Yield the roles of the tenant's own administrators: they may read their apps, and delete pods to restart them.

    They may not write pods, because a pod can read the Secrets that it mounts.
    """
    api_group = "rbac.authorization.k8s.io"
    yield {
        "apiVersion": f"{api_group}/v1",
        "kind": "Role",
        "metadata": {"name": "tenant-admin", "namespace": namespace},
        "rules": [
            *admin_rbac.may_read(_VISIBLE),
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["delete"]},
        ],
    }
    if tenant.admins:
        yield {
            "apiVersion": f"{api_group}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "tenant-admin", "namespace": namespace},
            "roleRef": {"apiGroup": api_group, "kind": "Role", "name": "tenant-admin"},
            "subjects": [{"apiGroup": api_group, "kind": "User", "name": admin} for admin in tenant.admins],
        }


_VISIBLE = {
    "": ["pods", "pods/log", "services", "configmaps", "events", "resourcequotas", "limitranges"],
    "apps": ["deployments", "replicasets"],
    "batch": ["jobs"],
    "autoscaling": ["horizontalpodautoscalers"],
    "networking.k8s.io": ["networkpolicies"],
    "policy": ["poddisruptionbudgets"],
}
