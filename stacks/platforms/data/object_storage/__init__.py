"""Object storage behind the S3 protocol, in which each use has a bucket and a key pair of its own."""

from wecityctl.model.catalogue import Binding, CapabilityType, Pods, Port, UseLimits

TYPE = CapabilityType(
    name="object-storage",
    platform="data",
    title="object storage 对象存储",
    engines=("versitygw",),
    licence="Apache-2.0",
    program=f"{__name__}.program:ObjectStorage",
    # The administrator's interface has a port of its own, which no use opens.
    ports=(Port("s3", 7070), Port("admin", 7071)),
    images=("object-storage",),
    pods=(Pods(memory="256Mi", storage="10Gi"),),
    binding=Binding(
        "s3",
        keys=("endpoint", "region", "bucket", "access-key", "secret-key"),
        credentials=("secret-key",),
        provisioner=f"{__name__}.provision:PROVISIONER",
        stores_data=True,
    ),
    health="a provisioning Job makes a bucket and stores a limit with signed requests; GET /health on 7070 answers",
    tls=True,
    limits=UseLimits(storage="2Gi"),
)
