"""Values that an app reads by key and is told of when they change, each app's for itself, in PostgreSQL."""

from wecityctl.model.catalogue import (
    AlertRule,
    Binding,
    CapabilityType,
    CapabilityUse,
    Panel,
    Pods,
    Port,
    UsageCounter,
    UseLimits,
)

TYPE = CapabilityType(
    name="configuration",
    platform="application",
    title="configuration 配置中心",
    engines=("configuration",),
    licence="Apache-2.0",
    program=f"{__name__}.program:Configuration",
    # Accounts are made on a port of their own, which no use opens; it also tells what is counted.
    ports=(Port("values", 8543, "http"), Port("admin", 8544, "http", metrics=True)),
    images=("configuration",),
    pods=(Pods(memory="256Mi"),),
    binding=Binding(
        "configuration",
        keys=("uri", "username", "password"),
        credentials=("password",),
        provisioner=f"{__name__}.provision:PROVISIONER",
        stores_data=True,
    ),
    uses=(CapabilityUse("postgresql", "db", UseLimits(connections=10, storage="1Gi")),),
    versions=("0.1.0",),
    architectures=("amd64",),
    health="a value is set on 8543, told to whoever waits for it, read and deleted, and accounts are listed on 8544",
    probe=f"{__name__}.health:PROBE",
    tls=True,
    # Requests of a use that wait for a change at a time, and bytes of its values with their versions.
    limits=UseLimits(connections=20, storage="1Mi"),
    connections={"small": 400, "medium": 1600, "large": 6400},
    alerts=(
        AlertRule(
            "ConfigurationNearFull",
            'wecity_configuration_value_bytes{capability="$capability"}'
            ' / wecity_configuration_limit_bytes{capability="$capability"} > 0.9',
            "the values of {{ $labels.account }} take {{ $value | humanizePercentage }} of what they may",
        ),
    ),
    usage=(UsageCounter("changes", 'wecity_configuration_changes_total{capability="$capability"}'),),
    dashboard=(
        Panel(
            "Changes",
            "sum by (tenant, app) (rate(wecity_configuration_changes_total[5m]))",
            "per second",
            by=("tenant", "app"),
        ),
        Panel(
            "Requests that were refused",
            "sum by (tenant, app) (rate(wecity_configuration_refused_total[5m]))",
            "per second",
            by=("tenant", "app"),
        ),
        Panel(
            "Waiting for changes",
            "sum by (account) (wecity_configuration_waiting)",
            by=("account",),
            limit="sum by (account) (wecity_configuration_waiting_limit)",
        ),
        Panel(
            "Bytes of values",
            "sum by (account) (wecity_configuration_value_bytes)",
            "bytes",
            by=("account",),
            limit="sum by (account) (wecity_configuration_limit_bytes)",
        ),
    ),
)
