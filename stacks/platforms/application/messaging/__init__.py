"""The capability type `messaging`: NATS with JetStream, in which each use has an account with its own streams."""

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
    name="messaging",
    platform="application",
    title="messaging 消息",
    engines=("nats",),
    licence="Apache-2.0",
    program=f"{__name__}.program:Messaging",
    # Accounts are made on a port of their own, which no use opens; it also tells what is counted.
    ports=(Port("nats", 4222), Port("admin", 4223, "http", metrics=True)),
    images=("messaging",),
    pods=(Pods(memory="384Mi", storage="10Gi"),),
    binding=Binding(
        "nats",
        keys=("uri", "username", "password", "account"),
        credentials=("password",),
        provisioner=f"{__name__}.provision:PROVISIONER",
        stores_data=True,
    ),
    versions=("2.15.3",),
    architectures=("amd64",),
    health="a message is published into a stream on 4222, read and deleted with it, and accounts are listed on 4223",
    probe=f"{__name__}.health:PROBE",
    backup=f"{__name__}.backup:SCRIPTS",
    tls=True,
    limits=UseLimits(connections=50, storage="512Mi", memory="4Mi"),
    connections={"small": 1000, "medium": 4000, "large": 16000},
    alerts=(
        AlertRule(
            "StreamsNearFull",
            'wecity_messaging_stored_bytes{capability="$capability"}'
            ' / wecity_messaging_stored_limit_bytes{capability="$capability"} > 0.9',
            "the streams of {{ $labels.account }} take {{ $value | humanizePercentage }} of what they may",
        ),
        AlertRule(
            "StreamsTakeNothing",
            'wecity_messaging_takes_nothing{capability="$capability"} == 1',
            "{{ $labels.account }} can publish into no stream: it has too many subjects, or the volume is nearly full",
        ),
    ),
    usage=(UsageCounter("messages", 'wecity_messaging_received_messages_total{capability="$capability"}'),),
    dashboard=(
        Panel(
            "Messages from apps",
            "sum by (account) (rate(wecity_messaging_received_messages_total[5m]))",
            "per second",
            by=("account",),
        ),
        Panel(
            "Messages to apps",
            "sum by (account) (rate(wecity_messaging_sent_messages_total[5m]))",
            "per second",
            by=("account",),
        ),
        Panel(
            "Bytes of streams",
            "sum by (account) (wecity_messaging_stored_bytes)",
            "bytes",
            by=("account",),
            limit="sum by (account) (wecity_messaging_stored_limit_bytes)",
        ),
        Panel(
            "Connections",
            "sum by (account) (wecity_messaging_connections)",
            by=("account",),
            limit="sum by (account) (wecity_messaging_connections_limit)",
        ),
        VOLUME,
    ),
)
