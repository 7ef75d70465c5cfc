"""Which storage class a city's volume claims name."""

from __future__ import annotations

from wecityctl.model import naming
from wecityctl.model.city import City, Cloud


def provisioned_class(city: City, cloud: Cloud) -> str:
    """The class that the base stack makes on a landing zone's cluster; empty where the file names one, or the cluster
    was there already."""
    made = cloud.has_landing_zone and not cloud.existing.cluster and not cloud.kubernetes.storage_class
    return naming.fit(f"{city.name}-volumes") if made else ""
