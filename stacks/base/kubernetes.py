"""The base of a cloud that is a Kubernetes cluster: what every platform and tenant on it stands on.

It holds cluster-wide objects only: priorities, the three separate administrators (三员分立), and the admission policies
of the red lines, which are the rules' own. Namespaces and their network policies belong to who lives in them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from wecityctl.inputs import StackInputs
from wecityctl.model import naming
from wecityctl.model.city import City
from wecityctl.model.outputs import BaseOutputs, to_json
from wecityctl.policy.admission import FENCE, MANAGE, held_by, right
from wecityctl.policy.rules import RULES
from wecityctl.policy.rules.role_bindings import group_name, people, role_name
from wecityctl.stacks.objects import Manifest, open_scope

# Platforms win over tenants when nodes run short: an app without its database is of no use.
PRIORITIES = {"platform": 100_000, "tenant": 10_000}


def run(inputs: StackInputs) -> dict[str, Any]:
    """Register the base objects and say what the cloud offers."""
    scope = open_scope(inputs, "base", inputs.stack.cloud)
    city = inputs.city
    fixed = [*priority_classes(city), *administrators(city), *manager(city)]
    scope.add_all([*fixed, *admission(city, inputs.images)])
    cloud = city.cloud(inputs.stack.cloud)
    cluster = inputs.cluster
    return to_json(
        BaseOutputs(
            cloud=cloud.name,
            provider=cloud.provider,
            zones=cloud.zones,
            storage_class=cluster.storage_class if cluster else cloud.kubernetes.storage_class,
            ingress_class=cluster.ingress_class if cluster else cloud.kubernetes.ingress_class,
            simulated=cluster.simulated if cluster else cloud.local.nodes == "simulated",
        )
    )


def priority_class(city: str, kind: str) -> str:
    """The name of a city's priority class for `platform` or `tenant` pods."""
    return naming.fit(f"{city}-{kind}")


def priority_classes(city: City) -> Iterator[Manifest]:
    """One priority class for platforms and one for tenants."""
    for kind, value in PRIORITIES.items():
        yield {
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": priority_class(city.name, kind)},
            "value": value,
            "globalDefault": False,
            "description": f"Pods of the {kind}s of {city.name}.",
        }


def administrators(city: City) -> Iterator[Manifest]:
    """System, security and audit administrators as separate roles, bound to groups of the cluster's sign-in.

    Source: the separation of duties of GB/T 22239 (MLPS). No role contains another's rights.
    """
    read = ["get", "list", "watch"]
    write = ["create", "update", "patch", "delete"]
    rules: dict[str, list[Manifest]] = {
        "system": [
            {"apiGroups": ["", "apps", "batch", "autoscaling"], "resources": _WORKLOADS, "verbs": read + write},
            {"apiGroups": [""], "resources": ["nodes", "namespaces", "persistentvolumes"], "verbs": read},
        ],
        "security": [
            right(city, FENCE),
            {"apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"], "verbs": read + write},
            {"apiGroups": ["rbac.authorization.k8s.io"], "resources": _ROLES, "verbs": read},
            {"apiGroups": ["admissionregistration.k8s.io"], "resources": _ADMISSION, "verbs": read},
        ],
        "audit": [
            {"apiGroups": ["", "events.k8s.io"], "resources": ["events", "namespaces"], "verbs": read},
            {"apiGroups": ["rbac.authorization.k8s.io"], "resources": _ROLES, "verbs": read},
            {"nonResourceURLs": ["/logs", "/logs/*"], "verbs": ["get"]},
        ],
    }
    for duty, entries in rules.items():
        yield _cluster_role(role_name(city, duty), entries)
        named = [{"apiGroup": _RBAC, "kind": "User", "name": person} for person in people(city, duty)]
        yield {
            "apiVersion": f"{_RBAC}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": role_name(city, duty)},
            "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": role_name(city, duty)},
            "subjects": [{"apiGroup": _RBAC, "kind": "Group", "name": group_name(city, duty)}, *named],
        }


def manager(city: City) -> Iterator[Manifest]:
    """The right to manage the city, for whoever runs `wecityctl up` without being an administrator of the cluster.

    Nobody is bound to it here: who that is, the cluster's owner decides.
    """
    yield _cluster_role(naming.fit(f"{city.name}-manager"), [right(city, MANAGE, FENCE)])


def _cluster_role(name: str, rules: list[Manifest]) -> Manifest:
    return {"apiVersion": f"{_RBAC}/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules}


def admission(city: City, images: Mapping[str, str]) -> Iterator[Manifest]:
    """The admission policies of every red line that a cluster can hold by itself."""
    for rule in RULES:
        yield from held_by(rule, city, images)


_RBAC = "rbac.authorization.k8s.io"
_WORKLOADS = [
    "pods",
    "pods/log",
    "services",
    "configmaps",
    "persistentvolumeclaims",
    "deployments",
    "statefulsets",
    "daemonsets",
    "replicasets",
    "jobs",
    "cronjobs",
    "horizontalpodautoscalers",
]
_ROLES = ["roles", "rolebindings", "clusterroles", "clusterrolebindings"]
_ADMISSION = ["validatingadmissionpolicies", "validatingadmissionpolicybindings"]
