"""What policy rules read from the resources of a landing zone on OpenStack."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Network
from typing import Any

from wecityctl.model.addresses import PRIVATE
from wecityctl.policy.vendors import PUBLIC_API, Audit
from wecityctl.resource_graph import RecordedResource, Recording

_TEMPLATE = "openstack:containerinfra/clusterTemplate:ClusterTemplate"
_CLUSTER = "openstack:containerinfra/cluster:Cluster"


def _is_public(item: RecordedResource) -> Iterator[str]:
    if item.type == _TEMPLATE and _labels(item).get("master_lb_floating_ip_enabled") == "true":
        yield PUBLIC_API


def _access_list(_recording: Recording, endpoint: RecordedResource) -> tuple[str, ...]:
    given = str(_labels(endpoint).get("master_lb_allowed_cidrs") or "").split(",")
    return tuple(cidr for cidr in given if cidr and not _is_inside(cidr))


def _is_inside(cidr: str) -> bool:
    """Whether the range is private, so that no caller on the internet has an address in it."""
    return any(IPv4Network(cidr, strict=False).subnet_of(private) for private in PRIVATE)


def _labels(template: RecordedResource) -> Mapping[str, Any]:
    labels = template.inputs.get("labels") if template.type == _TEMPLATE else None
    return labels if isinstance(labels, Mapping) else {}


AUDIT = Audit(
    cluster=_CLUSTER,
    bucket="openstack:objectstorage/container:Container",
    key="openstack:keymanager/secretV1:SecretV1",
    public_resources={"openstack:networking/floatingIp:FloatingIp": "a floating address"},
    public_inputs=(
        ("openstack:networking/router:Router", "externalNetworkId", "a router to the outside"),
        (_TEMPLATE, "floatingIpEnabled", "floating addresses for nodes"),
        (_CLUSTER, "floatingIpEnabled", "floating addresses for nodes"),
    ),
    is_public=_is_public,
    access_list=_access_list,
)
