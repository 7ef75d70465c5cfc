"""What policy rules read from the resources of a landing zone on Huawei Cloud."""

from __future__ import annotations

from wecityctl.policy.vendors import NAT_GATEWAY, PUBLIC_ADDRESS, PUBLIC_API, PUBLIC_BALANCER, Audit
from wecityctl.resource_graph import RecordedResource, Recording

_CLUSTER = "huaweicloud:Cce/cluster:Cluster"


def _encrypts_secrets(_recording: Recording, cluster: RecordedResource) -> bool:
    return bool(cluster.inputs.get("encryptionConfig") or cluster.inputs.get("kmsKeyId"))


AUDIT = Audit(
    cluster=_CLUSTER,
    bucket="huaweicloud:Obs/bucket:Bucket",
    key="huaweicloud:Dew/key:Key",
    public_resources={
        "huaweicloud:Vpc/eip:Eip": PUBLIC_ADDRESS,
        "huaweicloud:Nat/gateway:Gateway": NAT_GATEWAY,
    },
    public_inputs=(
        (_CLUSTER, "eip", PUBLIC_API),
        ("huaweicloud:DedicatedElb/loadbalancer:Loadbalancer", "ipv4EipId", PUBLIC_BALANCER),
    ),
    encrypts_secrets=_encrypts_secrets,
)
