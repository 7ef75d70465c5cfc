"""Checks that clouds exist, serve every zone, and fit the apps that may be placed on them."""

from __future__ import annotations

from collections.abc import Iterator

from wecityctl.errors import Problem
from wecityctl.model.city import App, Cloud
from wecityctl.model.vendors import providers as all_providers
from wecityctl.spec.checks.check import Check
from wecityctl.spec.fields import one_of
from wecityctl.spec.parsed_city import ParsedCity, Sourced


def city_has_a_cloud(parsed_city: ParsedCity) -> Iterator[Problem]:
    """A city has at least one cloud."""
    if parsed_city.city is not None and not parsed_city.clouds and parsed_city.knows_all("Cloud"):
        yield parsed_city.city.problem((), "the city has no cloud", "a document with kind: Cloud")


def providers(parsed_city: ParsedCity) -> Iterator[Problem]:
    """A cloud has only the settings of its own provider. `kubernetes` is allowed for all but embedded clouds."""
    for cloud in parsed_city.clouds:
        provider = cloud.value.provider
        spec = cloud.document.value["spec"]
        for block in all_providers():
            if block in spec and block != provider and not (block == "kubernetes" and cloud.value.has_landing_zone):
                message = f"settings of {block} are given, but the provider is {provider}"
                yield cloud.problem(("spec", block), message, on_key=True)


def zones_without_a_cloud(parsed_city: ParsedCity) -> Iterator[Problem]:
    """Every zone is served by at least one cloud."""
    if parsed_city.city is None or not parsed_city.clouds or not parsed_city.knows_all("Cloud"):
        return
    served = {zone for cloud in parsed_city.clouds for zone in cloud.value.zones}
    for index, zone in enumerate(parsed_city.city.value.zones):
        if zone.name not in served:
            message = f"no cloud serves zone {zone.name!r}"
            yield parsed_city.city.problem(
                ("spec", "zones", index, "name"), message, "the zone in a Cloud's spec.zones"
            )


def clusters_apart(parsed_city: ParsedCity) -> Iterator[Problem]:
    """Each cloud is a cluster of its own: in a shared cluster, the objects of two clouds would have the same names."""
    first: dict[tuple[str, str], Sourced[Cloud]] = {}
    for cloud in parsed_city.clouds:
        settings = cloud.value.kubernetes
        if cloud.value.provider != "kubernetes":
            continue
        other = first.setdefault((settings.kubeconfig, settings.context), cloud)
        if other is not cloud:
            message = f"the cluster is that of cloud {other.value.name!r} ({other.place('metadata', 'name')})"
            path = ("spec", "kubernetes", "context")
            yield cloud.problem(path, message, "another context or kubeconfig; one cloud serves several zones")


def architectures(parsed_city: ParsedCity) -> Iterator[Problem]:
    """If all clouds that may run an app declare their nodes, at least one has an architecture of the app's images."""
    if not parsed_city.knows_all("Cloud"):
        return
    for app in parsed_city.apps:
        clouds = [cloud.value for cloud in parsed_city.clouds if _may_carry(cloud.value, app.value)]
        offered = sorted({pool.architecture for cloud in clouds for pool in cloud.pools})
        if not app.value.runs or not offered or not all(cloud.pools for cloud in clouds):
            continue
        for index, part in enumerate(app.value.components):
            if not set(part.architectures) & set(offered):
                message = f"no node has an architecture of this image ({', '.join(part.architectures)})"
                path = ("spec", "components", index, "architectures")
                yield app.problem(path, message, one_of(offered))


def _may_carry(cloud: Cloud, app: App) -> bool:
    return app.zone in cloud.zones and app.cloud in ("", cloud.name)


CHECKS: tuple[Check, ...] = (
    city_has_a_cloud,
    providers,
    zones_without_a_cloud,
    clusters_apart,
    architectures,
)
