"""A catalogue of data assets, and an API over tables of which each consumer has what the owner grants it."""

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
    name="data-services",
    platform="data",
    title="data assets and data services 数据资产与数据服务",
    engines=("data-services",),
    licence="Apache-2.0",
    program=f"{__name__}.program:DataServices",
    # Accounts are made on a port of their own, which no use opens; it also tells what is counted.
    ports=(Port("data", 8443, "http"), Port("admin", 8444, "http", metrics=True)),
    images=("data-services",),
    pods=(Pods(memory="160Mi"),),
    binding=Binding(
        "data-services",
        keys=("uri", "username", "password"),
        credentials=("password",),
        provisioner=f"{__name__}.provision:PROVISIONER",
        stores_data=True,
    ),
    # Owners' tables are read as a role of its own, which has nothing but what owners grant it.
    uses=(
        CapabilityUse("postgresql", "db", UseLimits(connections=20, storage="4Gi")),
        CapabilityUse("postgresql", "reader", UseLimits(connections=20, storage="64Mi", statement_seconds=15)),
    ),
    # The key of cursors and hashes.
    secrets=("masking",),
    versions=("0.1.0",),
    architectures=("amd64",),
    health="an asset is described on 8443, its table read and a column refused, and accounts are listed on 8444",
    probe=f"{__name__}.health:PROBE",
    tells=f"{__name__}.telling:TELLER",
    tls=True,
    # Calls of a use that are answered at a time, and bytes of the documents that describe its assets.
    limits=UseLimits(connections=4, storage="4Mi"),
    alerts=(
        AlertRule(
            "TablesNotRead",
            'increase(wecity_data_calls_total{capability="$capability",outcome="failed"}[5m]) > 0',
            "calls of {{ $labels.tenant }}/{{ $labels.app }} fail; `wecityctl status` names the assets",
        ),
    ),
    usage=(UsageCounter("calls", 'wecity_data_calls_total{capability="$capability",outcome="served"}'),),
    dashboard=(
        Panel("Calls", "sum by (outcome) (rate(wecity_data_calls_total[5m]))", "per second", by=("outcome",)),
        Panel(
            "Calls that were served",
            'sum by (tenant, app) (rate(wecity_data_calls_total{outcome="served"}[5m]))',
            "per second",
            by=("tenant", "app"),
        ),
        Panel("Rows", "sum by (tenant, app) (rate(wecity_data_rows_total[5m]))", "per second", by=("tenant", "app")),
    ),
)
