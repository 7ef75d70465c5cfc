"""Alerts of a city: rules that are evaluated over its metrics, and the people who are told."""

from wecityctl.model.catalogue import AlertRule, CapabilityType, CapabilityUse, Panel, Pods, Port, Sidecar, UseLimits

SIDECARS = (Sidecar("alertmanager", "8m", "32Mi"), Sidecar("webhooks", "2m", "8Mi"))
TYPE = CapabilityType(
    name="alerts",
    platform="operations",
    title="alerts 告警",
    engines=("alertmanager",),
    licence="Apache-2.0",
    program=f"{__name__}.program:Alerts",
    # Which messages were not taken is told on a port of its own.
    ports=(Port("alerts", 8880, "http"), Port("metrics", 8881, "http", metrics=True)),
    images=("alerts",),
    pods=(Pods(cpu="20m", memory="40Mi", sidecars=SIDECARS),),
    uses=(CapabilityUse("metrics", "metrics", UseLimits(connections=16)),),
    versions=("0.31.1",),
    architectures=("amd64",),
    health="all rules are evaluated without an error on 8880",
    probe=f"{__name__}.health:PROBE",
    tls=True,
    tells_alerts=True,
    alerts=(
        AlertRule(
            "NotTold",
            # Alertmanager repeats what is not taken every few seconds.
            'increase_prometheus(alertmanager_notifications_failed_total{capability="$capability"}[5m]) > 2',
            "{{ $value }} messages to the webhook of {{ $labels.receiver_name }} were not taken within 5 minutes"
            " ({{ $labels.reason }})",
            0,
            "critical",
        ),
    ),
    dashboard=(
        Panel(
            "Alerts of all that fire",
            'count by (alertname) (ALERTS{alertstate="firing"})',
            by=("alertname",),
            whole_store=True,
        ),
        Panel(
            "Alerts of all that are about to",
            'count by (alertname) (ALERTS{alertstate="pending"})',
            by=("alertname",),
            whole_store=True,
        ),
    ),
)
