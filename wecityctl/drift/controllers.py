"""Which fields of which kinds the cluster's own controllers write, by the field managers that they use. Pure.

A field manager is a name that anybody may give: what is written under a controller's name counts as the controller's
only where it is the controller's to write. Status and the numbers of `scale` are subresources and not listed here.
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


# By manager and kind; a leaf stands for all that is below it.
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
# The garbage collector and what protects objects in use work on every kind.
_OWN_OF_ANY: Final[Fields] = {"f:metadata": {"f:finalizers": {}, "f:ownerReferences": {}}, "f:status": {}}
_MANAGERS: Final = frozenset(manager for manager, _ in _OWN)
_SUBRESOURCES: Final = ("status", "scale")


def owned_in(kind: str) -> Iterator[Fields]:
    """What any controller writes in objects of a kind."""
    yield from (fields for (_, of), fields in _OWN.items() if of == kind)


def is_own(entry: Mapping[str, Any], kind: str) -> bool:
    """Whether an entry of `managedFields` is a status, or a controller's with nothing but what it writes in a kind."""
    if entry.get("subresource") == "status":
        return True
    return str(entry.get("manager")) in _MANAGERS and not beyond(entry, kind)


def beyond(entry: Mapping[str, Any], kind: str) -> Fields:
    """The fields of an entry of `managedFields` that are not some controller's own to write in an object of a kind.

    Status and numbers of replicas that were scaled never count, whoever wrote them.
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
