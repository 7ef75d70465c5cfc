"""What the observer scrapes, as a configuration for the agent: generated from the city's files. Pure functions.

Labels that say whose a series is come from here and never from what an app's pod says: those of targets replace others
of the same name, which become `exported_…`. So do an app's series that have the name of one of the city's own. The
gateway says of which app its counters are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

from wecityctl.inputs import StackInputs
from wecityctl.model import naming
from wecityctl.model.entries import instances
from wecityctl.model.metering import USAGE_SECONDS
from wecityctl.model.service_tls import speaks_tls

# The port of the state of the city's objects, on the observer's loopback device.
STATE_PORT = 8481
# Seconds between two looks: at the state of the city's objects, which alerts wait for, and at everything else.
STATE_SECONDS, SECONDS = 5, 15
# Of one target of an app: series at a time, series over a day, labels of each, bytes of an answer.
SAMPLES, SERIES, LABELS, BYTES = 2_000, 5_000, 25, "2MiB"
# The names that rules and dashboards take for the city's own: of the agent, of the state of the city's objects, and of
# alerts. The agent itself renames only those of its own that have no labels.
RESERVED = "up|scrape_.+|kube_.+|wecity_.+|ALERTS|ALERTS_FOR_STATE"
# A label of an app may be called `__name__`, too: the store takes the last one for the name, and relabelling the first,
# which would leave the last one as it is. So the first one alone is kept.
_ONE_NAME: tuple[dict[str, object], ...] = (
    {"source_labels": ["__name__"], "target_label": "__first_name"},
    {"action": "labeldrop", "regex": "__name__"},
    {"source_labels": ["__first_name"], "target_label": "__name__"},
)
# The labels by which series are a capability's.
OTHERS = "platform|capability"


@dataclass(frozen=True)
class Target:
    """Pods that serve metrics: where they are, how they are asked, and the labels that their series get.

    `is_trusted`: they are of the city's own, so that no limits of an app's hold.
    """

    namespace: str
    pods: Mapping[str, str]
    port: int
    path: str
    labels: Mapping[str, str]
    server_name: str = ""
    is_trusted: bool = False


def targets(inputs: StackInputs) -> Iterator[Target]:
    """Yield what serves metrics on this stack's cloud: capabilities with a port for them, and components of apps."""
    city, cloud, placed = inputs.city, inputs.stack.cloud, inputs.placement
    here = [item for item in city.capabilities if placed.capabilities[item.name] == cloud]
    for capability in chain.from_iterable(instances(city, item) for item in here):
        kind = inputs.catalogue[capability.type]
        namespace = naming.platform_namespace(capability.platform, capability.zone)
        for port in (item for item in kind.ports if item.metrics):
            name = f"{capability.name}.{namespace}.svc" if speaks_tls(capability, inputs.catalogue) else ""
            labels = {"platform": capability.platform, "capability": capability.name}
            yield Target(
                namespace,
                {
                    naming.NAME_LABEL: capability.name,
                    naming.COMPONENT_LABEL: capability.type,
                    naming.PART_OF_LABEL: capability.platform,
                },
                port.number,
                port.metrics_path,
                labels,
                name,
                is_trusted=True,
            )
    for app in city.apps:
        if not app.runs or app.stage == "suspended" or placed.apps[(app.tenant, app.name)] != cloud:
            continue
        for part in app.components:
            number = part.metrics_port
            if part.metrics is None or number is None:
                continue
            yield Target(
                naming.tenant_namespace(app.tenant, app.zone),
                {
                    naming.NAME_LABEL: app.name,
                    naming.COMPONENT_LABEL: part.name,
                    naming.PART_OF_LABEL: app.tenant,
                },
                number,
                part.metrics.path,
                {"tenant": app.tenant, "app": app.name, "component": part.name},
            )


def configuration(inputs: StackInputs, authority: str) -> dict[str, Any]:
    """The agent's configuration. `authority` is the file with the certificates of the city's authority."""
    jobs = [
        _own("state", STATE_SECONDS),
        _own("usage", USAGE_SECONDS, "/usage"),
        *(job_of(target, authority) for target in targets(inputs)),
    ]
    return {
        "global": {"scrape_interval": f"{SECONDS}s", "scrape_timeout": "10s"},
        "scrape_configs": jobs,
    }


def _own(name: str, seconds: int, path: str = "/metrics") -> dict[str, Any]:
    """A job for a page about the city's objects, whose program knows whose they are."""
    return {
        "job_name": name,
        "metrics_path": path,
        "scrape_interval": f"{seconds}s",
        "scrape_timeout": f"{min(seconds, 10)}s",
        "honor_labels": True,
        "static_configs": [{"targets": [f"127.0.0.1:{STATE_PORT}"]}],
    }


def job_of(target: Target, authority: str) -> dict[str, Any]:
    """The agent's job for a target."""
    selected = ",".join(f"{key}={value}" for key, value in target.pods.items())
    found: dict[str, Any] = {
        "job_name": "/".join((*target.labels.values(), str(target.port))),
        "metrics_path": target.path,
        "kubernetes_sd_configs": [
            {
                "role": "pod",
                "namespaces": {"names": [target.namespace]},
                "selectors": [{"role": "pod", "label": selected}],
            }
        ],
        "relabel_configs": [
            # A pod has a target for each port of its containers, and no ready or ended one answers.
            {"source_labels": ["__meta_kubernetes_pod_container_init"], "regex": "true", "action": "drop"},
            {"source_labels": ["__meta_kubernetes_pod_phase"], "regex": "Succeeded|Failed", "action": "drop"},
            {
                "source_labels": ["__meta_kubernetes_pod_container_port_number"],
                "regex": str(target.port),
                "action": "keep",
            },
            {"source_labels": ["__meta_kubernetes_namespace"], "target_label": "namespace"},
            {"source_labels": ["__meta_kubernetes_pod_name"], "target_label": "pod"},
            {"source_labels": ["__meta_kubernetes_pod_container_name"], "target_label": "container"},
            *({"target_label": label, "replacement": value} for label, value in target.labels.items()),
        ],
    }
    if target.server_name:
        found |= {"scheme": "https", "tls_config": {"ca_file": authority, "server_name": target.server_name}}
    if not target.is_trusted:
        found |= {
            "sample_limit": SAMPLES,
            "series_limit": SERIES,
            "label_limit": LABELS,
            "max_scrape_size": BYTES,
            # A redirection would lead the observer to whatever the app names.
            "follow_redirects": False,
            "metric_relabel_configs": [
                *_ONE_NAME,
                {
                    "source_labels": ["__name__"],
                    "regex": f"({RESERVED})",
                    "target_label": "__name__",
                    "replacement": "exported_$1",
                },
                {"action": "labelmap", "regex": f"({OTHERS})", "replacement": "exported_$1"},
                {"action": "labeldrop", "regex": OTHERS},
            ],
        }
    return found
