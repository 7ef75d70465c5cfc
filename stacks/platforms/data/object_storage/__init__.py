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
    ports=(Port("s3", 7070, "http"), Port("admin", 7071, "http")),
    images=("object-storage",),
    pods=(Pods(memory="256Mi", storage="10Gi"),),
    binding=Binding(
        "s3",
        keys=("endpoint", "region", "bucket", "access-key", "secret-key"),
        credentials=("secret-key",),
        provisioner=f"{__name__}.provision:PROVISIONER",
        stores_data=True,
    ),
    versions=("1.8.0",),
    architectures=("amd64",),
    health="a bucket is made on 7070, an object written, read and deleted in it, and users are listed on 7071",
    probe=f"{__name__}.health:PROBE",
    backup=f"{__name__}.backup:SCRIPTS",
    tls=True,
    limits=UseLimits(storage="2Gi"),
)
