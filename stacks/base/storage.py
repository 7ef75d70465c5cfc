"""The storage class of a cluster that a landing zone created, with encryption at rest.

A vendor's cluster may have no default class, several, or one without encryption; the city's claims name this class.
Parameters are those of the vendor's CSI driver, which every such cluster has.
"""

from __future__ import annotations

from stacks.objects import Manifest, unknown
from stacks.stack_references import landing_outputs
from wecityctl.inputs import StackInputs
from wecityctl.model.storage import provisioned_class


def storage_class(inputs: StackInputs) -> Manifest | None:
    """The storage class for the city's claims on this stack's cloud; `None` if the cluster's own class is used."""
    city, cloud = inputs.city, inputs.city.cloud(inputs.stack.cloud)
    name = provisioned_class(city, cloud)
    if not name or cloud.vendor is None:
        return None
    volumes = cloud.vendor.volumes
    provisioned = landing_outputs(inputs)
    key = provisioned.key if provisioned is not None else unknown()
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": name},
        "provisioner": volumes.driver,
        "parameters": volumes.parameters(cloud, city.compliance.sm, key),
        "reclaimPolicy": "Delete",
        "allowVolumeExpansion": True,
        # Create a disk where its pod runs: a vendor's disk cannot be attached in another availability zone.
        "volumeBindingMode": "WaitForFirstConsumer",
    }
