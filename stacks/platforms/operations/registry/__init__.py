"""A registry of container images: the city's own, and those of each tenant, which nobody else pulls or replaces."""

from wecityctl.model.catalogue import AlertRule, Binding, CapabilityType, Panel, Pods, Port, UsageCounter, UseLimits

TYPE = CapabilityType(
    name="registry",
    platform="operations",
    title="image registry 镜像仓库",
    engines=("distribution",),
    licence="Apache-2.0",
    program=f"{__name__}.program:Registry",
    # Accounts are made on a port of their own, which no use opens; it also tells what was pushed and pulled.
    ports=(Port("registry", 5000, "http"), Port("admin", 5001, "http", metrics=True)),
    images=("registry",),
    pods=(Pods(cpu="100m", memory="80Mi", storage="20Gi"),),
    binding=Binding(
        "registry",
        keys=("uri", "repository", "username", "password", "config.json"),
        credentials=("password",),
        provisioner=f"{__name__}.provision:PROVISIONER",
        stores_data=True,
        docker_config="config.json",
    ),
    versions=("3.1.2",),
    architectures=("amd64",),
    health="a blob is pushed to 5000 in parts, pulled and deleted, and accounts are listed on 5001",
    probe=f"{__name__}.health:PROBE",
    backup=f"{__name__}.backup:SCRIPTS",
    tls=True,
    # Of the repositories of a tenant, for each of its uses.
    limits=UseLimits(storage="5Gi"),
    alerts=(
        AlertRule(
            "RepositoriesNearFull",
            # A tenant whose accounts are all locked has no limit, and pushes nothing.
            'wecity_registry_stored_bytes{capability="$capability"}'
            ' / (wecity_registry_limit_bytes{capability="$capability"} > 0) > 0.9',
            "the repositories of {{ $labels.tenant }} take {{ $value | humanizePercentage }} of what they may",
        ),
    ),
    usage=(UsageCounter("pulls", 'wecity_registry_pulls_total{capability="$capability"}'),),
    dashboard=(
        Panel("Images pulled", "sum by (tenant) (rate(wecity_registry_pulls_total[5m]))", "per second", by=("tenant",)),
        Panel("Images pushed", "sum by (tenant) (increase(wecity_registry_pushes_total[1h]))", by=("tenant",)),
        Panel(
            "Size of the repositories",
            "sum by (tenant) (wecity_registry_stored_bytes)",
            "bytes",
            by=("tenant",),
            limit="sum by (tenant) (wecity_registry_limit_bytes)",
        ),
        Panel("Volume", "wecity_volume_bytes_used", "bytes", limit="wecity_volume_bytes_size"),
    ),
)
