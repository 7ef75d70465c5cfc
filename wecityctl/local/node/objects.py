"""The API objects that a real node needs in its cluster: DNS, metrics, roles of the node's programs. Plain values."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from typing import Any

from wecityctl.model.naming import MANAGED_BY_LABEL, SIMULATED_LABEL, ZONE_LABEL

Object = dict[str, Any]

_SYSTEM = "kube-system"
_RBAC = "rbac.authorization.k8s.io"
_PLURALS = {
    "ServiceAccount": "serviceaccounts",
    "ConfigMap": "configmaps",
    "Service": "services",
    "Deployment": "deployments",
    "EndpointSlice": "endpointslices",
    "APIService": "apiservices",
    "ClusterRole": "clusterroles",
    "ClusterRoleBinding": "clusterrolebindings",
    "RoleBinding": "rolebindings",
    "StorageClass": "storageclasses",
}


def path(obj: Mapping[str, Any]) -> str:
    """The URL path of an object of this module."""
    version, metadata = obj["apiVersion"], obj["metadata"]
    prefix = f"/apis/{version}" if "/" in version else f"/api/{version}"
    namespace = f"/namespaces/{metadata['namespace']}" if "namespace" in metadata else ""
    return f"{prefix}{namespace}/{_PLURALS[obj['kind']]}/{metadata['name']}"


def _object(api_version: str, kind: str, name: str, namespace: str | None = None, **body: Any) -> Object:
    labels = {MANAGED_BY_LABEL: "wecityctl", **body.pop("labels", {})}
    metadata: Object = {"name": name, "labels": labels}
    if namespace:
        metadata["namespace"] = namespace
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **body}


def _rule(group: str, resources: list[str], verbs: list[str]) -> Object:
    return {"apiGroups": [group], "resources": resources, "verbs": verbs}


def role(name: str, subject: Object, rules: list[Object]) -> tuple[Object, Object]:
    """A ClusterRole and its binding to one subject."""
    reference = {"apiGroup": _RBAC, "kind": "ClusterRole", "name": name}
    return (
        _object(f"{_RBAC}/v1", "ClusterRole", name, rules=rules),
        _object(f"{_RBAC}/v1", "ClusterRoleBinding", name, roleRef=reference, subjects=[subject]),
    )


def user(name: str) -> Object:
    """The subject of a role binding for a user with a client certificate."""
    return {"apiGroup": _RBAC, "kind": "User", "name": name}


# Two server blocks, because within one the plug-in `template` always runs before `kubernetes`.
COREFILE = """cluster.local:53 in-addr.arpa:53 ip6.arpa:53 {
    errors
    health :8080 {
        lameduck 2s
    }
    ready :8181
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        pods insecure
        ttl 10
    }
    cache 10
    loadbalance
}
# Pods have no way out of the node: names of the world beyond do not exist, and that is said at once.
.:53 {
    errors
    template ANY ANY {
        rcode NXDOMAIN
    }
}
"""


def dns(image: str, address: str) -> tuple[Object, ...]:
    """CoreDNS as a Deployment with the cluster IP `address`."""
    watch = ["list", "watch"]
    labels = {"k8s-app": "kube-dns"}
    account = {"kind": "ServiceAccount", "name": "coredns", "namespace": _SYSTEM}
    ports = [("dns", "UDP", 53), ("dns-tcp", "TCP", 53)]
    return (
        _object("v1", "ServiceAccount", "coredns", _SYSTEM),
        *role(
            "system:coredns",
            account,
            [
                _rule("", ["endpoints", "services", "pods", "namespaces"], watch),
                _rule("discovery.k8s.io", ["endpointslices"], watch),
            ],
        ),
        _object("v1", "ConfigMap", "coredns", _SYSTEM, data={"Corefile": COREFILE}),
        _object(
            "v1",
            "Service",
            "kube-dns",
            _SYSTEM,
            labels={**labels, "kubernetes.io/cluster-service": "true"},
            spec={
                "clusterIP": address,
                "selector": labels,
                "ports": [{"name": name, "protocol": protocol, "port": port} for name, protocol, port in ports],
            },
        ),
        _object(
            "apps/v1",
            "Deployment",
            "coredns",
            _SYSTEM,
            labels=labels,
            spec={
                "replicas": 1,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": _dns_pod(image)},
            },
        ),
    )


def _dns_pod(image: str) -> Object:
    return {
        "serviceAccountName": "coredns",
        "priorityClassName": "system-cluster-critical",
        "dnsPolicy": "Default",
        "nodeSelector": {SIMULATED_LABEL: "false"},
        "tolerations": [{"key": "CriticalAddonsOnly", "operator": "Exists"}],
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "runAsGroup": 65532, "seccompProfile": _SECCOMP},
        "volumes": [{"name": "config", "configMap": {"name": "coredns"}}],
        "containers": [
            {
                "name": "coredns",
                "image": image,
                "imagePullPolicy": "IfNotPresent",
                "args": ["-conf", "/etc/coredns/Corefile"],
                "resources": {"requests": {"cpu": "20m", "memory": "32Mi"}, "limits": {"memory": "170Mi"}},
                "ports": [
                    {"name": "dns", "containerPort": 53, "protocol": "UDP"},
                    {"name": "dns-tcp", "containerPort": 53, "protocol": "TCP"},
                ],
                "volumeMounts": [{"name": "config", "mountPath": "/etc/coredns", "readOnly": True}],
                "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}, "periodSeconds": 1},
                "livenessProbe": {
                    "httpGet": {"path": "/health", "port": 8080},
                    "initialDelaySeconds": 30,
                    "timeoutSeconds": 5,
                    "failureThreshold": 5,
                },
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
            }
        ],
    }


_SECCOMP = {"type": "RuntimeDefault"}


def metrics(address: str, port: int, ca: bytes) -> tuple[Object, ...]:
    """The resource metrics API, served by a process of the node at `address`:`port`."""
    name, subject, read = "metrics-server", user("system:metrics-server"), ["get", "list", "watch"]
    auth = "extension-apiserver-authentication-reader"
    return (
        *role(
            "system:metrics-server",
            subject,
            [_rule("", ["nodes/metrics"], ["get"]), _rule("", ["pods", "nodes"], read)],
        ),
        _object(
            f"{_RBAC}/v1",
            "ClusterRoleBinding",
            "metrics-server:system:auth-delegator",
            roleRef={"apiGroup": _RBAC, "kind": "ClusterRole", "name": "system:auth-delegator"},
            subjects=[subject],
        ),
        _object(
            f"{_RBAC}/v1",
            "RoleBinding",
            "metrics-server-auth-reader",
            _SYSTEM,
            roleRef={"apiGroup": _RBAC, "kind": "Role", "name": auth},
            subjects=[subject],
        ),
        *role(
            "wecity:aggregated-metrics-reader",
            {"apiGroup": _RBAC, "kind": "Group", "name": "system:wecity-metrics-readers"},
            [_rule("metrics.k8s.io", ["pods", "nodes"], ["get", "list", "watch"])],
        ),
        _object("v1", "Service", name, _SYSTEM, spec={"ports": [{"name": "https", "port": 443, "targetPort": port}]}),
        _object(
            "discovery.k8s.io/v1",
            "EndpointSlice",
            name,
            _SYSTEM,
            labels={"kubernetes.io/service-name": name, "endpointslice.kubernetes.io/managed-by": "wecityctl"},
            addressType="IPv4",
            endpoints=[{"addresses": [address], "conditions": {"ready": True}}],
            ports=[{"name": "https", "port": port, "protocol": "TCP"}],
        ),
        _object(
            "apiregistration.k8s.io/v1",
            "APIService",
            "v1beta1.metrics.k8s.io",
            spec={
                "group": "metrics.k8s.io",
                "version": "v1beta1",
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
                "caBundle": base64.b64encode(ca).decode(),
                "service": {"namespace": _SYSTEM, "name": name, "port": 443},
            },
        ),
    )


def policy_agent() -> tuple[Object, ...]:
    """The role of the NetworkPolicy agent and its binding."""
    return role(
        "system:wecity-netpol",
        user("system:wecity-netpol"),
        [
            _rule("", ["pods", "namespaces", "nodes"], ["get", "list", "watch"]),
            _rule("networking.k8s.io", ["networkpolicies"], ["get", "list", "watch"]),
        ],
    )


def node_labels(zones: Iterable[str], existing: Mapping[str, str]) -> dict[str, str | None]:
    """A merge patch for the node's labels: sets all `zones`, and removes those that are no longer in the city."""
    wanted = {f"{ZONE_LABEL}.{zone}": "true" for zone in zones} | {SIMULATED_LABEL: "false"}
    gone = {key: None for key in existing if key.startswith(f"{ZONE_LABEL}.") and key not in wanted}
    return {**gone, **wanted}
