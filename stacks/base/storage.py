"""The storage class of a cluster that a landing zone has made: what the city's volumes are, encrypted.

A vendor's cluster may have no default class, or several, or one without encryption, so the city's claims name this one.
Parameters are those of the vendor's CSI driver, which every such cluster has.
"""

from __future__ import annotations

import pulumi

from wecityctl.inputs import StackInputs
from wecityctl.model.city import City, Cloud
from wecityctl.model.storage import landed_class
from wecityctl.stacks.objects import Manifest, unknown
from wecityctl.stacks.upstream import landing_outputs

_DRIVERS = {
    "alicloud": "diskplugin.csi.alibabacloud.com",
    "tencentcloud": "com.tencent.cloud.csi.cbs",
    "huaweicloud": "everest-csi-provisioner",
    "openstack": "cinder.csi.openstack.org",
}


def storage_class(inputs: StackInputs) -> Manifest | None:
    """The class that the city's claims on this stack's cloud name; `None` where the cluster's own serve."""
    city, cloud = inputs.city, inputs.city.cloud(inputs.stack.cloud)
    name = landed_class(city, cloud)
    if not name:
        return None
    landed = landing_outputs(inputs)
    key = landed.key if landed is not None else unknown()
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": name},
        "provisioner": _DRIVERS[cloud.provider],
        "parameters": _parameters(city, cloud, key),
        "reclaimPolicy": "Delete",
        "allowVolumeExpansion": True,
        # A disk is made where its pod runs: a vendor's disks cannot be attached in another availability zone.
        "volumeBindingMode": "WaitForFirstConsumer",
    }


def _parameters(city: City, cloud: Cloud, key: pulumi.Input[str]) -> dict[str, pulumi.Input[str]]:
    """What the vendor's driver is told. Disks that know AES only are left unencrypted where SM is required, as those of
    nodes are. Sources: ACK, "Encrypt a disk volume"; kubernetes-csi-tencentcloud, README_CBS; CCE, "Automatically
    creating an EVS disk"; cinder-csi-plugin."""
    match cloud.provider:
        case "alicloud":
            plain: dict[str, pulumi.Input[str]] = {"type": "cloud_essd", "csi.storage.k8s.io/fstype": "ext4"}
            return plain if city.compliance.sm else {**plain, "encrypted": "true", "kmsKeyId": key}
        case "tencentcloud":
            plain = {"diskType": "CLOUD_PREMIUM", "diskChargeType": "POSTPAID_BY_HOUR"}
            return plain if city.compliance.sm else {**plain, "encrypt": "ENCRYPT"}
        case "huaweicloud":
            return {
                "csi.storage.k8s.io/csi-driver-name": "disk.csi.everest.io",
                "csi.storage.k8s.io/fstype": "ext4",
                "everest.io/disk-volume-type": "SSD",
                "everest.io/passthrough": "true",
                "everest.io/crypt-key-id": key,
            }
        case _:
            # Whether a type is encrypted was decided when the cloud's owner made it.
            return {"type": cloud.openstack.volume_type} if cloud.openstack.volume_type else {}
