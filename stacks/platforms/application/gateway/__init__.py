"""The capability type `gateway`: the city's single entry point."""

from wecityctl.model.catalogue import CapabilityType, Panel, Pods, Port, Sidecar, UsageCounter

TYPE = CapabilityType(
    name="gateway",
    platform="application",
    title="single entry point 统一入口",
    engines=("nginx",),
    licence="BSD-2-Clause",
    program=f"{__name__}.program:Gateway",
    ports=(Port("http", 8080, "http"), Port("metrics", 8081, "http", metrics=True)),
    images=("gateway",),
    pods=(Pods(max_replicas=8, sidecars=(Sidecar("loader", "10m", "32Mi"),)),),
    entry=f"{__name__}.routes:INTERFACE",
    versions=("1.22", "1.30"),
    architectures=("amd64", "arm64"),
    health="GET /-/health on 8080 is answered by `ok`, and a host without a route by 404",
    probe=f"{__name__}.health:PROBE",
    dashboard=(
        Panel(
            "Requests",
            "sum by (service_namespace, service) (rate(wecity_gateway_requests_total[1m]))",
            "per second",
            ("service_namespace", "service"),
        ),
    ),
    # Those of all gateways on a cloud, also of zones with one of their own.
    usage=(UsageCounter("requests", "wecity_gateway_requests_total"),),
)
