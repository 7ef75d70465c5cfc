"""`alerts`: what fires in a city, as the capability for alerts on each cloud tells it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from wecityctl.errors import DeploymentError, WecityError
from wecityctl.event_loops import run_async
from wecityctl.model.stacknames import StackName
from wecityctl.model.words import printable
from wecityctl.operations.app_targets import client_of, find_tenant_or_app, not_running
from wecityctl.operations.capability_servers import CapabilityServer, RefusedRequestError, conversation
from wecityctl.operations.platform_endpoints import endpoints_in

if TYPE_CHECKING:
    from wecityctl.engine.state.backend import Backend
    from wecityctl.inputs import Cluster
    from wecityctl.kube.client import KubeClient
    from wecityctl.model.catalogue import Catalogue
    from wecityctl.model.city import City
    from wecityctl.model.outputs import Endpoint
    from wecityctl.session import Session

# Seconds that one cloud is waited for.
PATIENCE = 15.0
_PATH, _RULES = "/api/v1/alerts", "/api/v1/rules"
# Labels that are fields of their own.
_NAMED = ("tenant", "app", "component", "platform", "capability")


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert. `state` is `pending` while its condition has not lasted long enough.

    It is about an app (`tenant`, `app`, `component`), a capability (`platform`, `capability`), or neither. `since` is
    an RFC 3339 time. `labels` are the others that it has, such as the pod.
    """

    cloud: str
    state: Literal["firing", "pending"]
    severity: str
    name: str
    summary: str
    since: str
    tenant: str = ""
    app: str = ""
    component: str = ""
    platform: str = ""
    capability: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def subject(self) -> str:
        """What it is about, for people."""
        if self.tenant:
            return "/".join(filter(None, (self.tenant, self.app, self.component)))
        return " ".join(filter(None, ("capability" if self.capability else "", self.capability))) or "the city"


@dataclass(frozen=True, slots=True)
class Alerts:
    """The alerts of the clouds that told theirs, and of the others why nothing is known.

    `failed` are those of `unknown` that have somebody to ask, who did not answer, or could not evaluate the rules; of
    the latter, `found` has what was known before.
    """

    found: tuple[Alert, ...]
    unknown: Mapping[str, str]
    failed: frozenset[str] = frozenset()

    @property
    def firing(self) -> tuple[Alert, ...]:
        return tuple(item for item in self.found if item.state == "firing")


def alerts(session: Session, name: str = "") -> Alerts:
    """The alerts of the whole city, of a tenant, or of an app (`app` or `tenant/app`).

    Raises `ConfigurationError` for a name that is neither.
    """
    from wecityctl.clusters import open_clusters
    from wecityctl.engine.state.backend import open_backend

    wanted = find_tenant_or_app(session.city, name) if name else None
    backend = open_backend(session.city)
    clusters = open_clusters(session.city, session.catalogue, lambda event: None, start=False, backend=backend)
    told = alerts_of(session.city, session.catalogue, backend, clusters.found)
    away = {
        cloud.name: clusters.failed[cloud.name].message
        if cloud.name in clusters.failed
        else f"the cloud is not running; {not_running(session, cloud.name).resolution}"
        for cloud in session.city.clouds
        if cloud.name not in clusters.found
    }
    found = tuple(item for item in told.found if wanted is None or _is_about(item, *wanted))
    return Alerts(found, {**told.unknown, **away}, told.failed | frozenset(away))


def _is_about(alert: Alert, tenant: str, app: str) -> bool:
    return alert.tenant == tenant and app in ("", alert.app)


def alerts_of(city: City, catalogue: Catalogue, backend: Backend, clusters: Mapping[str, Cluster]) -> Alerts:
    """The alerts that the capabilities on `clusters` tell. What is up is taken from the states."""
    tellers = dict(_tellers(catalogue, backend))
    unknown: dict[str, str] = {}
    asked: dict[str, tuple[Cluster, Endpoint, bool]] = {}
    for cloud, cluster in clusters.items():
        if cloud not in tellers:
            kinds = " or ".join(sorted(kind.name for kind in catalogue.values() if kind.tells_alerts))
            unknown[cloud] = f"no capability of type {kinds} is up there, so what is wrong now is not known"
        elif cluster.simulated:
            unknown[cloud] = "its nodes are simulated: nothing runs there that could tell"
        else:
            asked[cloud] = (cluster, *tellers[cloud])
    results = run_async(_ask_all(asked))
    failed = {cloud: problem for cloud, (_, problem) in results.items() if problem}
    found = [item for told, _ in results.values() for item in told]
    order = {"critical": 0, "warning": 1}
    found.sort(key=lambda item: (item.state, order.get(item.severity, 2), item.since, item.subject, item.name))
    return Alerts(tuple(found), {**unknown, **failed}, frozenset(failed))


def _tellers(catalogue: Catalogue, backend: Backend) -> Iterator[tuple[str, tuple[Endpoint, bool]]]:
    """Yield the cloud, endpoint and whether it speaks TLS of each capability that tells alerts and is up."""
    for stack in sorted(backend.list_stacks()):
        name = StackName.parse(stack)
        state = backend.read_state(stack) if name.city == backend.city and name.layer == "platform" else None
        if state is None:
            continue
        platform = endpoints_in(state)
        for endpoint in platform.endpoints:
            kind = catalogue.get(endpoint.type)
            if kind is not None and kind.tells_alerts and platform.has(endpoint, endpoint.service):
                yield platform.cloud, (endpoint, platform.is_tls(endpoint))


# The alerts that a cloud tells, and why they are not all; empty if they are.
_Told = tuple[tuple[Alert, ...], str]


async def _ask_all(asked: Mapping[str, tuple[Cluster, Endpoint, bool]]) -> dict[str, _Told]:
    async def one(cluster: Cluster, endpoint: Endpoint, is_tls: bool) -> _Told:
        try:
            async with asyncio.timeout(PATIENCE), client_of(cluster) as client:
                return await _ask(client, cluster.cloud, endpoint, is_tls)
        except TimeoutError:
            return (), f"{endpoint.capability} has not answered within {PATIENCE:.0f} s"
        except WecityError as error:
            why = ": ".join(filter(None, (error.message, error.details)))
            return (), f"{endpoint.capability} could not be asked: {why}"

    answers = await asyncio.gather(*(one(*item) for item in asked.values()))
    return dict(zip(asked, answers, strict=True))


async def _ask(client: KubeClient, cloud: str, endpoint: Endpoint, is_tls: bool) -> _Told:
    selector = ",".join(f"{key}={value}" for key, value in endpoint.pod_labels.items())
    server = CapabilityServer(
        endpoint.capability, endpoint.namespace, selector, endpoint.port, (endpoint.host,), is_tls
    )
    async with conversation(client, server) as asking:
        told = await asking.status(_PATH)
        try:
            rules = await asking.status(_RULES, {"exclude_alerts": "true"})
        except RefusedRequestError:
            # It tells alerts alone.
            rules = {"data": {"groups": []}}
    try:
        return tuple(_alert(cloud, item) for item in told["data"]["alerts"]), _unevaluated(endpoint, rules)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DeploymentError(f"{endpoint.host} answers with something else than alerts", details=str(error)) from error


def _unevaluated(endpoint: Endpoint, told: Mapping[str, Any]) -> str:
    """Say that rules cannot be evaluated, as while the metrics do not answer, and why; empty if all are."""
    rules = [rule for group in told["data"]["groups"] for rule in group["rules"]]
    broken = [rule for rule in rules if rule["health"] == "err"]
    if not broken:
        return ""
    return (
        f"{endpoint.capability} cannot evaluate {len(broken)} of {len(rules)} rules, so that nothing new is known of"
        f" them: {printable(str(broken[0]['lastError']))[:300]}"
    )


def _alert(cloud: str, told: Mapping[str, Any]) -> Alert:
    labels = {str(key): str(value) for key, value in told["labels"].items()}
    named = {key: labels.pop(key, "") for key in _NAMED}
    severity, name = labels.pop("severity", ""), labels.pop("alertname", "") or str(told["name"])
    for key in ("alertgroup", "__name__"):
        labels.pop(key, None)
    return Alert(
        cloud=cloud,
        state="firing" if told["state"] == "firing" else "pending",
        severity=severity,
        name=name,
        summary=str((told.get("annotations") or {}).get("summary", "")),
        since=str(told["activeAt"]),
        labels=labels,
        **named,
    )


def unknown_texts(alerts: Alerts) -> Iterable[str]:
    """Sentences that say of which clouds nothing is known, and why."""
    return (f"alerts of cloud {cloud}: {why}" for cloud, why in sorted(alerts.unknown.items()))
