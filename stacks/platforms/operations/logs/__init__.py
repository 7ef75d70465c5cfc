"""Logs of a city: a store of what its pods write, and a shipper on each node. Each tenant reads its own."""

from wecityctl.model.catalogue import (
    VOLUME,
    AlertRule,
    Binding,
    CapabilityType,
    Observer,
    Panel,
    Pods,
    Port,
    Right,
    UseLimits,
)

TYPE = CapabilityType(
    name="logs",
    platform="operations",
    title="logs 日志",
    engines=("victorialogs",),
    licence="Apache-2.0",
    program=f"{__name__}.program:Logs",
    # What the server measures is told on a port of its own, which no use opens.
    ports=(Port("logs", 9428, "http"), Port("metrics", 9429, "http", metrics=True)),
    images=("logs",),
    pods=(
        Pods(cpu="100m", memory="128Mi", storage="10Gi"),
        Pods("shipper", cpu="30m", memory="48Mi", each_node=True),
    ),
    binding=Binding(
        "logs",
        keys=("uri", "username", "password"),
        credentials=("password",),
        provisioner=f"{__name__}.provision:PROVISIONER",
    ),
    versions=("1.52.1",),
    architectures=("amd64",),
    health="a line is sent to 9428 as a shipper sends it, and a query finds it",
    probe=f"{__name__}.health:PROBE",
    backup=f"{__name__}.backup:SCRIPTS",
    tls=True,
    # Requests of one account that are answered at a time.
    limits=UseLimits(connections=4),
    alerts=(
        AlertRule(
            "LogStoreReadOnly",
            'vl_storage_is_read_only{capability="$capability"} == 1',
            "$capability takes no lines, as its volume is full; nodes keep theirs for a while",
            severity="critical",
        ),
        AlertRule(
            "LogShipperSilent",
            # One whose node is gone is no loss.
            'wecity_log_shipper_silent_seconds{capability="$capability"} > 60'
            ' and on (node) kube_node_status_condition{condition="Ready"} == 1',
            "$capability has heard nothing of the shipper of node {{ $labels.node }} for"
            " {{ $value | humanizeDuration }}: lines of its pods are not stored",
            120,
        ),
        AlertRule(
            "LogShipperBehind",
            'wecity_log_shipper_behind_seconds{capability="$capability"} > 300',
            "lines of node {{ $labels.node }} have been waiting for {{ $value | humanizeDuration }} for $capability to"
            " take them",
        ),
    ),
    dashboard=(
        Panel("Lines taken", "sum(rate(vl_rows_ingested_total[1m]))", "per second"),
        Panel("Size of the logs", "sum(vl_data_size_bytes)", "bytes", limit="sum(vl_max_disk_space_usage_bytes)"),
        VOLUME,
    ),
    tells=f"{__name__}.telling:TELLER",
    observes=Observer(inside=(Right("", ("pods",)), Right("", ("pods/log",), ("get",)))),
)
