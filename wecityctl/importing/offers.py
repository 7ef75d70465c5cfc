"""What a vendor offers in a region – availability zones, versions of Kubernetes, machine types –, asked for through its
own plug-in, and what of a Cloud's words is not among it.

Tokens and properties are those of the vendors' SDKs. Not every vendor can be asked everything: what cannot is told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wecityctl.errors import DeploymentError
from wecityctl.model.addresses import availability_zones
from wecityctl.model.city import Cloud
from wecityctl.model.offers import Comparison, Missing

if TYPE_CHECKING:
    from wecityctl.importing.plugin import Plugin


@dataclass(frozen=True, slots=True)
class Question:
    """A data function of a vendor's: its token and arguments, and where its answer has the words. `items` is a list, of
    texts or of objects with `name`; empty: that there is an answer at all is the answer."""

    token: str
    arguments: Mapping[str, str]
    items: str = ""
    name: str = ""


ZONES, VERSION, TYPES = "availability zone", "version of Kubernetes", "machine type"
_VERSION_UNKNOWN = {
    "tencentcloud": "versions of Kubernetes: the SDK lists those of clusters that are there alone",
    "huaweicloud": "versions of Kubernetes: the SDK has no list of them",
    "openstack": "versions of Kubernetes: the image decides",
}


def questions(cloud: Cloud) -> tuple[tuple[str, str, Question], ...]:
    """What the vendor is asked for a cloud: what a word is, the word (empty: any of the kind), and the question."""
    places = availability_zones(cloud)
    types = tuple(dict.fromkeys(name for pool in cloud.pools for name in pool.instance_types))
    match cloud.provider:
        case "alicloud":
            zones = Question("alicloud:index/getZones:getZones", {"availableResourceCreation": "VSwitch"}, "ids")
            versions = Question(
                "alicloud:cs/getKubernetesVersion:getKubernetesVersion",
                {"clusterType": "ManagedKubernetes"},
                "metadatas",
                "version",
            )
            offered = [
                Question("alicloud:ecs/getInstanceTypes:getInstanceTypes", {"availabilityZone": place}, "ids")
                for place in places
            ]
            known = ((VERSION, "", versions),) if cloud.alicloud.kubernetes_version else ()
            return ((ZONES, "", zones), *known, *((TYPES, "", each) for each in offered))
        case "tencentcloud":
            zones = Question(
                "tencentcloud:Availability/getZonesByProduct:getZonesByProduct", {"product": "cvm"}, "zones", "name"
            )
            token = "tencentcloud:Instance/getTypes:getTypes"  # noqa: S105 - a type token
            offered = [
                Question(token, {"availabilityZone": place}, "instanceTypes", "instanceType") for place in places
            ]
            return ((ZONES, "", zones), *((TYPES, "", each) for each in offered))
        case "huaweicloud":
            zones = Question("huaweicloud:index/getAvailabilityZones:getAvailabilityZones", {}, "names")
            offered = [
                Question("huaweicloud:Ecs/getFlavors:getFlavors", {"availabilityZone": place}, "ids")
                for place in places
            ]
            return ((ZONES, "", zones), *((TYPES, "", each) for each in offered))
        case _:
            zones = Question("openstack:compute/getAvailabilityZones:getAvailabilityZones", {}, "names")
            flavors = tuple(filter(None, dict.fromkeys((cloud.openstack.master_flavor, *types))))
            token = "openstack:compute/getFlavor:getFlavor"  # noqa: S105 - a type token
            return (
                *(((ZONES, "", zones),) if places else ()),
                *((TYPES, name, Question(token, {"name": name})) for name in flavors),
            )


def compare(cloud: Cloud, plugin: Plugin) -> Comparison:
    """Ask the vendor, and compare. Raises `DeploymentError` where it refuses to answer."""
    known: dict[str, set[str]] = {}
    missing: list[Missing] = []
    for what, word, question in questions(cloud):
        if word:
            known.setdefault(what, set())
            if said := _refusal(plugin, question):
                missing.append(Missing(what, word, said=said))
        else:
            known.setdefault(what, set()).update(_answers(plugin, question))
    for what, word in words(cloud):
        if known.get(what) and word not in known[what]:
            missing.append(Missing(what, word, tuple(sorted(known[what]))))
    asked = tuple(what for what in (ZONES, VERSION, TYPES) if what in known)
    unknown = _VERSION_UNKNOWN.get(cloud.provider)
    return Comparison(tuple(missing), asked, (unknown,) if unknown and _version(cloud) else ())


def words(cloud: Cloud) -> Iterator[tuple[str, str]]:
    """The words of a Cloud that only its vendor can judge."""
    yield from ((ZONES, place) for place in availability_zones(cloud))
    if version := _version(cloud):
        yield VERSION, version
    for name in dict.fromkeys(name for pool in cloud.pools for name in pool.instance_types):
        yield TYPES, name


def _version(cloud: Cloud) -> str:
    return str(getattr(getattr(cloud, cloud.provider), "kubernetes_version", ""))


def _answers(plugin: Plugin, question: Question) -> Iterator[str]:
    found: Any = plugin.invoke(question.token, question.arguments).get(question.items) or ()
    for item in found:
        text = item.get(question.name) if question.name and isinstance(item, dict) else item
        if isinstance(text, str) and text:
            yield text


def _refusal(plugin: Plugin, question: Question) -> str:
    """What the vendor says where one thing is not there, or not shown; empty where it is."""
    try:
        plugin.invoke(question.token, question.arguments)
    except DeploymentError as error:
        return error.details or error.message
    return ""
