"""What policy rules read from the resources of a landing zone on Tencent Cloud."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from wecityctl.policy.vendors import NAT_GATEWAY, PUBLIC_ADDRESS, PUBLIC_API, PUBLIC_NODES, Audit
from wecityctl.resource_graph import RecordedResource, Recording

_ENDPOINT = "tencentcloud:Kubernetes/clusterEndpoint:ClusterEndpoint"
_ENCRYPTION = "tencentcloud:Kubernetes/encryptionProtection:EncryptionProtection"
_PUBLIC_ADDRESS_FLAGS = ("publicIpAssigned", "internetMaxBandwidthOut")


def _is_public(item: RecordedResource) -> Iterator[str]:
    scaling = item.inputs.get("autoScalingConfig")
    if isinstance(scaling, Mapping) and any(scaling.get(flag) for flag in _PUBLIC_ADDRESS_FLAGS):
        yield PUBLIC_NODES


def _access_list(recording: Recording, endpoint: RecordedResource) -> tuple[str, ...]:
    """The ranges that the security group of the endpoint allows."""
    group = endpoint.inputs.get("clusterInternetSecurityGroup") if endpoint.type == _ENDPOINT else None
    rules = (item for item in recording.resources if group and item.inputs.get("securityGroupId") == group)
    return tuple(str(rule.get("cidrBlock")) for item in rules for rule in item.inputs.get("ingresses") or ())


def _encrypts_secrets(recording: Recording, _cluster: RecordedResource) -> bool:
    return any(item.type == _ENCRYPTION for item in recording.resources)


AUDIT = Audit(
    cluster="tencentcloud:Kubernetes/cluster:Cluster",
    bucket="tencentcloud:Cos/bucket:Bucket",
    key="tencentcloud:Kms/key:Key",
    public_resources={
        "tencentcloud:Eip/instance:Instance": PUBLIC_ADDRESS,
        "tencentcloud:Nat/gateway:Gateway": NAT_GATEWAY,
    },
    public_inputs=((_ENDPOINT, "clusterInternet", PUBLIC_API),),
    balancer=("tencentcloud:Clb/instance:Instance", "networkType", "OPEN"),
    is_public=_is_public,
    access_list=_access_list,
    encrypts_secrets=_encrypts_secrets,
)
