"""Checks, before anything is changed, that the city's namespaces are free on clusters that wecityctl did not create.

A name in use by somebody else makes only that cloud fail. The provider makes the same check for every cluster-scoped
object (`provider.adoption`); this one reports all namespaces in advance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from wecityctl.errors import ConfigurationError, WecityError
from wecityctl.inputs import Cluster, Clusters
from wecityctl.model import naming
from wecityctl.model.city import City
from wecityctl.model.entries import entry_points
from wecityctl.model.naming import CITY_LABEL
from wecityctl.placement import Placement

if TYPE_CHECKING:
    from wecityctl.kube.client import KubeClient
    from wecityctl.kube.resource import Object, ResourceType


def without_namespace_conflicts(city: City, placement: Placement, clusters: Clusters) -> Clusters:
    """Return the clusters, with those moved to the failed ones that have one of the city's
    namespaces of somebody else.
    """
    found, failed = dict(clusters.found), dict(clusters.failed)
    for cloud in city.clouds:
        cluster = found.get(cloud.name)
        if cloud.provider == "local" or cluster is None:
            continue
        try:
            taken = _taken(city, cluster, namespaces(city, placement, cloud.name))
        except WecityError as error:
            failed[cloud.name] = error
        else:
            if not taken:
                continue
            failed[cloud.name] = _refusal(cloud.name, taken)
        del found[cloud.name]
    return replace(clusters, found=MappingProxyType(found), failed=MappingProxyType(failed))


def namespaces(city: City, placement: Placement, cloud: str) -> frozenset[str]:
    """Return the namespaces that the city's stacks create on a cloud."""
    platforms = {
        naming.platform_namespace(item.platform, item.zone)
        for item in city.capabilities
        if placement.capabilities[item.name] == cloud
    }
    entries = {entry.namespace for entry in entry_points(city) if placement.entry == cloud}
    tenants = {
        naming.tenant_namespace(app.tenant, app.zone)
        for app in city.apps
        if app.runs and placement.apps[(app.tenant, app.name)] == cloud
    }
    first = city.clouds[0]
    idle = {
        naming.tenant_namespace(tenant.name, first.zones[0])
        for tenant in city.tenants
        if first.name == cloud and not placement.clouds_of_tenant(tenant.name)
    }
    return frozenset(platforms | entries | tenants | idle)


def _taken(city: City, cluster: Cluster, names: frozenset[str]) -> Mapping[str, str]:
    """Return those of the names that exist and are not the city's, with the city that owns each (`""`: none)."""
    from wecityctl.engine.cluster.query import ask
    from wecityctl.kube.errors import Forbidden
    from wecityctl.kube.resource import meta

    async def look(client: KubeClient) -> dict[str, str]:
        served = await client.resource("v1", "Namespace")
        try:
            found = await client.list(served, metadata_only=True)
        except Forbidden:
            # An identity that may not list namespaces, such as a tenant's deployer, may still read some. It creates no
            # others.
            found = [item for name in sorted(names) if (item := await _readable(client, served, name)) is not None]
        there = {str(meta(item)["name"]): str((meta(item).get("labels") or {}).get(CITY_LABEL, "")) for item in found}
        return {name: there[name] for name in sorted(names & there.keys()) if there[name] != city.name}

    return ask(cluster, look)


async def _readable(client: KubeClient, served: ResourceType, name: str) -> Object | None:
    from wecityctl.kube.errors import Forbidden, NotFound

    try:
        return await client.get(served, name)
    except (Forbidden, NotFound):
        return None


def _refusal(cloud: str, taken: Mapping[str, str]) -> ConfigurationError:
    lines = [
        f"namespace {name} " + (f"belongs to the city {owner}" if owner else "is not ours")
        for name, owner in taken.items()
    ]
    return ConfigurationError(
        f"cloud {cloud} has namespaces already that this city would make; they are left as they are",
        details="\n".join(lines),
        resolution="rename the tenant, the platform's zone or the namespace, or give the city another cluster",
    )
