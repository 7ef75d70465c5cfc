"""The capability type `cache`: a Redis-compatible cache in which each use has its own user and key prefix."""

from wecityctl.model.catalogue import Binding, CapabilityType, Pods, Port, UseLimits

TYPE = CapabilityType(
    name="cache",
    platform="application",
    title="cache 缓存",
    engines=("valkey", "redis"),
    licence="BSD-3-Clause",
    program=f"{__name__}.program:Cache",
    ports=(Port("redis", 6379),),
    images=("cache",),
    pods=(Pods(memory="256Mi", storage="1Gi"),),
    binding=Binding(
        "redis",
        keys=("username", "password", "prefix", "uri"),
        credentials=("password",),
        provisioner=f"{__name__}.provision:PROVISIONER",
        stores_data=True,
    ),
    versions=("7.0", "7.2"),
    architectures=("amd64", "arm64"),
    health="a value is written, read and removed on 6379 as the administrator, and the access list is saved",
    probe=f"{__name__}.health:PROBE",
    backup=f"{__name__}.backup:SCRIPTS",
    tls=True,
    limits=UseLimits(connections=100, memory="32Mi"),
)
