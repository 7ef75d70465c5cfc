"""IoT access by MQTT, in which each use has topics, devices and limits of its own."""

from wecityctl.model.catalogue import (
    VOLUME,
    AlertRule,
    Binding,
    CapabilityType,
    Panel,
    Pods,
    Port,
    UsageCounter,
    UseLimits,
)

TYPE = CapabilityType(
    name="iot",
    platform="data",
    title="IoT access 物联网接入",
    engines=("mosquitto",),
    licence="EPL-2.0",
    program=f"{__name__}.program:Iot",
    # What is counted is told on a port of its own, which no use opens.
    ports=(Port("mqtt", 8883), Port("metrics", 8884, "http", metrics=True)),
    images=("iot",),
    pods=(Pods(memory="256Mi", storage="2Gi"),),
    binding=Binding(
        "mqtt",
        keys=("username", "password", "prefix", "uri"),
        credentials=("password",),
        provisioner=f"{__name__}.provision:PROVISIONER",
        stores_data=True,
    ),
    versions=("2.0.11",),
    architectures=("amd64",),
    health="a retained message is published, read and cleared on 8883 as the administrator",
    probe=f"{__name__}.health:PROBE",
    backup=f"{__name__}.backup:SCRIPTS",
    tls=True,
    # Of the app and all its devices together.
    limits=UseLimits(connections=100),
    connections={"small": 1000, "medium": 4000, "large": 16000},
    alerts=(
        AlertRule(
            "RetainedMessagesNearFull",
            'wecity_iot_retained_bytes{capability="$capability"}'
            ' / wecity_iot_retained_bytes_limit{capability="$capability"} > 0.9',
            "the retained messages of {{ $labels.account }} take {{ $value | humanizePercentage }} of what they may",
        ),
    ),
    usage=(
        UsageCounter("messages received", 'wecity_iot_received_messages_total{capability="$capability"}'),
        UsageCounter("messages sent", 'wecity_iot_sent_messages_total{capability="$capability"}'),
    ),
    dashboard=(
        Panel("Connections", "sum by (account) (wecity_iot_connections)", by=("account",)),
        Panel(
            "Messages received",
            "sum by (account) (rate(wecity_iot_received_messages_total[1m]))",
            "per second",
            by=("account",),
        ),
        Panel(
            "Retained messages",
            "sum by (account) (wecity_iot_retained_bytes)",
            "bytes",
            by=("account",),
            limit="sum by (account) (wecity_iot_retained_bytes_limit)",
        ),
        Panel("Refusals", "sum by (account) (increase(wecity_iot_refusals_total[5m]))", by=("account",)),
        VOLUME,
    ),
)
