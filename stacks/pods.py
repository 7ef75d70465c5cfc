"""Builds pod templates that meet the restricted Pod Security Standard, and related objects. Pure functions.

Source of the rules: the Kubernetes Pod Security Standards, level restricted. Commands are always explicit, so that an
upstream image and one built on the site behave the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import pulumi

from stacks.objects import Manifest
from wecityctl.inputs import Cluster
from wecityctl.model import naming
from wecityctl.model.naming import SIMULATED_LABEL

CONTENT_ANNOTATION = f"{naming.LABEL_PREFIX}/content"
TEMPORARY = "/tmp"  # noqa: S108 - the mount path inside a container, an emptyDir of its own

RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}


def container(
    name: str,
    image: pulumi.Input[str],
    *,
    command: Sequence[str] = (),
    args: Sequence[str] = (),
    env: Sequence[Manifest] = (),
    ports: Mapping[str, int] | None = None,
    mounts: Sequence[Manifest] = (),
    requests: Mapping[str, str],
    limits: Mapping[str, str] | None = None,
    readiness: Manifest | None = None,
    liveness: Manifest | None = None,
    startup: Manifest | None = None,
    temporary: bool = True,
    read_only_root: bool = True,
) -> Manifest:
    """A container with the restricted security context and a writable /tmp."""
    result: Manifest = {
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "resources": {"requests": dict(requests), "limits": dict(limits or {"memory": requests["memory"]})},
        "securityContext": {**RESTRICTED, "readOnlyRootFilesystem": read_only_root},
        "volumeMounts": [*([{"name": "tmp", "mountPath": TEMPORARY}] if temporary else []), *mounts],
    }
    optional: Manifest = {
        "command": list(command),
        "args": list(args),
        "env": list(env),
        "ports": [{"name": key, "containerPort": port, "protocol": "TCP"} for key, port in (ports or {}).items()],
        "readinessProbe": readiness,
        "livenessProbe": liveness,
        "startupProbe": startup,
    }
    result.update({key: value for key, value in optional.items() if value})
    return result


def pod(
    containers: Sequence[Manifest],
    *,
    cluster: Cluster | None,
    service_account: str = "",
    token: bool = False,
    init: Sequence[Manifest] = (),
    volumes: Sequence[Manifest] = (),
    user: int | None = None,
    priority_class: pulumi.Input[str] = "",
    architectures: Sequence[str] = (),
    affinity: Manifest | None = None,
    restart: str = "",
    grace_seconds: int | None = None,
) -> Manifest:
    """A pod spec. `user` is the numeric user and group of all containers and the volumes; `None`: that of the image.

    `token`: whether the containers get the token of `service_account`, for pods that talk to the API server.
    If `affinity` is given, `architectures` is ignored, because the affinity includes the architectures.
    """
    security: Manifest = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    if user is not None:
        security |= {"runAsUser": user, "runAsGroup": user, "fsGroup": user, "fsGroupChangePolicy": "OnRootMismatch"}
    spec: Manifest = {
        "automountServiceAccountToken": token,
        "enableServiceLinks": False,
        "securityContext": security,
        "containers": list(containers),
        "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "256Mi"}}, *volumes],
    }
    optional: Manifest = {
        "initContainers": list(init),
        "serviceAccountName": service_account,
        "priorityClassName": priority_class,
        "restartPolicy": restart,
        "terminationGracePeriodSeconds": grace_seconds,
        "affinity": affinity or _architecture_affinity(architectures),
        "tolerations": tolerations(cluster),
    }
    spec.update({key: value for key, value in optional.items() if value})
    return spec


def template(labels: Mapping[str, str], spec: Manifest, content: pulumi.Input[str] = "") -> Manifest:
    """A pod template. `content` is a digest of mounted ConfigMaps and Secrets, so that pods roll when they change."""
    metadata: Manifest = {"labels": dict(labels)}
    if content:
        metadata["annotations"] = {CONTENT_ANNOTATION: content}
    return {"metadata": metadata, "spec": spec}


def content_digest(values: Mapping[str, Any]) -> str:
    """A digest of content that pods mount."""
    text = "\0".join(f"{key}\0{values[key]}" for key in sorted(values))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def service(
    namespace: str,
    name: str,
    selector: Mapping[str, str],
    ports: Mapping[str, int],
    *,
    protocols: Mapping[str, str] = {},
    annotations: Mapping[str, pulumi.Input[str]] = {},
    **extra: Any,
) -> Manifest:
    """A Service with named ports that are the same as the containers'. `protocols` has the `appProtocol` of some."""
    own = {"annotations": dict(annotations)} if annotations else {}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace, **own},
        "spec": {
            "selector": dict(selector),
            "ports": [
                {"name": key, "port": port, "targetPort": key, "protocol": "TCP"}
                | ({"appProtocol": protocols[key]} if key in protocols else {})
                for key, port in ports.items()
            ],
            **extra,
        },
    }


def node_port_service(
    namespace: str, name: str, selector: Mapping[str, str], port: int, target: int | str, node_port: int
) -> Manifest:
    """A Service for clients on other clouds, on a fixed node port of the nodes that run its pods.

    The traffic policy `Local` keeps the client's address, by which network policies identify clients outside the
    cluster.
    """
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "type": "NodePort",
            "externalTrafficPolicy": "Local",
            "selector": dict(selector),
            "ports": [
                {"name": "crossing", "port": port, "targetPort": target, "nodePort": node_port, "protocol": "TCP"}
            ],
        },
    }


def volume_claim(namespace: str, name: str, storage: str, storage_class: str) -> Manifest:
    """A volume claim of access mode ReadWriteOnce."""
    spec: Manifest = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": storage}}}
    if storage_class:
        spec["storageClassName"] = storage_class
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


def config_map(namespace: str, name: str, data: Mapping[str, Any]) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
        "data": dict(data),
    }


def secret(namespace: pulumi.Input[str], name: str, data: Mapping[str, Any], kind: str = "Opaque") -> Manifest:
    """A Secret. Its values may be unknown or secret outputs."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "type": kind,
        "stringData": dict(data),
    }


def service_account(namespace: str, name: str, pull_secrets: Sequence[str] = ()) -> Manifest:
    """A ServiceAccount without a token. Pods that name no pull secrets of their own have `pull_secrets`."""
    account: Manifest = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": name, "namespace": namespace},
        "automountServiceAccountToken": False,
    }
    if pull_secrets:
        account["imagePullSecrets"] = [{"name": item} for item in pull_secrets]
    return account


def disruption_budget(namespace: str, name: str, selector: Mapping[str, str]) -> Manifest:
    """A PodDisruptionBudget that allows at most one unavailable pod."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": dict(selector)}},
    }


def namespace(name: str, labels: Mapping[str, str], annotations: Mapping[str, str] | None = None) -> Manifest:
    """A namespace with the Pod Security level restricted."""
    levels = {
        "pod-security.kubernetes.io/enforce": "restricted",
        "pod-security.kubernetes.io/warn": "restricted",
        "pod-security.kubernetes.io/audit": "restricted",
    }
    metadata: Manifest = {"name": name, "labels": {**levels, **labels}}
    if annotations:
        metadata["annotations"] = dict(annotations)
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def from_secret(variable: str, name: str, key: str) -> Manifest:
    """An environment variable whose value is one key of a Secret."""
    return {"name": variable, "valueFrom": {"secretKeyRef": {"name": name, "key": key}}}


def _architecture_affinity(architectures: Sequence[str]) -> Manifest | None:
    if not architectures:
        return None
    term = {"matchExpressions": [{"key": "kubernetes.io/arch", "operator": "In", "values": sorted(architectures)}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}


def tolerations(cluster: Cluster | None) -> list[Manifest]:
    """The tolerations of pods for the simulated nodes of an embedded cloud; none elsewhere."""
    if cluster is None or not cluster.simulated:
        return []
    return [{"key": SIMULATED_LABEL, "operator": "Exists", "effect": "NoSchedule"}]
