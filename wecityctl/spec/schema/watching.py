"""The shapes of what is watched: where a component serves metrics, and where alerts are sent."""

from __future__ import annotations

from wecityctl.spec.schema import names
from wecityctl.spec.schema.base import Schema, options


class Metrics(Schema):
    """Where the component serves metrics in the Prometheus format."""

    port: names.PortName | None = options("The port's name; by default the first.", "http", default=None)
    path: names.HealthPath = options("The path.", "/metrics", default="/metrics")


class Alerts(Schema):
    """Where alerts are sent to, by the capability `alerts`."""

    webhook: names.WebhookUrl = options(
        "An address that takes alerts as Alertmanager posts them: https, or http at an address that is not public.",
        "https://oncall.example/hooks/city",
    )
    addresses: list[names.Source] = options(
        "Ranges in which the name of that address may be found; without them on the internet alone.",
        ["10.8.4.0/24"],
        default_factory=list,
    )
