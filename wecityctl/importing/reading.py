"""Reads a vendor's network, subnets, cluster and offers through the vendor's plug-in, if this machine can run it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from wecityctl.errors import ConfigurationError, WecityError
from wecityctl.importing.cloud_document import Named
from wecityctl.importing.offers import compare
from wecityctl.importing.vendors import DiscoveredFacts
from wecityctl.model.city import Cloud
from wecityctl.model.discovery import Kind, discovery_of
from wecityctl.model.offers import Comparison
from wecityctl.model.vendors import Vendor, vendors

if TYPE_CHECKING:
    from wecityctl.importing.plugin import Plugin


def missing_prerequisites(vendor: Vendor, name: str) -> tuple[WecityError, ...]:
    """What is missing here to read with the plug-in (SDK, plug-in, credentials), each with how to get it."""
    from wecityctl.engine.workers import vendors as needs

    return needs.missing_prerequisites(Cloud(name, vendor.provider, ()))


def read(vendor: Vendor, named: Named) -> DiscoveredFacts:
    """Read every named resource.

    Raises `ConfigurationError` if one does not exist or they do not belong together, and `DeploymentError` if the
    vendor does not answer.
    """
    from wecityctl.importing.plugin import started

    kinds = discovery_of(vendor.provider)
    with started(_program(vendor.provider), vendor.provider, {"region": named.region}) as plugin:
        network = _found(plugin, vendor, kinds.network, named.network, named)
        subnets = {
            zone: _found(plugin, vendor, kinds.subnet, identifier, named) for zone, identifier in named.subnets.items()
        }
        cluster = _found(plugin, vendor, kinds.cluster, named.cluster, named) if named.cluster else {}
    places = [_text(item, kinds.subnet.availability_zone) for item in subnets.values()]
    return DiscoveredFacts(
        cidr=_text(network, kinds.network.cidr),
        ranges={zone: cidr for zone, item in subnets.items() if (cidr := _text(item, kinds.subnet.cidr))},
        availability_zones=tuple(dict.fromkeys(place for place in places if place)),
        version=_text(cluster, kinds.cluster.version),
    )


def compare_offers(cloud: Cloud) -> Comparison:
    """Compare a cloud with its vendor's offers. Raises `DeploymentError` if the vendor does not answer."""
    from wecityctl.importing.plugin import started

    given = {name: value for name, value in discovery_of(cloud.provider).provider(cloud).items() if value}
    with started(_program(cloud.provider), cloud.provider, given) as plugin:
        return compare(cloud, plugin)


def _program(provider: str) -> Path:
    from wecityctl.engine.workers.vendors import sdk_version
    from wecityctl.toolchain import find_vendor_plugin

    found, _ = find_vendor_plugin(provider, sdk_version(vendors()[provider]))
    assert found is not None, "lacks() was not asked"
    return found


def _found(plugin: Plugin, vendor: Vendor, kind: Kind, identifier: str, named: Named) -> dict[str, Any]:
    what = f"{kind.title} {identifier}"
    properties = plugin.read(kind.token, identifier)
    if properties is None:
        raise ConfigurationError(f"{vendor.title} has no {what} in {named.region}")
    owner = _text(properties, kind.network)
    if owner and owner != named.network:
        raise ConfigurationError(f"{what} is in {owner}, not in {named.network}")
    return properties


def _text(properties: dict[str, Any], name: str) -> str:
    value = properties.get(name) if name else None
    return value if isinstance(value, str) else ""
