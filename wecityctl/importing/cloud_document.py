"""Builds a Cloud from what was read or named, with remarks for the person who completes the file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from wecityctl.errors import ConfigurationError
from wecityctl.importing.blocks import with_given
from wecityctl.importing.document import Imported
from wecityctl.importing.inventory import Classes, ClusterInventory
from wecityctl.importing.vendors import DiscoveredFacts
from wecityctl.model.city import Cloud, Existing, KubernetesSettings, Network
from wecityctl.model.vendors import Vendor

# A valid document must name a zone; the user replaces this one.
_SOME_ZONE = "internet"
_CIDR = "network: {cidr: ...}: fill in the existing network's own range; what is made in it takes shares of that."
_PRICES = (
    "prices: {currency: CNY, cpuHour: ..., memoryGiBHour: ..., storageGiBMonth: ...} is what placement counts with."
)


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """The user's options: the cloud's name, the zones of the city that it serves, and classes to use."""

    name: str
    zones: tuple[str, ...] = ()
    storage_class: str = ""
    ingress_class: str = ""


@dataclass(frozen=True, slots=True)
class Named:
    """Existing resources of a vendor's cloud, by the vendor's identifiers.

    `subnets` are by zone. `settings` are those of the vendor's block in the user's spelling. `cidr` is the network's
    range if the user knows it.
    """

    region: str
    network: str
    subnets: Mapping[str, str] = field(default_factory=dict)
    cluster: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    cidr: str = ""


def adopt_cluster(wanted: ImportOptions, kubeconfig: str, inventory: ClusterInventory) -> Imported:
    """The Cloud for a cluster that was read through `kubeconfig` (empty: kubectl's default)."""
    cloud = Cloud(
        name=wanted.name,
        provider="kubernetes",
        zones=wanted.zones or (_SOME_ZONE,),
        pools=inventory.found.pools,
        kubernetes=replace(_classes(wanted, inventory), kubeconfig=kubeconfig, context=inventory.context),
        region=inventory.found.region,
    )
    remarks = {
        "kubernetes": tuple(_class_remarks(wanted, inventory)),
        "region": () if cloud.region else ("region: nodes do not all carry one label; name where the data lies.",),
        **_common_remarks(wanted, inventory),
    }
    heading = (
        f"The cluster of context {inventory.context}, Kubernetes {inventory.version}, as `wecityctl import` found it."
    )
    return Imported(cloud, heading, _filled(remarks), tuple(_inventory_notes(wanted, inventory)))


def adopt_landing(
    wanted: ImportOptions,
    vendor: Vendor,
    named: Named,
    facts: DiscoveredFacts | None,
    inventory: ClusterInventory | None,
) -> Imported:
    """The Cloud for a vendor's network and cluster.

    `facts` is what the vendor's plug-in could read; `inventory` is present if the cluster itself was read.
    """
    zones = tuple(dict.fromkeys((*named.subnets, *wanted.zones)))
    cloud = Cloud(
        name=wanted.name,
        provider=vendor.provider,
        zones=zones or (_SOME_ZONE,),
        pools=inventory.found.pools if inventory is not None else (),
        region=named.region,
        network=Network(cidr=named.cidr) if named.cidr else Network(),
        existing=Existing(named.network, dict(named.subnets), named.cluster),
        kubernetes=_classes(wanted, inventory) if inventory is not None else KubernetesSettings(),
    )
    if facts is not None:
        cloud = _with_facts(cloud, facts)
    cloud = _with_settings(cloud, named.settings)
    remarks = {
        "existing": tuple(_existing_remarks(named)),
        "network": () if named.cidr or (facts is not None and facts.cidr) else (_CIDR,),
        **_common_remarks(replace(wanted, zones=zones), inventory),
    }
    if inventory is None:
        remarks["pools"] = ("pools: none were read; name them, or import again with --context of the cluster.",)
    how = "as the vendor's plug-in read it" if facts is not None else "as it was named; nobody has looked at it"
    heading = f"What exists on {vendor.title}, {how}. It is only read, never changed or removed."
    return Imported(
        cloud, heading, _filled(remarks), tuple(_inventory_notes(wanted, inventory)) if inventory is not None else ()
    )


def _with_facts(cloud: Cloud, facts: DiscoveredFacts) -> Cloud:
    network = replace(cloud.network, cidr=facts.cidr or cloud.network.cidr, subnets=dict(facts.ranges))
    cloud = replace(cloud, network=network)
    places = ",".join(facts.availability_zones)
    return _with_settings(cloud, {"availabilityZones": places} if places else {})


def _with_settings(cloud: Cloud, given: Mapping[str, str]) -> Cloud:
    """The cloud with settings in its vendor's block."""
    return replace(cloud, settings=with_given(cloud.settings, given))


def _classes(wanted: ImportOptions, inventory: ClusterInventory) -> KubernetesSettings:
    return KubernetesSettings(
        ingress_class=_chosen("ingress class", wanted.ingress_class, inventory.ingress),
        storage_class=_chosen("storage class", wanted.storage_class, inventory.storage),
    )


def _chosen(what: str, name: str, classes: Classes) -> str:
    if name and name not in classes.names:
        raise ConfigurationError(f"the cluster has no {what} {name!r}", details=f"it has: {classes}")
    return name


def _common_remarks(wanted: ImportOptions, inventory: ClusterInventory | None) -> dict[str, tuple[str, ...]]:
    remarks: dict[str, tuple[str, ...]] = {"prices": (_PRICES,)}
    if not wanted.zones:
        remarks["zones"] = ("Fill in: those of the city's zones that this cloud serves.",)
    if inventory is not None:
        remarks["pools"] = ("Amounts are what a node has for pods; domestic: true marks 信创 hardware.",)
        remarks |= {f"pool {name}": texts for name, texts in inventory.found.remarks.items()}
    return remarks


def _class_remarks(wanted: ImportOptions, inventory: ClusterInventory) -> Iterator[str]:
    if not wanted.storage_class:
        yield f"Storage classes: {inventory.storage}. Without storageClass here volumes are of the default one."
    if not wanted.ingress_class:
        yield f"Ingress classes: {inventory.ingress}. With ingressClass here routes become Ingress objects of it."


def _existing_remarks(named: Named) -> Iterator[str]:
    if not named.subnets:
        yield "subnets: {<zone>: <identifier>} are those to use; a zone without one is given a subnet of its own."
    if not named.cluster:
        yield "cluster: <identifier> is the one to use; without it one is made in this network."


def _inventory_notes(wanted: ImportOptions, inventory: ClusterInventory) -> Iterator[str]:
    for reason, names in _by_reason(inventory.found.left_out).items():
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        yield f"left out of the pools: {shown}: {reason}"
    if not inventory.found.pools:
        yield "the cluster has no node that takes pods; the document has no pools"
    if not inventory.storage.default and not wanted.storage_class:
        yield "the cluster has no default storage class; capabilities with data need one: --storage-class"


def _by_reason(left_out: Mapping[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, reason in left_out.items():
        found.setdefault(reason, []).append(name)
    return found


def _filled(remarks: Mapping[str, Iterable[str]]) -> dict[str, tuple[str, ...]]:
    return {key: tuple(texts) for key, texts in remarks.items() if texts}
