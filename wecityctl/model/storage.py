"""Selects the storage class of a city's volume claims."""

from __future__ import annotations

from wecityctl.model import naming
from wecityctl.model.city import City, Cloud


def provisioned_class(city: City, cloud: Cloud) -> str:
    """The storage class that the base stack creates on the cluster of a landing zone.

    Empty if the file names a class, or if the cluster existed before.
    """
    made = cloud.has_landing_zone and not cloud.existing.cluster and not cloud.kubernetes.storage_class
    return naming.fit(f"{city.name}-volumes") if made else ""
