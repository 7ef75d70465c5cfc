"""The fields that the cluster's own controllers write, by kind and field manager. Pure.

Anybody can use a controller's name as field manager. So fields under that name count as the controller's only if they
are in this table. The status and scale subresources are not listed here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from wecityctl.drift import fieldset
from wecityctl.drift.fieldset import Fields
from wecityctl.model.vendors import vendors

_MANAGER, _SCHEDULER = "kube-controller-manager", "kube-scheduler"


def _annotations(*names: str) -> dict[str, Any]:
    return {"f:metadata": {"f:annotations": {f"f:{name}": {} for name in names}}}


def _labels(*names: str) -> dict[str, Any]:
    return {"f:metadata": {"f:labels": {f"f:{name}": {} for name in names}}}


# By manager and kind; a leaf includes everything below it.
_OWN: Final[Mapping[tuple[str, str], Fields]] = {
    (_MANAGER, "Deployment"): _annotations("deployment.kubernetes.io/revision"),
    (_MANAGER, "PersistentVolumeClaim"): {
        **_annotations(
            "pv.kubernetes.io/bind-completed",
            "pv.kubernetes.io/bound-by-controller",
            "volume.beta.kubernetes.io/storage-provisioner",
            "volume.kubernetes.io/storage-provisioner",
        ),
        "f:spec": {"f:volumeName": {}},
    },
    (_MANAGER, "PersistentVolume"): {
        **_annotations("pv.kubernetes.io/bound-by-controller", "pv.kubernetes.io/provisioned-by"),
        "f:spec": {"f:claimRef": {}},
    },
    (_MANAGER, "ServiceAccount"): {"f:secrets": {}},
    (_MANAGER, "Namespace"): {"f:spec": {"f:finalizers": {}}},
    # The token of a service account, in a Secret of that type.
    (_MANAGER, "Secret"): {
        **_annotations("kubernetes.io/service-account.uid"),
        "f:data": {"f:ca.crt": {}, "f:namespace": {}, "f:token": {}},
    },
    (_MANAGER, "Node"): {
        **_annotations("node.alpha.kubernetes.io/ttl", "volumes.kubernetes.io/controller-managed-attach-detach"),
        "f:spec": {"f:podCIDR": {}, "f:podCIDRs": {}, "f:taints": {}, "f:providerID": {}},
    },
    (_SCHEDULER, "Pod"): {"f:spec": {"f:nodeName": {}}},
    (_SCHEDULER, "PersistentVolumeClaim"): _annotations("volume.kubernetes.io/selected-node"),
    ("kube-apiserver", "Secret"): _labels("kubernetes.io/legacy-token-last-used"),
    ("kube-apiserver", "CustomResourceDefinition"): {"f:status": {}},
    ("cloud-controller-manager", "Service"): _labels(
        "service.beta.kubernetes.io/hash",
        *(label for vendor in vendors().values() for label in vendor.balancers.controller_labels),
    ),
    ("cloud-controller-manager", "Node"): {
        "f:metadata": {"f:labels": {}},
        "f:spec": {"f:providerID": {}, "f:taints": {}, "f:podCIDR": {}, "f:podCIDRs": {}},
    },
    ("kubelet", "Node"): {"f:metadata": {"f:annotations": {}, "f:labels": {}}, "f:spec": {}},
    ("kwok", "Node"): {"f:metadata": {"f:annotations": {}, "f:labels": {}}, "f:spec": {}},
    ("kwok", "Pod"): {"f:spec": {"f:nodeName": {}}},
}
# The garbage collector and the protection of objects in use write to every kind.
_OWN_OF_ANY: Final[Fields] = {"f:metadata": {"f:finalizers": {}, "f:ownerReferences": {}}, "f:status": {}}
_MANAGERS: Final = frozenset(manager for manager, _ in _OWN)
_SUBRESOURCES: Final = ("status", "scale")


def owned_in(kind: str) -> Iterator[Fields]:
    """The fields that each controller writes in objects of a kind."""
    yield from (fields for (_, of), fields in _OWN.items() if of == kind)


def is_own(entry: Mapping[str, Any], kind: str) -> bool:
    """Whether an entry of `managedFields` is a status, or a controller's with nothing but fields of this table."""
    if entry.get("subresource") == "status":
        return True
    return str(entry.get("manager")) in _MANAGERS and not beyond(entry, kind)


def beyond(entry: Mapping[str, Any], kind: str) -> Fields:
    """The fields of an entry of `managedFields` that no controller writes in objects of that kind.

    Status and scaled replica counts never count, whoever wrote them.
    """
    if entry.get("subresource") in _SUBRESOURCES:
        return {}
    fields: Fields = entry.get("fieldsV1") or {}
    manager = str(entry.get("manager"))
    if manager not in _MANAGERS:
        return fields
    for own in (_OWN.get((manager, kind), {}), _OWN_OF_ANY):
        fields = fieldset.less(fields, own)
    return fields
