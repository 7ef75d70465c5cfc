"""The rules of alerts: those for every app and capability, and those that capability types bring. Pure functions.

An alert has the labels of whose it is: tenant, app and component, or platform, capability and component.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from wecityctl.inputs import StackInputs
from wecityctl.model.catalogue import AlertRule
from wecityctl.model.city import Alerts, Capability
from wecityctl.model.own_networks import declared_networks

# Seconds after which vmalert tells Alertmanager again of what fires. What it has not told of for four times as long is
# over for Alertmanager: nobody is told so because the metrics store is restarted, and answers nothing meanwhile.
RESEND = 30
# Seconds between two evaluations. With what a fault takes to be scraped (5), to last (10) and to be sent (a few), an
# alert about something that is down arrives within half a minute.
EVERY = 5
# The proxy by which Alertmanager reaches webhooks (`image/go/webhooks`), on the pod's loopback device.
PROXY_PORT = 9094

_DOWN = (
    "(kube_deployment_status_replicas_available == 0 and kube_deployment_spec_replicas > 0)"
    " or (kube_statefulset_status_replicas_ready == 0 and kube_statefulset_replicas > 0)"
)
_FEWER = (
    "(kube_deployment_status_replicas_available < kube_deployment_spec_replicas)"
    " or (kube_statefulset_status_replicas_ready < kube_statefulset_replicas)"
)
# Of containers and of those that initialise a pod.
_RESTARTS = '{__name__=~"kube_pod_(init_)?container_status_restarts_total"}'
# Of an image that cannot be pulled, `ErrImagePull` is told for a moment between long `ImagePullBackOff`.
_WAITS = (
    '{__name__=~"kube_pod_(init_)?container_status_waiting_reason",'
    'reason!~"ContainerCreating|PodInitializing|ErrImagePull"}'
)
# A failed run of a schedule stays for days, long after a later one has succeeded.
_MADE_UP_FOR = "kube_job_created < on (namespace, cronjob) group_left () kube_cronjob_status_last_successful_time"
_BACKUPS = '{component="backup",capability!=""}'
# An `up` issues certificates anew months before.
_NEAR_END = 30 * 86_400
# What the longest backup may take, in seconds, and for how long the cluster may try to begin with it.
_SLACK = 7_200
_WHOSE = "{{ or $labels.app $labels.capability }} {{ $labels.component }}"

DEFAULT = (
    AlertRule("Down", _DOWN, f"{_WHOSE} is down: no pod of it is ready", 10, "critical"),
    AlertRule("Degraded", _FEWER, f"{_WHOSE} has {{{{ $value }}}} ready pods, fewer than it should", 300),
    AlertRule(
        "Restarting",
        # What is seen for the first time has not restarted as often as it says since then: `increase` would begin at 0.
        f"increase_prometheus({_RESTARTS}[10m]) > 2",
        f"container {{{{ $labels.container }}}} of {_WHOSE} has restarted {{{{ $value }}}} times in 10 minutes",
        0,
    ),
    AlertRule(
        "CannotStart",
        # One that crashes again and again runs for a while in between, before it waits for five minutes.
        f"max_over_time({_WAITS}[1m]) == 1",
        f"a pod of {_WHOSE} cannot start: {{{{ $labels.reason }}}}",
        # Two minutes, and that of the expression.
        180,
        keep=300,
    ),
    AlertRule(
        "JobFailed",
        f"kube_job_failed == 1 unless on (namespace, job_name) ({_MADE_UP_FOR})",
        f"job {{{{ $labels.job_name }}}} of {_WHOSE} has failed",
        0,
    ),
    AlertRule(
        "JobLate",
        "kube_cronjob_status_last_schedule_time > (kube_cronjob_status_last_successful_time or"
        " kube_cronjob_status_last_schedule_time * 0) and time() - kube_cronjob_status_last_schedule_time > 3600"
        " and kube_cronjob_spec_suspend == 0",
        f"the last run of {{{{ $labels.cronjob }}}} of {_WHOSE} has not succeeded within an hour",
        0,
    ),
    # The cluster waits until its clock is there again.
    AlertRule(
        "JobAhead",
        "kube_cronjob_status_last_schedule_time - time() > 600 and kube_cronjob_spec_suspend == 0",
        f"by a clock that was ahead, the last run of {{{{ $labels.cronjob }}}} of {_WHOSE} begins in"
        " {{ $value | humanizeDuration }}: it does not run before. Delete the CronJob: `wecityctl up` makes it again",
    ),
    AlertRule(
        "BackupSuspended",
        f"kube_cronjob_spec_suspend{_BACKUPS} == 1",
        f"the schedule of backups {{{{ $labels.cronjob }}}} of {_WHOSE} is suspended: no backup is taken",
        300,
    ),
    AlertRule(
        "CertificateNearEnd",
        f"wecity_certificate_end_time_seconds - time() < {_NEAR_END}",
        "the certificate of {{ $labels.service }} in {{ $labels.namespace }} ends in {{ $value | humanizeDuration }};"
        " `wecityctl up` issues a new one, but for one that you have given it",
        0,
    ),
    AlertRule(
        "QuotaNear",
        'kube_resourcequota{type="used",tenant!=""} / ignoring (type) (kube_resourcequota{type="hard",tenant!=""} > 0)'
        " > 0.9",
        "{{ $value | humanizePercentage }} of the quota for {{ $labels.resource }} in {{ $labels.namespace }} is used",
    ),
    AlertRule(
        "NoMetrics",
        'up{job!~"state|usage|victoria-metrics"} == 0',
        f"pod {{{{ $labels.pod }}}} of {_WHOSE} does not serve its metrics, or too many",
    ),
    AlertRule(
        "SeriesDropped",
        "scrape_series_limit_samples_dropped > 0",
        f"pod {{{{ $labels.pod }}}} of {_WHOSE} has served so many series within a day that new ones are not taken",
        300,
    ),
    AlertRule(
        "VolumeNearFull",
        "wecity_volume_bytes_used / wecity_volume_bytes_size > 0.9",
        f"{{{{ $value | humanizePercentage }}}} of the volume of {_WHOSE} is used",
    ),
    AlertRule(
        "VolumePending",
        'kube_persistentvolumeclaim_status_phase{phase!="Bound"} == 1',
        "volume {{ $labels.persistentvolumeclaim }} in {{ $labels.namespace }} is {{ $labels.phase }}",
        300,
    ),
    AlertRule(
        "NodeNotReady",
        'kube_node_status_condition{condition="Ready"} == 0',
        "node {{ $labels.node }} is not ready",
        30,
        "critical",
    ),
    AlertRule(
        "NodeUnderPressure",
        'kube_node_status_condition{condition=~".*Pressure"} == 1',
        "node {{ $labels.node }} has {{ $labels.condition }}",
        30,
    ),
    AlertRule(
        "NotObserved",
        # A plain `up` is answered by a value of up to five minutes ago when the observer's node is gone, or the store
        # takes nothing.
        'absent(last_over_time(up{job="state"}[1m]) == 1)',
        "nothing is known of the city's objects: the observer of metrics is silent, or the store takes nothing",
        60,
        "critical",
    ),
    AlertRule(
        "NotRead",
        "count by (resource) (wecity_unread) > 0",
        "the API server does not tell of {{ $labels.resource }} in {{ $value }} lists that it has told of before:"
        " alerts about them are silent",
        120,
        "critical",
    ),
)


def groups(inputs: StackInputs) -> dict[str, Any]:
    """The rules of a city as vmalert reads them: the general ones, and those of the capabilities on this cloud."""
    city, cloud = inputs.city, inputs.stack.cloud
    here = [item for item in city.capabilities if inputs.placement.capabilities[item.name] == cloud]
    own = [_rule(rule, item) for item in here for rule in inputs.catalogue[item.type].alerts]
    backup = city.compliance.backup
    taken = (backups_missing(backup.schedule),) if backup.is_taken else ()
    found = [_group("city", [_rule(rule) for rule in (*DEFAULT, *taken)])]
    return {"groups": [*found, *([_group("capabilities", own)] if own else [])]}


def backups_missing(schedule: str) -> AlertRule:
    """The rule for backups by a cron expression of which none was begun for longer than the schedule allows.

    That is so from the beginning, or since the cluster has stopped.
    """
    begun = (
        f"kube_cronjob_status_last_schedule_time{_BACKUPS} or on (namespace, cronjob) kube_cronjob_created{_BACKUPS}"
    )
    return AlertRule(
        "BackupsMissing",
        f"time() - ({begun}) > {longest_pause(schedule) + _SLACK}"
        f" unless on (namespace, cronjob) kube_cronjob_spec_suspend{_BACKUPS} == 1",
        f"no backup {{{{ $labels.cronjob }}}} of {_WHOSE} has begun for {{{{ $value | humanizeDuration }}}}",
    )


def longest_pause(schedule: str) -> int:
    """The seconds between two times of a cron expression, at the most: an hour, a day, a week, a month or a year."""
    hour, day, week, month, year = 3600, 86_400, 7 * 86_400, 31 * 86_400, 366 * 86_400
    macros = {"@hourly": hour, "@daily": day, "@weekly": week, "@monthly": month, "@yearly": year}
    if schedule in macros:
        return macros[schedule]
    _, hours, days, months, weekdays = (word in ("*", "*/1") for word in schedule.split())
    if not months:
        return year
    # With both restricted, either of both days will do.
    if not weekdays:
        return week
    if not days:
        return month
    return hour if hours else day


def _group(name: str, rules: Iterable[dict[str, Any]]) -> dict[str, Any]:
    return {"name": name, "interval": f"{EVERY}s", "rules": list(rules)}


def _rule(rule: AlertRule, capability: Capability | None = None) -> dict[str, Any]:
    labels: dict[str, str] = {"severity": rule.severity}
    expression, summary = rule.expression, rule.summary
    if capability is not None:
        labels |= {"platform": capability.platform, "capability": capability.name}
        expression = expression.replace("$capability", capability.name)
        summary = summary.replace("$capability", capability.name)
    return {
        "alert": rule.name,
        "expr": expression,
        "for": f"{rule.seconds}s",
        **({"keep_firing_for": f"{rule.keep}s"} if rule.keep else {}),
        "labels": labels,
        "annotations": {"summary": summary},
    }


# A receiver's name, the tenant whose alerts it gets (empty: all alerts), and where.
Receiver = tuple[str, str, Alerts]


def receivers(inputs: StackInputs) -> Iterator[Receiver]:
    """Yield who is told."""
    for tenant in inputs.city.tenants:
        if tenant.alerts is not None:
            yield f"tenant/{tenant.name}", tenant.name, tenant.alerts
    if inputs.city.alerts is not None:
        yield "city", "", inputs.city.alerts


@dataclass(frozen=True, order=True)
class Webhook:
    """What a connection to a webhook is made to. `addresses` are ranges in which its name may be found.

    `may_be_own`: it may be in the city's own clusters, as only a webhook of the City may.
    """

    scheme: str
    host: str
    port: int
    addresses: tuple[str, ...]
    may_be_own: bool = False

    @property
    def is_name(self) -> bool:
        """Whether the host is a name, and not an address."""
        try:
            ipaddress.ip_address(self.host)
        except ValueError:
            return True
        return False


def webhooks(told: Iterable[Receiver]) -> list[Webhook]:
    """The webhooks that alerts are sent to, each once."""
    found = set()
    for _, tenant, alerts in told:
        parts = urlsplit(alerts.webhook)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        found.add(Webhook(parts.scheme, parts.hostname or "", port, alerts.addresses, not tenant))
    return sorted(found)


def own_networks(inputs: StackInputs) -> list[str]:
    """The ranges of the city's clusters, in which no tenant's webhook may be: what the files and the cluster say."""
    found = {str(own) for cloud in inputs.city.clouds for own, _ in declared_networks(cloud)}
    if inputs.cluster is not None:
        found |= {*inputs.cluster.networks}
        hosts = (item.rpartition(":")[0].strip("[]") for item in inputs.cluster.api_servers)
        found |= {str(ipaddress.ip_network(host)) for host in hosts}
    return sorted(found)


def routing(told: Sequence[Receiver]) -> dict[str, Any]:
    """Alertmanager's configuration: each tenant is told its own alerts, and the city all."""
    routes: list[dict[str, Any]] = [
        {"receiver": name, "continue": True, **({"matchers": [f'tenant="{tenant}"']} if tenant else {})}
        for name, tenant, _ in told
    ]
    return {
        "route": {
            "receiver": "nobody",
            "group_by": ["tenant", "app", "platform", "capability", "alertname"],
            "group_wait": "1s",
            "group_interval": "10s",
            "repeat_interval": "4h",
            "routes": routes,
        },
        "receivers": [{"name": "nobody"}, *(_receiver(name, alerts.webhook) for name, _, alerts in told)],
    }


def _receiver(name: str, url: str) -> dict[str, Any]:
    settings = {
        "url": url,
        "send_resolved": True,
        "max_alerts": 100,
        "timeout": "10s",
        "http_config": {
            "proxy_url": f"http://127.0.0.1:{PROXY_PORT}",
            "follow_redirects": False,
            # A request that takes too long ends its connection.
            "enable_http2": False,
            "tls_config": {"min_version": "TLS12"},
        },
    }
    return {"name": name, "webhook_configs": [settings]}
