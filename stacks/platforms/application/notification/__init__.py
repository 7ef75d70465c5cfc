"""The capability type `notification`: messages of apps to people, by mail, SMS or a webhook of the city's."""

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

_TRIES = 'wecity_notification_tries_total{capability="$capability"'
TYPE = CapabilityType(
    name="notification",
    platform="application",
    title="notification 消息通知",
    engines=("notification",),
    licence="Apache-2.0",
    program=f"{__name__}.program:NotificationServer",
    # Accounts are made on a port of their own, which no use opens; it also serves the metrics.
    ports=(Port("notify", 8443, "http"), Port("admin", 8444, "http", metrics=True)),
    images=("notification",),
    pods=(Pods(memory="96Mi"),),
    binding=Binding(
        "notification",
        keys=("uri", "username", "password"),
        credentials=("password",),
        provisioner=f"{__name__}.provision:PROVISIONER",
        stores_data=True,
    ),
    uses=(CapabilityUse("postgresql", "db", UseLimits(connections=20, storage="4Gi")),),
    versions=("0.1.0",),
    architectures=("amd64",),
    health="a message is brought on 8443, sent to a sink and read back, and accounts are listed on 8444",
    probe=f"{__name__}.health:PROBE",
    tells=f"{__name__}.telling:TELLER",
    tls=True,
    # Messages of a use that a channel sends at a time, 60 in a minute for each; and bytes of its messages.
    limits=UseLimits(connections=4, storage="32Mi"),
    alerts=(
        AlertRule(
            "MessagesFail",
            # What is seen for the first time was not given up since then: `increase` would begin at 0.
            f'increase_prometheus({_TRIES},outcome="failed"}}[15m]) > 0',
            "messages of {{ $labels.tenant }}/{{ $labels.app }} by {{ $labels.channel }} are given up;"
            " `wecityctl status` says why",
            0,
        ),
        AlertRule(
            "MessagesWait",
            'wecity_notification_oldest_seconds{capability="$capability"} > 900',
            "a message of {{ $labels.tenant }}/{{ $labels.app }} has waited for {{ $value | humanizeDuration }}",
        ),
    ),
    usage=(UsageCounter("messages", f'{_TRIES},outcome="sent"}}'),),
    dashboard=(
        Panel(
            "Tries",
            "sum by (channel, outcome) (rate(wecity_notification_tries_total[5m]))",
            "per second",
            by=("channel", "outcome"),
        ),
        Panel(
            "Messages sent",
            'sum by (tenant, app) (rate(wecity_notification_tries_total{outcome="sent"}[5m]))',
            "per second",
            by=("tenant", "app"),
        ),
        Panel("Messages that wait", "sum by (tenant, app) (wecity_notification_queued)", by=("tenant", "app")),
    ),
)
