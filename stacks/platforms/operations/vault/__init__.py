"""Secrets that apps keep and read at run time: each use has a store of its own, with versions, in an OpenBao server."""

from wecityctl.model.catalogue import VOLUME, Binding, CapabilityType, Panel, Pods, Port, UseLimits

TYPE = CapabilityType(
    name="vault",
    platform="operations",
    title="secrets vault 密钥管理",
    engines=("openbao",),
    licence="MPL-2.0",
    program=f"{__name__}.program:Vault",
    # What the server measures is told on a port of its own, which no use opens.
    ports=(Port("api", 8200, "http"), Port("metrics", 8202, "http", metrics=True)),
    images=("vault",),
    pods=(Pods(memory="200Mi", storage="2Gi"),),
    binding=Binding(
        "vault",
        keys=("uri", "path", "authentication-method", "role-id", "secret-id"),
        credentials=("secret-id",),
        provisioner=f"{__name__}.provision:PROVISIONER",
        stores_data=True,
    ),
    versions=("2.7.2",),
    architectures=("amd64",),
    secrets=("seal",),
    health="an entry is written, read and deleted on 8200 in a store of the probe's own",
    probe=f"{__name__}.health:PROBE",
    rotation=f"{__name__}.rotation:ROTATE",
    backup=f"{__name__}.backup:SCRIPTS",
    tls=True,
    limits=UseLimits(storage="64Mi"),
    dashboard=(
        Panel("Requests", "sum(rate(vault_core_handle_request_count[1m]))", "per second"),
        Panel("Sign-ins", "sum(rate(vault_core_handle_login_request_count[1m]))", "per second"),
        VOLUME,
    ),
)
