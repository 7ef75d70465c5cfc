"""Decides which changes need a replacement because the API server does not allow them on an existing object.

Tables per kind and rules over them. Pure; `replacement_probe` asks the API server.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from wecityctl.provider.diffing import Difference
from wecityctl.provider.kinds import Kind
from wecityctl.provider.paths import Path, meets, parse
from wecityctl.provider.settings import Settings

_IDENTITY: Final = ("kind", "metadata.name", "metadata.namespace")

# ruff: noqa: SIM905 - lists of words read better as words
_POD: Final = (
    "spec.affinity spec.automountServiceAccountToken spec.dnsConfig spec.dnsPolicy spec.enableServiceLinks "
    "spec.hostAliases spec.hostIPC spec.hostNetwork spec.hostPID spec.hostname spec.imagePullSecrets spec.nodeName "
    "spec.nodeSelector spec.overhead spec.preemptionPolicy spec.priority spec.priorityClassName spec.readinessGates "
    "spec.restartPolicy spec.runtimeClassName spec.schedulerName spec.securityContext spec.serviceAccount "
    "spec.serviceAccountName spec.shareProcessNamespace spec.subdomain spec.terminationGracePeriodSeconds spec.volumes"
).split()
_CONTAINER: Final = (
    "args command env envFrom image imagePullPolicy lifecycle livenessProbe name ports readinessProbe resources "
    "restartPolicy securityContext startupProbe stdin stdinOnce terminationMessagePath terminationMessagePolicy tty "
    "volumeDevices volumeMounts workingDir"
).split()
_CONTAINERS: Final = [f"spec.{where}[*].{what}" for where in ("containers", "initContainers") for what in _CONTAINER]
_VOLUME_SOURCES: Final = (
    "awsElasticBlockStore azureDisk azureFile cephfs cinder csi fc flexVolume flocker gcePersistentDisk glusterfs "
    "hostPath iscsi local nfs photonPersistentDisk portworxVolume quobyte rbd scaleIO storageos vsphereVolume"
).split()

_TABLE: Final[Mapping[tuple[str, str], Sequence[str]]] = {
    ("", "ConfigMap"): ("data", "binaryData"),
    ("", "PersistentVolume"): [f"spec.{source}" for source in _VOLUME_SOURCES],
    ("", "PersistentVolumeClaim"): ("spec",),
    ("", "Pod"): (*_POD, *_CONTAINERS),
    ("", "ResourceQuota"): ("spec.scopes",),
    ("", "Secret"): ("type", "data", "stringData"),
    ("", "Service"): ("spec.clusterIP",),
    ("apiextensions.k8s.io", "CustomResourceDefinition"): (
        "spec.group",
        "spec.names.kind",
        "spec.names.plural",
        "spec.scope",
    ),
    ("apps", "DaemonSet"): ("spec.selector",),
    ("apps", "Deployment"): ("spec.selector",),
    ("apps", "ReplicaSet"): ("spec.selector",),
    ("apps", "StatefulSet"): (
        "spec.podManagementPolicy",
        "spec.selector",
        "spec.serviceName",
        "spec.volumeClaimTemplates",
    ),
    ("batch", "Job"): ("spec.completions", "spec.selector", "spec.template"),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): ("roleRef",),
    ("rbac.authorization.k8s.io", "RoleBinding"): ("roleRef",),
    ("scheduling.k8s.io", "PriorityClass"): ("value", "preemptionPolicy"),
    ("storage.k8s.io", "StorageClass"): (
        "parameters",
        "provisioner",
        "reclaimPolicy",
        "volumeBindingMode",
    ),
}

# A PersistentVolumeClaim may grow and may change its attributes class.
_MUTABLE: Final[Mapping[tuple[str, str], Sequence[str]]] = {
    ("", "PersistentVolumeClaim"): ("spec.resources", "spec.volumeAttributesClassName"),
}

# With `immutable: true`, neither their content nor that field itself can change.
_FREEZABLE: Final = frozenset({("", "ConfigMap"), ("", "Secret")})

# Kinds whose immutable fields the table lists completely: the API server need not be asked.
FULLY_KNOWN: Final = frozenset(
    {
        ("", "ConfigMap"),
        ("", "Namespace"),
        ("", "Secret"),
        ("", "ServiceAccount"),
        ("rbac.authorization.k8s.io", "ClusterRole"),
        ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
        ("rbac.authorization.k8s.io", "Role"),
        ("rbac.authorization.k8s.io", "RoleBinding"),
    }
)


# Kinds that hold other objects or data, which a replacement under the same name would delete.
_HOLDING: Final = frozenset(
    {
        ("", "Namespace"),
        ("", "PersistentVolume"),
        ("", "PersistentVolumeClaim"),
        ("apiextensions.k8s.io", "CustomResourceDefinition"),
    }
)


def holds_data(kind: Kind, *objects: Mapping[str, Any]) -> bool:
    """Whether deleting an object of that kind may delete data with it. `objects`: its inputs or recorded state."""
    if (kind.group, kind.name) == ("apps", "StatefulSet"):
        specs = [obj.get("spec") for obj in objects]
        return any(isinstance(spec, Mapping) and bool(spec.get("volumeClaimTemplates")) for spec in specs)
    return (kind.group, kind.name) in _HOLDING


def immutable(kind: Kind, settings: Settings, old: Mapping[str, Any]) -> list[Path]:
    """Patterns of the fields of this kind that cannot change; `old` are the object's old inputs."""
    key = (kind.group, kind.name)
    mutable = {("", "ConfigMap"): settings.config_map_mutable, ("", "Secret"): settings.secret_mutable}.get(key, False)
    frozen = key in _FREEZABLE and old.get("immutable") is True
    if mutable and not frozen:
        # The API server never allows a change of a Secret's type.
        return _parsed((*_IDENTITY, *(["type"] if kind.name == "Secret" else [])))
    return _parsed((*_IDENTITY, *_TABLE.get(key, ()), *(["immutable"] if frozen else [])))


def forcing(differences: Iterable[Difference], patterns: Sequence[Path], kind: Kind) -> list[Difference]:
    """The differences that touch an immutable field."""
    return unless_mutable((d for d in differences if any(meets(pattern, d.path) for pattern in patterns)), kind)


def unless_mutable(differences: Iterable[Difference], kind: Kind) -> list[Difference]:
    """The differences without those in fields that can change on the live object or do not change at all.

    A volume whose requested size shrinks stays as it is, and the API server's refusal is reported: a replacement would
    be an empty volume.
    """
    mutable = _parsed(_MUTABLE.get((kind.group, kind.name), ()))
    return [d for d in differences if not any(meets(pattern, d.path) for pattern in mutable)]


def touched(differences: Sequence[Difference], fields: Sequence[str]) -> list[Difference]:
    """The differences at, above or below the fields that the API server refused to change.

    If its answer names none of those fields, it is about the whole object, and all differences are returned.
    """
    patterns = [parse(field) for field in fields if field]
    found = [d for d in differences if any(meets(pattern, d.path) for pattern in patterns)]
    return found or list(differences)


def _parsed(texts: Iterable[str]) -> list[Path]:
    return [parse(text) for text in texts]
