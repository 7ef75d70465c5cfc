"""RBAC roles for people who run `up` for one tenant only. Pure functions.

Deployers may write the objects of apps in the tenant's namespaces, and read quotas, limits and roles there. They may
neither read nor write the tenant's objects in namespaces of capabilities: a Job there can read the administrators'
passwords. RBAC cannot restrict the content of their objects; the rules `network-fences` and `tenant-deployers` do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from stacks.admin_rbac import RBAC, cluster_role, may_read
from stacks.objects import Manifest
from wecityctl.model.city import City, Tenant
from wecityctl.policy.admission import DEPLOY, GUARDED_GROUP, TENANT_RESOURCE, tenant_resource
from wecityctl.policy.rules.role_bindings import DEPLOYER_ROLE

# The objects of an app in its namespace, by API group.
WRITTEN: Mapping[str, list[str]] = {
    "": ["serviceaccounts", "services", "configmaps", "secrets", "persistentvolumeclaims"],
    "apps": ["deployments", "statefulsets"],
    "batch": ["jobs", "cronjobs"],
    "autoscaling": ["horizontalpodautoscalers"],
    "policy": ["poddisruptionbudgets"],
    "networking.k8s.io": ["networkpolicies"],
}
# Objects that limit the namespace, or that tell whether an app becomes ready.
READ: Mapping[str, list[str]] = {
    "": ["resourcequotas", "limitranges", "pods", "pods/log", "events"],
    "apps": ["replicasets"],
    "discovery.k8s.io": ["endpointslices"],
    RBAC: ["roles", "rolebindings"],
}
_WRITE = ["get", "list", "watch", "create", "update", "patch", "delete"]
_BY_NAME = ["get", "update", "patch", "delete"]


def namespaced(tenant: Tenant, namespace: str, secrets: Sequence[str] | None = None) -> Iterator[Manifest]:
    """Yield the role in one of the tenant's namespaces and its binding; nothing for a tenant without deployers.

    `secrets` are the only Secrets that the role may read and change; `None`: all. A namespace with credentials of
    registries names them, because these belong to the city.
    """
    if not tenant.deployers:
        return
    metadata = {"name": DEPLOYER_ROLE, "namespace": namespace}
    yield {
        "apiVersion": f"{RBAC}/v1",
        "kind": "Role",
        "metadata": metadata,
        "rules": [
            *_written(secrets),
            *may_read(READ),
        ],
    }
    yield _binding("RoleBinding", metadata, "Role", DEPLOYER_ROLE, tenant)


def _written(secrets: Sequence[str] | None) -> Iterator[Manifest]:
    for group, names in WRITTEN.items():
        kept = [name for name in names if secrets is None or name != "secrets"]
        yield {"apiGroups": [group], "resources": kept, "verbs": _WRITE}
    if secrets is not None:
        # A new Secret has a name that is not among these; the operator adds it.
        yield {"apiGroups": [""], "resources": ["secrets"], "resourceNames": list(secrets), "verbs": _BY_NAME}
        yield {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]}


def clusterwide(city: City, tenant: Tenant, namespaces: Sequence[str]) -> Iterator[Manifest]:
    """Yield the cluster-wide role of the tenant's deployers and its binding; nothing for a tenant without deployers.

    It allows reading the `namespaces` and the identity of the cluster.
    """
    if not tenant.deployers:
        return
    name = role_name(city.name, tenant.name)
    deploy = {
        "apiGroups": [GUARDED_GROUP],
        "resources": [TENANT_RESOURCE],
        "resourceNames": [tenant_resource(city.name, tenant.name)],
        "verbs": [DEPLOY],
    }
    # A cluster is identified by the UID of its namespace kube-system.
    seen = {
        "apiGroups": [""],
        "resources": ["namespaces"],
        "resourceNames": ["kube-system", *sorted(namespaces)],
        "verbs": ["get"],
    }
    yield cluster_role(name, [deploy, seen])
    yield _binding("ClusterRoleBinding", {"name": name}, "ClusterRole", name, tenant)


def role_name(city: str, tenant: str) -> str:
    """The name of the ClusterRole of a tenant's deployers, and of its binding."""
    return f"{city}.{tenant}.deployer"


def _binding(kind: str, metadata: Mapping[str, str], role_kind: str, role: str, tenant: Tenant) -> Manifest:
    """A binding for the tenant's deployers. The API server accepts a service account as a user of its full name too."""
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": kind,
        "metadata": dict(metadata),
        "roleRef": {"apiGroup": RBAC, "kind": role_kind, "name": role},
        "subjects": [{"apiGroup": RBAC, "kind": "User", "name": name} for name in tenant.deployers],
    }
