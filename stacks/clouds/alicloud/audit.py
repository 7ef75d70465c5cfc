"""What policy rules read from the resources of a landing zone on Alibaba Cloud."""

from __future__ import annotations

from collections.abc import Iterator

from wecityctl.policy.vendors import NAT_GATEWAY, PUBLIC_ADDRESS, PUBLIC_API, Audit
from wecityctl.resource_graph import RecordedResource, Recording

_CLUSTER = "alicloud:cs/managedKubernetes:ManagedKubernetes"


def _is_public(item: RecordedResource) -> Iterator[str]:
    """By default the vendor creates a NAT gateway and a public API server, so both must be switched off explicitly."""
    if item.type == _CLUSTER:
        if item.inputs.get("newNatGateway") is not False:
            yield NAT_GATEWAY
        if item.inputs.get("slbInternetEnabled") is not False:
            yield PUBLIC_API


def _encrypts_secrets(_recording: Recording, cluster: RecordedResource) -> bool:
    return bool(cluster.inputs.get("encryptionProviderKey")) and cluster.inputs.get("disableEncryption") is not True


AUDIT = Audit(
    cluster=_CLUSTER,
    bucket="alicloud:oss/bucket:Bucket",
    key="alicloud:kms/key:Key",
    public_resources={
        "alicloud:ecs/eipAddress:EipAddress": PUBLIC_ADDRESS,
        "alicloud:vpc/natGateway:NatGateway": NAT_GATEWAY,
    },
    balancer=("alicloud:slb/applicationLoadBalancer:ApplicationLoadBalancer", "addressType", "internet"),
    is_public=_is_public,
    encrypts_secrets=_encrypts_secrets,
)
