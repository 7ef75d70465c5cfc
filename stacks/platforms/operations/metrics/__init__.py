"""Metrics of a city: a store that scrapes apps and capabilities, in which each tenant reads its own series."""

from wecityctl.model.catalogue import (
    AlertRule,
    Binding,
    CapabilityType,
    Observer,
    Panel,
    Pods,
    Port,
    Right,
    Sidecar,
    UsageCounter,
    UseLimits,
)

TYPE = CapabilityType(
    name="metrics",
    platform="operations",
    title="metrics 监控指标",
    engines=("victoriametrics",),
    licence="Apache-2.0",
    program=f"{__name__}.program:Metrics",
    # Accounts are made on a port of their own, which no use opens; it also tells who has asked how much.
    ports=(Port("query", 8428, "http"), Port("admin", 8429, "http", metrics=True)),
    images=("metrics",),
    pods=(
        Pods(cpu="100m", memory="160Mi", storage="10Gi", sidecars=(Sidecar("access", "10m", "24Mi"),)),
        Pods("observer", cpu="50m", memory="48Mi", sidecars=(Sidecar("state", "20m", "32Mi"),)),
    ),
    binding=Binding(
        "prometheus",
        keys=("url", "username", "password"),
        credentials=("password",),
        provisioner=f"{__name__}.provision:PROVISIONER",
    ),
    versions=("1.151.0",),
    architectures=("amd64",),
    health="a series is written on 8428, read and deleted, and accounts are listed on 8429",
    probe=f"{__name__}.health:PROBE",
    backup=f"{__name__}.backup:SCRIPTS",
    tls=True,
    # Queries of one account that run at a time.
    limits=UseLimits(connections=4),
    # `nodes/metrics` and `nodes/proxy` are not among them: the latter runs commands in pods.
    observes=Observer(
        inside=(
            Right("", ("pods", "resourcequotas", "persistentvolumeclaims", "services")),
            Right("apps", ("deployments", "statefulsets")),
            Right("batch", ("jobs", "cronjobs")),
            Right("metrics.k8s.io", ("pods",)),
        ),
        cluster=(Right("", ("nodes",)),),
        scrapes=True,
    ),
    alerts=(
        # The store keeps its own figures in itself: one that takes nothing cannot keep that either. It answers, or the
        # rule could not be evaluated, and has no figure of the last minute.
        AlertRule(
            "StoreReadOnly",
            'absent_over_time(vm_storage_is_read_only{job="victoria-metrics"}[1m])',
            "the metrics store takes nothing more, as when its volume is full: what is told of the rest is old",
            severity="critical",
        ),
        AlertRule(
            "StoreTakesNoSeries",
            # Of the city's own neither, so that what is new has no alerts.
            'increase_prometheus({__name__=~"vm_(hourly|daily)_series_limit_rows_dropped_total",'
            'job="victoria-metrics"}[10m]) > 0',
            "the metrics store takes no new series, as there are too many for its memory: what is new is not watched",
            severity="critical",
        ),
    ),
    usage=(UsageCounter("queries", 'wecity_metrics_queries_total{capability="$capability"}'),),
    dashboard=(
        Panel(
            "Samples taken",
            'sum(rate(vm_rows_inserted_total{job="victoria-metrics"}[1m]))',
            "per second",
            whole_store=True,
        ),
        Panel("Samples kept", 'sum(vm_rows{job="victoria-metrics"})', whole_store=True),
        Panel("Size of the series", 'sum(vm_data_size_bytes{job="victoria-metrics"})', "bytes", whole_store=True),
        Panel("Free on the volume", 'vm_free_disk_space_bytes{job="victoria-metrics"}', "bytes", whole_store=True),
    ),
)
