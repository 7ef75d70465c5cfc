"""Capabilities that observe the city's namespaces on their cloud, and the names of what gives them the right to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from wecityctl.model import naming
from wecityctl.model.catalogue import Catalogue
from wecityctl.model.city import Capability, City
from wecityctl.model.entries import instances

# The component of pods that observe, by which they are told from the capability's others.
OBSERVER = "observer"


class Placed(Protocol):
    """Which cloud carries what, as `wecityctl.placement` says it: capabilities by name, apps by tenant and name."""

    @property
    def capabilities(self) -> Mapping[str, str]: ...

    @property
    def apps(self) -> Mapping[tuple[str, str], str]: ...


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


def namespaces(city: City, placement: Placed, cloud: str) -> Mapping[str, Mapping[str, str]]:
    """The city's namespaces on `cloud`, each with the label that says whose it is: `tenant` or `platform`.

    A tenant without apps has a namespace in which nothing runs; it is left out.
    """
    found: dict[str, Mapping[str, str]] = {}
    for capability in city.capabilities:
        if placement.capabilities.get(capability.name) == cloud:
            for item in instances(city, capability):
                found[naming.platform_namespace(item.platform, item.zone)] = {"platform": item.platform}
    for app in city.apps:
        if app.runs and placement.apps.get((app.tenant, app.name)) == cloud:
            found[naming.tenant_namespace(app.tenant, app.zone)] = {"tenant": app.tenant}
    return found


def scrapers(city: City, catalogue: Catalogue, placement: Placed, cloud: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield namespace and labels of the pods that scrape metrics on `cloud`, which what serves metrics lets in."""
    for item in observers(city, catalogue, placement.capabilities, cloud):
        if catalogue[item.type].scrapes:
            labels = {
                naming.NAME_LABEL: item.name,
                naming.COMPONENT_LABEL: OBSERVER,
                naming.PART_OF_LABEL: item.platform,
            }
            yield naming.platform_namespace(item.platform, item.zone), labels
