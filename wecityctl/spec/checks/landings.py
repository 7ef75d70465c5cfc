"""What a vendor's landing zone cannot be made without: region, availability zones, machine types, images, SM keys."""

from __future__ import annotations

from collections.abc import Iterator

from wecityctl.errors import Problem
from wecityctl.model.addresses import QUARTERS, availability_zones, has_zonal_subnets, is_no_access_list
from wecityctl.model.city import City, Cloud
from wecityctl.model.quantity import parse_quantity
from wecityctl.model.vendors import ARCHITECTURES
from wecityctl.spec.draft import Draft, Sourced
from wecityctl.spec.fields import nearest, one_of
from wecityctl.spec.nodes import PathItem

# Vendors whose key management has no SM4 keys.
_WITHOUT_SM = ("openstack",)
# Security groups of one node: one for each zone and one for what all nodes have. Alibaba Cloud, JoinSecurityGroup: "up
# to five security groups by default"; Huawei Cloud, CreateNodePool: "A maximum of five security groups can be bound to
# a node pool"; Tencent Cloud's quota is five as well. Magnum's nodes get none of the zones'.
_MOST_GROUPS = dict.fromkeys(("alicloud", "tencentcloud", "huaweicloud"), 5)
# The largest data disk of one node, in GiB: ESSDs of Alibaba Cloud, Premium Cloud Storage of Tencent Cloud, EVS of
# Huawei Cloud.
_LARGEST_DISKS = {"alicloud": 65_536, "tencentcloud": 32_000, "huaweicloud": 32_768}
# "Enter 4 to 128 characters starting with a lowercase letter": Huawei Cloud, CCE, "Cluster Name".
_SHORTEST_CLUSTER_NAME = 4
# Vendors on which a landing zone can give an API a public address, but no access list with it.
_WITHOUT_ACCESS_LIST = {
    "alicloud": "it belongs to a balancer that ACK makes, which its SDK cannot change",
    "huaweicloud": "it is a security group that CCE makes, which its SDK cannot change",
}


def regions(draft: Draft) -> Iterator[Problem]:
    """A landing zone is made in a region."""
    for cloud in _landing(draft):
        if not cloud.value.region:
            message = f"a landing zone on {cloud.value.provider} needs a region"
            yield cloud.problem(("spec", "region"), message, "the vendor's name of the region")


def places(draft: Draft) -> Iterator[Problem]:
    """Subnets that a vendor ties to an availability zone need one; a network is shared out over four at most."""
    for cloud in _landing(draft):
        value = cloud.value
        if not has_zonal_subnets(value):
            continue
        found = availability_zones(value)
        path = ("spec", value.provider, "availabilityZones")
        if not found and _makes_subnets(value):
            message = f"subnets on {value.provider} lie in an availability zone, and none is given"
            yield cloud.problem(path, message, "at least one")
        for index, name in enumerate(found):
            if name in found[:index]:
                yield cloud.problem((*path, index), f"availability zone {name!r} is named twice", "each zone once")
        if len(found) > QUARTERS:
            yield cloud.problem(path, f"{len(found)} availability zones", f"{QUARTERS} at most")


def machine_types(draft: Draft) -> Iterator[Problem]:
    """The nodes of a pool are machines of a type that only the vendor can name."""
    for cloud in _landing(draft):
        if cloud.value.existing.cluster:
            continue
        for index, pool in enumerate(cloud.value.pools):
            path = ("spec", "pools", index, "instanceTypes")
            if not pool.instance_types:
                message = f"pool {pool.name!r} names no machine type of {cloud.value.provider}"
                yield cloud.problem(path, message, "the vendor's names")
            elif cloud.value.provider == "openstack" and len(pool.instance_types) > 1:
                yield cloud.problem(path, "a node group of OpenStack has one flavor", "one name")


def architectures(draft: Draft) -> Iterator[Problem]:
    """A vendor makes nodes of the architectures that it has machines and images for."""
    for cloud in _landing(draft):
        made = ARCHITECTURES.get(cloud.value.provider, ())
        if cloud.value.existing.cluster or not made:
            continue
        for index, pool in enumerate(cloud.value.pools):
            if pool.architecture not in made:
                message = f"{cloud.value.provider} makes no nodes of {pool.architecture}"
                yield cloud.problem(("spec", "pools", index, "architecture"), message, one_of(made))


def security_groups(draft: Draft) -> Iterator[Problem]:
    """A node has a security group for each zone that its pool serves, and a vendor takes a few for one node."""
    for cloud in _landing(draft):
        most = _MOST_GROUPS.get(cloud.value.provider, 0)
        if cloud.value.existing.cluster or not most:
            continue
        for index, pool in enumerate(cloud.value.pools):
            needed = len(pool.zones or cloud.value.zones) + 1
            if needed > most:
                message = (
                    f"nodes of pool {pool.name!r} need {needed} security groups, one for each zone and one of all"
                    f" nodes; {cloud.value.provider} takes {most}"
                )
                path: tuple[PathItem, ...] = ("spec", "pools", index, *(("zones",) if pool.zones else ()))
                yield cloud.problem(path, message, f"pools of at most {most - 1} zones each", on_key=bool(pool.zones))


def disks(draft: Draft) -> Iterator[Problem]:
    """The storage of a pool's nodes is one disk of each."""
    for cloud in _landing(draft):
        largest = _LARGEST_DISKS.get(cloud.value.provider, 0)
        if cloud.value.existing.cluster or not largest:
            continue
        for index, pool in enumerate(cloud.value.pools):
            if parse_quantity(pool.storage or "0") > largest * 2**30:
                message = f"{cloud.value.provider} makes no disk of {pool.storage} for a node"
                yield cloud.problem(("spec", "pools", index, "storage"), message, f"{largest:,}Gi at most")


def openstack_settings(draft: Draft) -> Iterator[Problem]:
    """Magnum needs an external network, an image for every architecture, and a flavor for the control plane."""
    for cloud in _landing(draft):
        if cloud.value.provider != "openstack" or cloud.value.existing.cluster:
            continue
        settings = cloud.value.openstack
        needed = {
            "externalNetwork": settings.external_network,
            "image": settings.image,
            "masterFlavor": settings.master_flavor,
        }
        for name, given in needed.items():
            if not given:
                yield cloud.problem(("spec", "openstack", name), f"a cluster of Magnum needs {name}", "its name or id")
        plain = [pool.architecture for pool in cloud.value.pools if pool.architecture not in settings.images]
        for architecture in dict.fromkeys(plain[1:]):
            if architecture != plain[0]:
                message = f"no image for nodes of {architecture}: image is for {plain[0]}"
                yield cloud.problem(("spec", "openstack", "images"), message, f"one under images.{architecture}")


def alicloud_settings(draft: Draft) -> Iterator[Problem]:
    """A key in hardware is one of an instance, and SM keys are in hardware."""
    sm = draft.city is not None and draft.city.value.compliance.sm
    for cloud in _landing(draft):
        value, settings = cloud.value, cloud.value.alicloud
        if value.provider != "alicloud":
            continue
        if settings.kms_hardware and not settings.kms_instance:
            message = "hardware of which KMS instance is not said"
            yield cloud.problem(("spec", "alicloud", "kmsInstance"), message, "the instance's identifier")
        if sm and settings.kms_instance and not settings.kms_hardware:
            message = "the city requires SM cryptography, and a KMS instance of software keys has no SM4 keys"
            yield cloud.problem(
                ("spec", "alicloud", "kmsInstance"), message, "an instance of hardware keys, kmsHardware: true"
            )


def tencentcloud_settings(draft: Draft) -> Iterator[Problem]:
    """The vendor's buckets end with the account's number."""
    for cloud in _landing(draft):
        if cloud.value.provider == "tencentcloud" and not cloud.value.tencentcloud.app_id:
            message = "a bucket of Tencent Cloud ends with the account's number"
            yield cloud.problem(("spec", "tencentcloud", "appId"), message, "the APPID")


def huaweicloud_settings(draft: Draft) -> Iterator[Problem]:
    """The vendor makes no node that nobody could sign in to, and no cluster of a very short name."""
    for cloud in _landing(draft):
        value = cloud.value
        name = f"{draft.city.value.name}-{value.name}" if draft.city is not None else ""
        if value.provider == "huaweicloud" and not value.existing.cluster and 0 < len(name) < _SHORTEST_CLUSTER_NAME:
            message = f"a cluster of Huawei Cloud has a name of at least {_SHORTEST_CLUSTER_NAME} letters, not {name!r}"
            yield cloud.problem(("metadata", "name"), message, "a longer name for the city or the cloud")
        makes_nodes = value.provider == "huaweicloud" and value.pools and not value.existing.cluster
        if makes_nodes and not value.huaweicloud.key_pair:
            message = "nodes of Huawei Cloud need a key pair"
            yield cloud.problem(("spec", "huaweicloud", "keyPair"), message, "the name of one of the account's")


def balancers(draft: Draft) -> Iterator[Problem]:
    """Load balancers are of zones that the cloud serves, and of a cluster that a landing zone makes."""
    for cloud in draft.clouds:
        value = cloud.value
        if value.balancers is None:
            continue
        if not value.has_landing_zone or value.existing.cluster or value.kubernetes.ingress_class:
            message = "no landing zone makes the way into this cluster"
            wanted = "a cloud whose cluster a landing zone makes, without ingressClass"
            yield cloud.problem(("spec", "balancers"), message, wanted, on_key=True)
            continue
        for index, zone in enumerate(value.balancers):
            path = ("spec", "balancers", index)
            if zone not in value.zones:
                message = f"cloud {value.name!r} does not serve zone {zone!r}"
                yield cloud.problem(path, message, one_of(value.zones), nearest(zone, value.zones))
            elif zone in value.balancers[:index]:
                yield cloud.problem(path, f"zone {zone!r} is named twice", "each zone once")


def public_apis(draft: Draft) -> Iterator[Problem]:
    """An API on the internet is one that a landing zone makes, with an access list, and not beside an extranet."""
    path = ("spec", "publicApi")
    for cloud in draft.clouds:
        value = cloud.value
        if not value.public_api.allow_from:
            continue
        if not value.has_landing_zone or value.existing.cluster:
            message = "no landing zone makes this cluster's API, so none can open it"
            yield cloud.problem(path, message, "a cloud whose cluster a landing zone makes", on_key=True)
        elif value.provider in _WITHOUT_ACCESS_LIST:
            message = f"{value.provider} has an access list for its API, but {_WITHOUT_ACCESS_LIST[value.provider]}"
            yield cloud.problem(path, message, "a private way to the API, such as a VPN or a bastion", on_key=True)
        elif draft.city is not None:
            yield from _unfit_for_public_api(cloud, draft.city.value)


def _unfit_for_public_api(cloud: Sourced[Cloud], city: City) -> Iterator[Problem]:
    path = ("spec", "publicApi")
    if is_no_access_list(cloud.value.public_api.allow_from):
        message = f"the {len(cloud.value.public_api.allow_from)} ranges are wider together than a /16"
        yield cloud.problem((*path, "allowFrom"), message, "the ranges of those who run the city", on_key=True)
    zones = [zone for zone in city.zones if zone.name in cloud.value.zones]
    kinds = {zone.kind for zone in zones}
    if "government-extranet" in kinds:
        yield cloud.problem(path, "an extranet's cluster must not be on the internet", "a private API", on_key=True)
    elif "internet" not in kinds:
        message = "no zone of the cloud is open to the internet"
        yield cloud.problem(path, message, "a private API, or a zone of kind internet", on_key=True)
    elif cloud.value.provider == "openstack" and not all(zone.egress for zone in zones):
        # Magnum's balancer is in the strictest zone's subnet, and a floating address takes a router there.
        message = "a public API on openstack takes a way out for every zone of the cloud"
        yield cloud.problem(path, message, "egress: true at its zones, or a private API", on_key=True)


def sm_keys(draft: Draft) -> Iterator[Problem]:
    """A city that requires SM cryptography is not carried by a cloud that has none: AES in its place would be a lie."""
    if draft.city is None or not draft.city.value.compliance.sm:
        return
    for cloud in _landing(draft):
        if cloud.value.provider in _WITHOUT_SM:
            message = f"the city requires SM cryptography, and {cloud.value.provider} has no SM keys"
            yield cloud.problem(("spec", "provider"), message, "a vendor that has, or compliance.sm: false")


def _landing(draft: Draft) -> Iterator[Sourced[Cloud]]:
    return (cloud for cloud in draft.clouds if cloud.value.has_landing_zone)


def _makes_subnets(cloud: Cloud) -> bool:
    return not cloud.existing.cluster or any(zone not in cloud.existing.subnets for zone in cloud.zones)
