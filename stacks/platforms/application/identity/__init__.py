"""The capability type `identity`: users and tokens by OpenID Connect; each use has a client in its tenant's realm."""

from wecityctl.model.catalogue import Binding, CapabilityType, CapabilityUse, Panel, Pods, Port, UseLimits

TYPE = CapabilityType(
    name="identity",
    platform="application",
    title="identity and sign-in 统一身份认证",
    engines=("keycloak",),
    licence="Apache-2.0",
    program=f"{__name__}.program:Identity",
    ports=(
        Port("https", 8443, "https", ui=True),
        Port("management", 9000, "https", metrics=True, metrics_path="/auth/metrics"),
    ),
    images=("identity",),
    pods=(Pods(cpu="500m", memory="768Mi"),),
    binding=Binding(
        "oidc",
        keys=("issuer", "client-id", "client-secret"),
        credentials=("client-secret",),
        provisioner=f"{__name__}.provision:PROVISIONER",
        stores_data=True,
    ),
    uses=(CapabilityUse("postgresql", "db", UseLimits(connections=20)),),
    versions=("26.7.3",),
    architectures=("amd64",),
    health="a client of the server's own gets a token and reads what the token opens",
    probe=f"{__name__}.health:PROBE",
    rotation=f"{__name__}.rotation:ROTATE",
    tls=True,
    dashboard=(
        Panel("Requests", "sum(rate(http_server_requests_seconds_count[1m]))", "per second"),
        Panel(
            "Heap of Java",
            'sum(jvm_memory_used_bytes{area="heap"})',
            "bytes",
            limit='sum(jvm_memory_max_bytes{area="heap"} > 0)',
        ),
        Panel(
            "Connections to the database in use",
            "sum(agroal_active_count)",
            limit="sum(agroal_active_count + agroal_available_count)",
        ),
    ),
)
