"""The rights of those who run `up` for one tenant: what its apps consist of, and no more. Pure functions.

They write what an app is made of, in the tenant's namespaces, and read there what bounds these: quotas, limits, roles.
What the tenant's stack has in the namespaces of capabilities they neither write nor read: whoever writes a Job there
reads the administrators' passwords. What their objects may contain RBAC cannot say; the rules `network-fences` and
`tenant-deployers` do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from stacks.admin_rbac import RBAC, cluster_role, may_read
from stacks.objects import Manifest
from wecityctl.model.city import City, Tenant
from wecityctl.policy.admission import DEPLOY, GUARDED_GROUP, TENANT_RESOURCE, tenant_resource
from wecityctl.policy.rules.role_bindings import DEPLOYER_ROLE

# What an app consists of in its namespace, by API group.
WRITTEN: Mapping[str, list[str]] = {
    "": ["serviceaccounts", "services", "configmaps", "secrets"],
    "apps": ["deployments"],
    "autoscaling": ["horizontalpodautoscalers"],
    "policy": ["poddisruptionbudgets"],
    "networking.k8s.io": ["networkpolicies"],
}
# What bounds the namespace, and what tells whether an app becomes ready.
READ: Mapping[str, list[str]] = {
    "": ["resourcequotas", "limitranges", "pods", "pods/log", "events"],
    "apps": ["replicasets"],
    "discovery.k8s.io": ["endpointslices"],
    RBAC: ["roles", "rolebindings"],
}
_WRITE = ["get", "list", "watch", "create", "update", "patch", "delete"]


def namespaced(tenant: Tenant, namespace: str) -> Iterator[Manifest]:
    """The role in one of the tenant's namespaces and its binding; nothing for a tenant without deployers."""
    if not tenant.deployers:
        return
    metadata = {"name": DEPLOYER_ROLE, "namespace": namespace}
    yield {
        "apiVersion": f"{RBAC}/v1",
        "kind": "Role",
        "metadata": metadata,
        "rules": [
            *({"apiGroups": [group], "resources": names, "verbs": _WRITE} for group, names in WRITTEN.items()),
            *may_read(READ),
        ],
    }
    yield _binding("RoleBinding", metadata, "Role", DEPLOYER_ROLE, tenant)


def clusterwide(city: City, tenant: Tenant, namespaces: Sequence[str]) -> Iterator[Manifest]:
    """The right to be the tenant's deployer, and to see its `namespaces` and which cluster this is; nothing for a
    tenant without deployers."""
    if not tenant.deployers:
        return
    name = role_name(city.name, tenant.name)
    deploy = {
        "apiGroups": [GUARDED_GROUP],
        "resources": [TENANT_RESOURCE],
        "resourceNames": [tenant_resource(city.name, tenant.name)],
        "verbs": [DEPLOY],
    }
    # A cluster is known by the UID of its kube-system.
    seen = {
        "apiGroups": [""],
        "resources": ["namespaces"],
        "resourceNames": ["kube-system", *sorted(namespaces)],
        "verbs": ["get"],
    }
    yield cluster_role(name, [deploy, seen])
    yield _binding("ClusterRoleBinding", {"name": name}, "ClusterRole", name, tenant)


def role_name(city: str, tenant: str) -> str:
    """The ClusterRole of a tenant's deployers, and its binding."""
    return f"{city}.{tenant}.deployer"


def _binding(kind: str, metadata: Mapping[str, str], role_kind: str, role: str, tenant: Tenant) -> Manifest:
    """A binding of the tenant's deployers. To the API server a service account is a user of that name, too."""
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": kind,
        "metadata": dict(metadata),
        "roleRef": {"apiGroup": RBAC, "kind": role_kind, "name": role},
        "subjects": [{"apiGroup": RBAC, "kind": "User", "name": name} for name in tenant.deployers],
    }
