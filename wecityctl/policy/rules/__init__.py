"""Every rule, one module each, in the order in which they are shown."""

from __future__ import annotations

from wecityctl.policy.model import Rule
from wecityctl.policy.rules import (
    budget,
    common_capability,
    crossing_plaintext,
    data_class,
    declared_flows,
    dedicated_store,
    default_deny,
    encryption_at_rest,
    entry_zones,
    extranet_exposure,
    image_architectures,
    image_registries,
    images_by_digest,
    landing_public,
    log_retention,
    namespace_labels,
    network_fences,
    off_site_backup,
    overcommitted_capability,
    plain_capability,
    plain_secrets,
    privileged_pods,
    residency,
    role_bindings,
    service_accounts,
    single_writer,
    sm_cryptography,
    tenant_deployers,
    three_administrators,
    through_exchange,
    unused_capability,
)

RULES: tuple[Rule, ...] = (
    through_exchange.RULE,
    default_deny.RULE,
    declared_flows.RULE,
    network_fences.RULE,
    extranet_exposure.RULE,
    entry_zones.RULE,
    crossing_plaintext.RULE,
    plain_capability.RULE,
    landing_public.RULE,
    namespace_labels.RULE,
    data_class.RULE,
    dedicated_store.RULE,
    residency.RULE,
    sm_cryptography.RULE,
    encryption_at_rest.RULE,
    off_site_backup.RULE,
    plain_secrets.RULE,
    log_retention.RULE,
    three_administrators.RULE,
    role_bindings.RULE,
    tenant_deployers.RULE,
    privileged_pods.RULE,
    service_accounts.RULE,
    single_writer.RULE,
    image_registries.RULE,
    images_by_digest.RULE,
    image_architectures.RULE,
    overcommitted_capability.RULE,
    unused_capability.RULE,
    common_capability.RULE,
    budget.RULE,
)


def rule(name: str) -> Rule:
    """The rule of that name. Raises `StopIteration` when there is none: names in waivers are checked with the files."""
    return next(item for item in RULES if item.name == name)
