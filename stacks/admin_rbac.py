"""The RBAC roles of the three separate administrators (三员分立), and their bindings. Pure functions.

Write access applies only in the city's own namespaces, through a binding in each of them; cluster-wide access is
read-only. None of them may write pods, or objects that create or configure pods: that would give access to the Secrets
that pods mount. docs/reference/administrators.md explains each right.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from wecityctl.model.city import City
from wecityctl.policy.admission import FENCE, right
from wecityctl.policy.rules.role_bindings import DUTIES, group_name, inner_role_name, people, role_name

Manifest = dict[str, Any]

RBAC = "rbac.authorization.k8s.io"
_READ = ["get", "list", "watch"]
_WRITE = ["create", "update", "patch", "delete"]
# Verbs for the scale subresource, which holds nothing but the number of replicas.
_SCALE = ["get", "update", "patch"]
_WORKLOADS = {
    "": ["pods", "pods/log", "services", "configmaps", "persistentvolumeclaims"],
    "apps": ["deployments", "statefulsets", "daemonsets", "replicasets"],
    "batch": ["jobs", "cronjobs"],
    "autoscaling": ["horizontalpodautoscalers"],
}
_ROLES = ["roles", "rolebindings", "clusterroles", "clusterrolebindings"]
_ADMISSION = ["validatingadmissionpolicies", "validatingadmissionpolicybindings"]


def cluster_roles(city: City) -> Iterator[Manifest]:
    """Yield two ClusterRoles per duty: read access to the cluster, and the rights in the city's namespaces.

    Source: the separation of duties of GB/T 22239 (MLPS). No role contains another's rights.
    """
    seen: Mapping[str, list[Manifest]] = {
        "system": [{"apiGroups": [""], "resources": ["nodes", "namespaces", "persistentvolumes"], "verbs": _READ}],
        "security": [
            right(city, FENCE),
            {"apiGroups": [RBAC], "resources": _ROLES, "verbs": _READ},
            {"apiGroups": ["admissionregistration.k8s.io"], "resources": _ADMISSION, "verbs": _READ},
        ],
        "audit": [
            {"apiGroups": [""], "resources": ["namespaces"], "verbs": _READ},
            {"apiGroups": [RBAC], "resources": _ROLES, "verbs": _READ},
            {"nonResourceURLs": ["/logs", "/logs/*"], "verbs": ["get"]},
        ],
    }
    done: Mapping[str, list[Manifest]] = {
        "system": [
            *may_read(_WORKLOADS),
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["delete"]},
            {"apiGroups": [""], "resources": ["pods/eviction"], "verbs": ["create"]},
            {"apiGroups": ["apps"], "resources": ["deployments/scale", "statefulsets/scale"], "verbs": _SCALE},
        ],
        "security": [
            {"apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"], "verbs": _READ + _WRITE},
        ],
        "audit": may_read({"": ["events"], "events.k8s.io": ["events"]}),
    }
    for duty in DUTIES:
        yield cluster_role(role_name(city, duty), seen[duty])
        yield {
            "apiVersion": f"{RBAC}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": role_name(city, duty)},
            "roleRef": _reference(role_name(city, duty)),
            "subjects": _subjects(city, duty),
        }
        yield cluster_role(inner_role_name(city, duty), done[duty])


def bindings(city: City, namespace: str) -> Iterator[Manifest]:
    """Yield the role bindings of the three administrators in one of the city's namespaces."""
    for duty in DUTIES:
        yield {
            "apiVersion": f"{RBAC}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": f"{duty}-admin", "namespace": namespace},
            "roleRef": _reference(inner_role_name(city, duty)),
            "subjects": _subjects(city, duty),
        }


def may_read(resources: Mapping[str, list[str]]) -> list[Manifest]:
    """Rules for reading `resources` by API group; one rule per group, so that no other combination is granted."""
    return [{"apiGroups": [group], "resources": names, "verbs": _READ} for group, names in resources.items()]


def cluster_role(name: str, rules: list[Manifest]) -> Manifest:
    """A ClusterRole."""
    return {"apiVersion": f"{RBAC}/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules}


def _reference(name: str) -> Manifest:
    return {"apiGroup": RBAC, "kind": "ClusterRole", "name": name}


def _subjects(city: City, duty: str) -> list[Manifest]:
    """The group of the cluster's identity provider, and the users that the files name."""
    named = [{"apiGroup": RBAC, "kind": "User", "name": person} for person in people(city, duty)]
    return [{"apiGroup": RBAC, "kind": "Group", "name": group_name(city, duty)}, *named]
