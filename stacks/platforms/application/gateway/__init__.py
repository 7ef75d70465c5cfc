"""The capability type `gateway`: the city's single entry point."""

from wecityctl.model.catalogue import CapabilityType, Pods, Port

TYPE = CapabilityType(
    name="gateway",
    platform="application",
    title="single entry point 统一入口",
    engines=("nginx",),
    licence="BSD-2-Clause",
    program=f"{__name__}.program:Gateway",
    ports=(Port("http", 8080),),
    images=("gateway",),
    pods=(Pods(max_replicas=8),),
    entry=True,
    health="GET /-/health on 8080 answers with the digest of the routes that are served",
)
