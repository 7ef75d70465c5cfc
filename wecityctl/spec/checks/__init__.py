"""Checks across documents: small functions from a draft to problems, in one visible list."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from wecityctl.errors import Problem
from wecityctl.spec.checks import (
    amounts,
    capabilities,
    clouds,
    compliance,
    containers,
    duplicates,
    expected,
    interconnects,
    landings,
    networks,
    objects,
    placement,
    references,
    routes,
    texts,
    uses,
    waivers,
)
from wecityctl.spec.parsed_city import ParsedCity

Check = Callable[[ParsedCity], Iterator[Problem]]

CHECKS: tuple[Check, ...] = (
    duplicates.cities,
    duplicates.documents,
    duplicates.names_within_documents,
    duplicates.routes,
    duplicates.hosts,
    duplicates.derived_names,
    objects.namespaces,
    objects.apps,
    objects.capabilities,
    objects.flows,
    clouds.city_has_a_cloud,
    clouds.providers,
    expected.kinds_and_names,
    clouds.zones_without_a_cloud,
    clouds.clusters_apart,
    clouds.architectures,
    compliance.zones_of_classes,
    compliance.regions_of_classes,
    interconnects.fixed_ports,
    networks.extranets_stay_inside,
    networks.ranges_apart,
    networks.ranges_private,
    networks.ranges_not_reserved,
    networks.ranges_suffice,
    networks.sources_bounded,
    networks.interconnects_lead_home,
    networks.subnets_fit,
    networks.ranges_of_joined_clouds,
    networks.existing_parts,
    networks.pools_in_zones,
    landings.regions,
    landings.places,
    landings.machine_types,
    landings.architectures,
    landings.security_groups,
    landings.disks,
    landings.vendor_settings,
    landings.balancers,
    landings.public_apis,
    landings.sm_keys,
    capabilities.types,
    capabilities.image_digests,
    capabilities.engines_and_replicas,
    capabilities.tls,
    capabilities.requirements,
    capabilities.named_uses,
    capabilities.cycles,
    capabilities.one_gateway,
    uses.owners,
    uses.dedicated,
    uses.limits,
    placement.affinities,
    placement.spread_groups,
    placement.zones_of_pools,
    placement.accelerators,
    placement.domestic_hardware,
    placement.currencies,
    amounts.quotas,
    amounts.autoscaling,
    amounts.files_fit,
    containers.texts_fit,
    routes.routes_lead_somewhere,
    routes.ingress_classes_of_zones,
    routes.tls_needs_the_gateway,
    routes.health_needs_a_port,
    routes.flows_between_zones,
    waivers.rules_of_waivers,
    texts.empty_values,
    texts.placeholders,
    texts.control_characters,
    texts.secrets_in_clear,
)


# Those that look at one value each and at names that are declared: what else a document gets wrong is no matter.
REFERENCE_CHECKS: tuple[Check, ...] = (
    duplicates.capabilities_across_platforms,
    references.tenants_of_apps,
    references.zones,
    references.entry_points,
    references.cloud_pins,
    references.uses,
    containers.catalogue_images,
    containers.built_images,
    containers.variables,
    containers.commands,
    containers.files_within_files,
)


def run_checks(parsed_city: ParsedCity) -> Iterator[Problem]:
    """Every problem that the checks find in documents that fit their shape, in the order of the checks."""
    for check in CHECKS:
        yield from check(parsed_city)


def check_references(parsed_city: ParsedCity) -> Iterator[Problem]:
    """The same of the checks that may look at documents with stand-ins for what is wrong."""
    for check in REFERENCE_CHECKS:
        yield from check(parsed_city)
