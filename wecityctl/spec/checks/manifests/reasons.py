"""Why manifests may not say some things: the reasons of messages, and the kinds that are refused with one."""

from __future__ import annotations

from collections.abc import Mapping

RIGHTS = "rights are the city's: a tenant's people and deployers are named in its Tenant"
FENCES = "traffic is opened by `uses` of the App and `flows` of the City, and by nothing else"
BOUNDS = "what bounds a tenant is in its Tenant, under `quota`"
WIDE = "it belongs to the whole cluster, not to an app"
DATA = "data outlives its app: `volumes` of a component, or a capability under `uses`"
WAY_IN = "apps are reached by their `route` alone"
PODS = "write a Deployment, a StatefulSet or a Job, which replaces pods that are lost"
ONE_ACCOUNT = "an app has one account, which has no rights and whose token no pod is given"
ON_EACH_NODE = "a pod on each node is the city's, not an app's"
STAGE = "the app's stage suspends it"
PRIORITY = "pods have the priority of tenants' apps"
ACCOUNT = "pods have the app's account, which has no rights"
NODES = "`zone`, `cloud` and `placement` of the App say where pods run"
HOST = "pods have nothing of their node"
SECRETS = "values of secrets are in no file: `secrets` of a component, or a binding under `uses`"
REFUSED_KINDS: Mapping[str, str] = {
    **dict.fromkeys(("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"), RIGHTS),
    "ServiceAccount": ONE_ACCOUNT,
    "NetworkPolicy": FENCES,
    **dict.fromkeys(("ResourceQuota", "LimitRange"), BOUNDS),
    **dict.fromkeys(
        (
            *("Namespace", "Node", "CustomResourceDefinition", "PriorityClass", "StorageClass", "PersistentVolume"),
            *("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration", "APIService", "RuntimeClass"),
            *("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "MutatingAdmissionPolicy", "CSIDriver"),
        ),
        WIDE,
    ),
    "PersistentVolumeClaim": DATA,
    **dict.fromkeys(("Ingress", "Gateway", "HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute"), WAY_IN),
    **dict.fromkeys(("Endpoints", "EndpointSlice"), "they would lead a Service's traffic to any address"),
    **dict.fromkeys(("Pod", "ReplicaSet", "ReplicationController"), PODS),
    "DaemonSet": ON_EACH_NODE,
    "Secret": SECRETS,
    "List": "write its items as documents of the file, with --- between them",
}
# The same reasons where they are said of a platform.
OF_PLATFORMS: Mapping[str, str] = {
    RIGHTS: "rights are the city's",
    FENCES: "pods of a platform's manifests reach each other and nothing else",
    BOUNDS: "a platform is bounded by its clouds",
    WIDE: "it belongs to the whole cluster, not to a platform",
    DATA: "data belongs to a capability",
    WAY_IN: "nothing outside reaches a platform but its capabilities",
    SECRETS: "values of secrets are in no file, and a platform's manifests are given none",
    ONE_ACCOUNT: "pods have an account without rights, whose token they are not given",
    ON_EACH_NODE: "a pod on each node is the city's, not a platform's",
    STAGE: "what a platform has runs",
    PRIORITY: "pods have the priority of platforms",
    ACCOUNT: "pods have an account without rights",
    NODES: "pods run where the first capability in their namespace does",
}
