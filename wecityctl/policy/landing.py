"""The recorded resources of landing zones, by cloud, and what of theirs a rule has to read: tokens and inputs of the
vendors' SDKs, in one place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Network
from typing import Any

from wecityctl.graph import RecordedResource, Recording
from wecityctl.model.addresses import PRIVATE, is_no_access_list
from wecityctl.model.city import VENDORS, Cloud
from wecityctl.policy.model import Posture

# Alibaba makes a NAT gateway and a public API server where nothing is said.
_ON_BY_DEFAULT = "alicloud:cs/managedKubernetes:ManagedKubernetes"

_TEMPLATE = "openstack:containerinfra/clusterTemplate:ClusterTemplate"
_ENDPOINT = "tencentcloud:Kubernetes/clusterEndpoint:ClusterEndpoint"

PUBLIC_RESOURCES: Mapping[str, str] = {
    "alicloud:ecs/eipAddress:EipAddress": "a public address",
    "alicloud:vpc/natGateway:NatGateway": "a NAT gateway",
    "tencentcloud:Eip/instance:Instance": "a public address",
    "tencentcloud:Nat/gateway:Gateway": "a NAT gateway",
    "huaweicloud:Vpc/eip:Eip": "a public address",
    "huaweicloud:Nat/gateway:Gateway": "a NAT gateway",
    "openstack:networking/floatingIp:FloatingIp": "a floating address",
}
# Inputs whose value makes something public, and what that is.
_PUBLIC_INPUTS: tuple[tuple[str, str, str], ...] = (
    (_ENDPOINT, "clusterInternet", "a public API endpoint"),
    ("huaweicloud:Cce/cluster:Cluster", "eip", "a public API endpoint"),
    ("huaweicloud:DedicatedElb/loadbalancer:Loadbalancer", "ipv4EipId", "a public load balancer"),
    ("openstack:networking/router:Router", "externalNetworkId", "a router to the outside"),
    (_TEMPLATE, "floatingIpEnabled", "floating addresses for nodes"),
    ("openstack:containerinfra/cluster:Cluster", "floatingIpEnabled", "floating addresses for nodes"),
)
# The input of a balancer that says where it answers, and the values that mean the internet.
_BALANCER_INPUTS: Mapping[str, str] = {
    "alicloud:slb/applicationLoadBalancer:ApplicationLoadBalancer": "addressType",
    "tencentcloud:Clb/instance:Instance": "networkType",
}
_PUBLIC_BALANCERS = ("internet", "OPEN")
# How the names of balancers begin; the zone follows.
BALANCER = "balancer-"
_PUBLIC_ADDRESS_FLAGS = ("publicIpAssigned", "internetMaxBandwidthOut")

CLUSTERS = (
    "alicloud:cs/managedKubernetes:ManagedKubernetes",
    "tencentcloud:Kubernetes/cluster:Cluster",
    "huaweicloud:Cce/cluster:Cluster",
    "openstack:containerinfra/cluster:Cluster",
)
BUCKETS = (
    "alicloud:oss/bucket:Bucket",
    "tencentcloud:Cos/bucket:Bucket",
    "huaweicloud:Obs/bucket:Bucket",
    "openstack:objectstorage/container:Container",
)
KEYS = (
    "alicloud:kms/key:Key",
    "tencentcloud:Kms/key:Key",
    "huaweicloud:Dew/key:Key",
    "openstack:keymanager/secretV1:SecretV1",
)


def landing_zones(posture: Posture) -> Iterator[tuple[Cloud, Recording]]:
    """The clouds that begin with a landing zone, each with its recording."""
    suffixes = {f".landing.{cloud.name}": cloud for cloud in posture.city.clouds if cloud.provider in VENDORS}
    for recording in posture.recordings:
        cloud = next((cloud for suffix, cloud in suffixes.items() if recording.stack.endswith(suffix)), None)
        if cloud is not None:
            yield cloud, recording


def public_parts(recording: Recording) -> Iterator[tuple[RecordedResource, str]]:
    """What of a landing zone the internet can reach, or is reached through: the resource and what it is."""
    for item in recording.resources:
        if item.type in PUBLIC_RESOURCES:
            yield item, PUBLIC_RESOURCES[item.type]
        for token, name, what in _PUBLIC_INPUTS:
            if item.type == token and item.inputs.get(name):
                yield item, what
        if item.inputs.get(_BALANCER_INPUTS.get(item.type, "")) in _PUBLIC_BALANCERS:
            yield item, "a public load balancer"
        if item.type == _ON_BY_DEFAULT:
            if item.inputs.get("newNatGateway") is not False:
                yield item, "a NAT gateway"
            if item.inputs.get("slbInternetEnabled") is not False:
                yield item, "a public API endpoint"
        if item.type == _TEMPLATE and _labels_of(item).get("master_lb_floating_ip_enabled") == "true":
            yield item, "a public API endpoint"
        scaling = item.inputs.get("autoScalingConfig")
        if isinstance(scaling, Mapping) and any(scaling.get(flag) for flag in _PUBLIC_ADDRESS_FLAGS):
            yield item, "public addresses for nodes"


def balanced_zone(item: RecordedResource) -> str:
    """The zone whose entry point a balancer leads to; empty for what is no balancer of an entry point."""
    return item.name.removeprefix(BALANCER) if item.name.startswith(BALANCER) else ""


def is_public_endpoint(what: str) -> bool:
    return what == "a public API endpoint"


def is_open_to_all(recording: Recording, endpoint: RecordedResource) -> bool:
    """Whether a public API endpoint has no access list, or one that is too wide to be one."""
    allowed = _access_list(recording, endpoint)
    return not allowed or is_no_access_list(allowed)


def _access_list(recording: Recording, endpoint: RecordedResource) -> tuple[str, ...]:
    """The ranges outside that may reach a public API endpoint; none where nothing says so."""
    if endpoint.type == _TEMPLATE:
        given = str(_labels_of(endpoint).get("master_lb_allowed_cidrs") or "").split(",")
        return tuple(cidr for cidr in given if cidr and not _is_inside(cidr))
    if endpoint.type != _ENDPOINT:
        return ()
    group = endpoint.inputs.get("clusterInternetSecurityGroup")
    rules = (item for item in recording.resources if group and item.inputs.get("securityGroupId") == group)
    return tuple(str(rule.get("cidrBlock")) for item in rules for rule in item.inputs.get("ingresses") or ())


def _is_inside(cidr: str) -> bool:
    """Whether no caller on the internet comes from there."""
    return any(IPv4Network(cidr, strict=False).subnet_of(private) for private in PRIVATE)


def _labels_of(template: RecordedResource) -> Mapping[str, Any]:
    labels = template.inputs.get("labels")
    return labels if isinstance(labels, Mapping) else {}


def keeps_secrets_encrypted(recording: Recording, cluster: RecordedResource) -> bool:
    """Whether the cluster's own store is encrypted with a key."""
    match cluster.type.partition(":")[0]:
        case "alicloud":
            return (
                _is_set(cluster.inputs, "encryptionProviderKey") and cluster.inputs.get("disableEncryption") is not True
            )
        case "tencentcloud":
            token = "tencentcloud:Kubernetes/encryptionProtection:EncryptionProtection"  # noqa: S105 - a type token
            return any(item.type == token for item in recording.resources)
        case "huaweicloud":
            return _is_set(cluster.inputs, "encryptionConfig") or _is_set(cluster.inputs, "kmsKeyId")
        case _:
            return False


def keeps_objects_encrypted(recording: Recording, bucket: RecordedResource) -> bool:
    """Whether what the bucket holds is encrypted with a key."""
    names = ("serverSideEncryptionRule", "encryptionAlgorithm", "kmsId", "kmsKeyId", "encryption")
    if any(_is_set(bucket.inputs, name) for name in names):
        return True
    return any("bucketServerSideEncryption" in item.type for item in recording.resources)


def keeps_volumes_encrypted(storage_class: RecordedResource) -> bool:
    """Whether a StorageClass says that its volumes are encrypted, in the parameters of its vendor's driver. Of Cinder's
    types a name is all that can be seen."""
    parameters = storage_class.inputs.get("parameters") or {}
    cinder = storage_class.inputs.get("provisioner") == "cinder.csi.openstack.org"
    return (cinder and _is_set(parameters, "type")) or any(
        ("crypt-key-id" in name and bool(value))
        or (name.lower() in ("encrypted", "encrypt") and str(value).lower() in ("true", "encrypt"))
        for name, value in parameters.items()
    )


def is_sm_key(item: RecordedResource) -> bool:
    """Whether the key is of an SM algorithm."""
    values = (item.inputs.get(name) for name in ("keySpec", "keyUsage", "keyAlgorithm", "algorithm"))
    return any(isinstance(value, str) and ("SM2" in value or "SM4" in value) for value in values)


def _is_set(inputs: Mapping[str, Any], name: str) -> bool:
    return bool(inputs.get(name))
