"""Capabilities that observe the city's namespaces on their cloud, and the names of what gives them the right to."""

from __future__ import annotations

from collections.abc import Mapping

from wecityctl.model import naming
from wecityctl.model.catalogue import Catalogue
from wecityctl.model.city import Capability, City


def observers(city: City, catalogue: Catalogue, clouds: Mapping[str, str], cloud: str) -> tuple[Capability, ...]:
    """The observing capabilities on `cloud`; `clouds` has the cloud of each capability, as placement says."""
    return tuple(
        item
        for item in city.capabilities
        if item.type in catalogue and catalogue[item.type].observes is not None and clouds.get(item.name) == cloud
    )


def account_name(capability: str) -> str:
    """The service account of an observer, in the namespace of its pods."""
    return naming.fit(f"{capability}-observer")


def role_name(city: str, capability: str) -> str:
    """The ClusterRole of what an observer may see in the city's namespaces. It is bound in each of them."""
    return naming.fit(f"{city}-{capability}-observer")


def cluster_role_name(city: str, capability: str) -> str:
    """The ClusterRole of what an observer may see of resources that are in no namespace, and its binding."""
    return naming.fit(f"{city}-{capability}-cluster-observer")
