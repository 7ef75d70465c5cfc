"""Decides what to do with claims and volumes, and builds volumes for claims. Pure functions over API objects."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from wecityctl.model.naming import MANAGED_BY_LABEL, SIMULATED_LABEL

Object = dict[str, Any]

PROVISIONER = "wecity.dev/local"
STORAGE_CLASS = "wecity-local"
STORAGE_CLASS_RETAIN = "wecity-local-retain"
FINALIZER = "wecity.dev/local-volume"

_ASKED_OF = "volume.kubernetes.io/storage-provisioner"
_ASKED_OF_BETA = "volume.beta.kubernetes.io/storage-provisioner"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
_PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
_HOSTNAME = "kubernetes.io/hostname"
_BINARY = {suffix: Decimal(2) ** (10 * power) for power, suffix in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)}
_DECIMAL = {suffix: Decimal(10) ** (3 * power) for power, suffix in enumerate(("k", "M", "G", "T", "P", "E"), 1)}
_UNITS = {**_BINARY, **_DECIMAL, "m": Decimal("0.001")}


def quantity(text: str) -> Decimal:
    """A Kubernetes quantity as a number of bytes."""
    for suffix, factor in _UNITS.items():
        if text.endswith(suffix):
            return Decimal(text.removesuffix(suffix)) * factor
    return Decimal(text)


def _annotations(obj: Mapping[str, Any]) -> Mapping[str, str]:
    found: Mapping[str, str] = obj["metadata"].get("annotations") or {}
    return found


def is_ours(claim: Object) -> bool:
    """Whether the claim is to be provisioned by this provisioner."""
    annotations = _annotations(claim)
    return PROVISIONER in (annotations.get(_ASKED_OF), annotations.get(_ASKED_OF_BETA))


def made_by_us(volume: Object) -> bool:
    """Whether the volume was created by this provisioner."""
    return _annotations(volume).get(_PROVISIONED_BY) == PROVISIONER


def wants_volume(claim: Object) -> bool:
    """Whether the claim has no volume yet and may get one."""
    return (
        is_ours(claim)
        and not claim["metadata"].get("deletionTimestamp")
        and not claim["spec"].get("volumeName")
        and claim.get("status", {}).get("phase", "Pending") == "Pending"
    )


def selected_node(claim: Object) -> str:
    """The node that the scheduler chose for the claim's first pod; empty if it has not chosen yet."""
    return _annotations(claim).get(SELECTED_NODE, "")


def refusal(claim: Object) -> str:
    """Why the claim cannot be provisioned, as the message of an event; empty if it can."""
    spec = claim["spec"]
    if spec.get("volumeMode", "Filesystem") != "Filesystem":
        return f"volumeMode {spec['volumeMode']} is not offered: volumes are directories"
    if spec.get("selector"):
        return "a selector cannot be honoured by a class that makes volumes on demand"
    if spec.get("dataSource") or spec.get("dataSourceRef"):
        return "snapshots and clones are not offered"
    return ""


def is_simulated(node: Object) -> bool:
    """Whether the node is simulated."""
    labels: Mapping[str, str] = node["metadata"].get("labels") or {}
    return labels.get(SIMULATED_LABEL) == "true"


def volume_name(claim: Object) -> str:
    """The name of a claim's volume. It depends on the claim only, so that a retry finds an existing volume."""
    return f"pvc-{claim['metadata']['uid']}"


def build(claim: Object, storage_class: Object, node: Object, inside: str) -> Object:
    """The volume for a claim on a node. `inside` is the directory of volumes as the node sees it."""
    name = volume_name(claim)
    metadata, spec = claim["metadata"], claim["spec"]
    if is_simulated(node):
        source: Object = {"hostPath": {"path": f"/wecity/simulated/{name}", "type": "DirectoryOrCreate"}}
        # A volume without storage: any simulated node can use it, and no real node must.
        term = {"key": SIMULATED_LABEL, "operator": "In", "values": ["true"]}
    else:
        source = {"local": {"path": f"{inside}/{name}"}}
        labels = node["metadata"].get("labels") or {}
        hostname = labels.get(_HOSTNAME, node["metadata"]["name"])
        term = {"key": _HOSTNAME, "operator": "In", "values": [hostname]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": name,
            "annotations": {_PROVISIONED_BY: PROVISIONER},
            "labels": {MANAGED_BY_LABEL: "wecityctl"},
            "finalizers": [FINALIZER],
        },
        "spec": {
            **source,
            "accessModes": spec["accessModes"],
            "capacity": {"storage": spec["resources"]["requests"]["storage"]},
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": metadata["namespace"],
                "name": metadata["name"],
                "uid": metadata["uid"],
            },
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [term]}]}},
            "persistentVolumeReclaimPolicy": storage_class.get("reclaimPolicy", "Delete"),
            "storageClassName": storage_class["metadata"]["name"],
            "volumeMode": "Filesystem",
        },
    }


def wants_deletion(volume: Object) -> bool:
    """Whether the volume's claim is gone and its reclaim policy is Delete."""
    return (
        made_by_us(volume)
        and not volume["metadata"].get("deletionTimestamp")
        and volume.get("status", {}).get("phase") == "Released"
        and volume["spec"].get("persistentVolumeReclaimPolicy") == "Delete"
    )


def wants_release(volume: Object) -> bool:
    """Whether the volume is being deleted and only our own finalizer is left."""
    metadata = volume["metadata"]
    return bool(metadata.get("deletionTimestamp")) and metadata.get("finalizers") == [FINALIZER]


def keeps_data(volume: Object) -> bool:
    """Whether the directory is kept when the volume is deleted."""
    return bool(volume["spec"].get("persistentVolumeReclaimPolicy") != "Delete" or "local" not in volume["spec"])


def growth(claim: Object) -> str:
    """The requested size of a bound claim if it is larger than its current size; otherwise empty."""
    wanted = claim["spec"].get("resources", {}).get("requests", {}).get("storage", "0")
    have = claim.get("status", {}).get("capacity", {}).get("storage")
    bound = claim.get("status", {}).get("phase") == "Bound"
    if not (bound and have and is_ours(claim)) or quantity(wanted) <= quantity(have):
        return ""
    return str(wanted)
