"""The base of a cloud that is a Kubernetes cluster: what every platform and tenant on it stands on.

It holds cluster-wide objects only: priorities, the three separate administrators (三员分立), and admission policies
that keep the zones' rules in the cluster itself. Namespaces and their network policies belong to who lives in them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from wecityctl.inputs import StackInputs
from wecityctl.model import naming
from wecityctl.model.city import City
from wecityctl.model.outputs import BaseOutputs, to_json
from wecityctl.stacks.network import ZONE_LABEL
from wecityctl.stacks.objects import Manifest, open_scope

# Platforms win over tenants when nodes run short: an app without its database is of no use.
PRIORITIES = {"platform": 100_000, "tenant": 10_000}


def run(inputs: StackInputs) -> dict[str, Any]:
    """Register the base objects and say what the cloud offers."""
    scope = open_scope(inputs, "base", inputs.stack.cloud)
    scope.add_all([*priority_classes(inputs.city), *administrators(inputs.city), *admission(inputs.city)])
    cloud = inputs.city.cloud(inputs.stack.cloud)
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
        "system-admin": [
            {"apiGroups": ["", "apps", "batch", "autoscaling"], "resources": _WORKLOADS, "verbs": read + write},
            {"apiGroups": [""], "resources": ["nodes", "namespaces", "persistentvolumes"], "verbs": read},
        ],
        "security-admin": [
            {"apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"], "verbs": read + write},
            {"apiGroups": ["rbac.authorization.k8s.io"], "resources": _ROLES, "verbs": read},
            {"apiGroups": ["admissionregistration.k8s.io"], "resources": _ADMISSION, "verbs": read},
        ],
        "audit-admin": [
            {"apiGroups": ["", "events.k8s.io"], "resources": ["events", "namespaces"], "verbs": read},
            {"apiGroups": ["rbac.authorization.k8s.io"], "resources": _ROLES, "verbs": read},
            {"nonResourceURLs": ["/logs", "/logs/*"], "verbs": ["get"]},
        ],
    }
    for role, entries in rules.items():
        name = naming.fit(f"{city.name}-{role}")
        yield {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": name},
            "rules": entries,
        }
        yield {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
            "subjects": [
                {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": f"wecity:{city.name}:{role}s"}
            ],
        }


def admission(city: City) -> Iterator[Manifest]:
    """A government extranet offers nothing to the outside: no load balancer, node port or external address."""
    zones = [zone.name for zone in city.zones if zone.kind == "government-extranet"]
    if not zones:
        return
    name = naming.fit(f"{city.name}-extranet-services")
    yield {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {
                "resourceRules": [
                    {
                        "apiGroups": [""],
                        "apiVersions": ["v1"],
                        "operations": ["CREATE", "UPDATE"],
                        "resources": ["services"],
                    }
                ]
            },
            "validations": [
                {
                    "expression": "!has(object.spec.type) || object.spec.type in ['ClusterIP', 'ExternalName']",
                    "message": "a government extranet zone has no load balancer and no node port",
                    "reason": "Forbidden",
                },
                {
                    "expression": "!has(object.spec.externalIPs) || size(object.spec.externalIPs) == 0",
                    "message": "a government extranet zone has no external address",
                    "reason": "Forbidden",
                },
            ],
        },
    }
    yield {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {
            "policyName": name,
            "validationActions": ["Deny"],
            "matchResources": {
                "namespaceSelector": {
                    "matchLabels": {f"{naming.LABEL_PREFIX}/city": city.name},
                    "matchExpressions": [{"key": ZONE_LABEL, "operator": "In", "values": zones}],
                }
            },
        },
    }


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
