"""The kinds that are searched for undeclared objects, as the API server lists them. `model` selects the kinds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from wecityctl.kube.resource import ResourceType
from wecityctl.model.kinds import is_traffic

RBAC: Final = "rbac.authorization.k8s.io"
_ADMISSION, _NETWORKING = "admissionregistration.k8s.io", "networking.k8s.io"
NAMESPACE: Final = ResourceType("", "v1", "Namespace", "namespaces", False)
BINDING: Final = ResourceType(RBAC, "v1", "ClusterRoleBinding", "clusterrolebindings", False)
ROLE: Final = ResourceType(RBAC, "v1", "ClusterRole", "clusterroles", False)
_POLICY: Final = ResourceType(_ADMISSION, "v1", "ValidatingAdmissionPolicy", "validatingadmissionpolicies", False)
_POLICY_BINDING: Final = ResourceType(
    _ADMISSION, "v1", "ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings", False
)
ENDPOINTS: Final = ResourceType("", "v1", "Endpoints", "endpoints", True)
ENDPOINT_SLICE: Final = ResourceType("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", True)
POD: Final = ResourceType("", "v1", "Pod", "pods", True)
SERVICE: Final = ResourceType("", "v1", "Service", "services", True)
STATEFUL: Final = ResourceType("apps", "v1", "StatefulSet", "statefulsets", True)
# Kinds that grant rights, or open or restrict access.
SECURITY: Final = (
    ResourceType(_NETWORKING, "v1", "NetworkPolicy", "networkpolicies", True),
    ResourceType(RBAC, "v1", "Role", "roles", True),
    ResourceType(RBAC, "v1", "RoleBinding", "rolebindings", True),
    BINDING,
    ROLE,
    _POLICY,
    _POLICY_BINDING,
    ResourceType("", "v1", "ResourceQuota", "resourcequotas", True),
    ResourceType("", "v1", "LimitRange", "limitranges", True),
)
# Of these kinds, only objects with the city's label are read.
LABELLED: Final = (ROLE, _POLICY)
_WEBHOOKS: Final = (
    ResourceType(_ADMISSION, "v1", "ValidatingWebhookConfiguration", "validatingwebhookconfigurations", False),
    ResourceType(_ADMISSION, "v1", "MutatingWebhookConfiguration", "mutatingwebhookconfigurations", False),
)
_PLAIN: Final = (
    POD,
    ResourceType("", "v1", "PodTemplate", "podtemplates", True),
    ResourceType("", "v1", "ReplicationController", "replicationcontrollers", True),
    ResourceType("apps", "v1", "ReplicaSet", "replicasets", True),
    ResourceType("apps", "v1", "Deployment", "deployments", True),
    STATEFUL,
    ResourceType("apps", "v1", "DaemonSet", "daemonsets", True),
    ResourceType("batch", "v1", "Job", "jobs", True),
    ResourceType("batch", "v1", "CronJob", "cronjobs", True),
    ResourceType("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", True),
    ResourceType("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", True),
    SERVICE,
    ENDPOINTS,
    ENDPOINT_SLICE,
    ResourceType(_NETWORKING, "v1", "Ingress", "ingresses", True),
    ResourceType("", "v1", "ServiceAccount", "serviceaccounts", True),
    ResourceType("", "v1", "ConfigMap", "configmaps", True),
    ResourceType("", "v1", "Secret", "secrets", True),
    ResourceType("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", True),
)
ALL: Final = (*SECURITY, *_WEBHOOKS, *_PLAIN)
# Not requested from an API server that does not serve them.
_SOMETIMES: Final = frozenset({(_ADMISSION, "MutatingAdmissionPolicyBinding")})
# Kinds whose metadata does not tell whether an object affects the city.
_WHOLE: Final = frozenset({(rt.group, rt.kind) for rt in (BINDING, _POLICY_BINDING, *_WEBHOOKS)} | _SOMETIMES)


def is_whole(rt: ResourceType) -> bool:
    """Whether objects of the kind are read completely: their metadata does not tell whether they affect a city."""
    return (rt.group, rt.kind) in _WHOLE


def extensions(served: Iterable[ResourceType]) -> tuple[ResourceType, ...]:
    """The optional kinds that an API server serves, each in the first version that it lists."""
    found: dict[tuple[str, str], ResourceType] = {}
    for rt in served:
        key = (rt.group, rt.kind)
        if (is_traffic(*key) or key in _SOMETIMES) and "list" in rt.verbs and key not in found:
            found[key] = rt
    return tuple(found.values())
