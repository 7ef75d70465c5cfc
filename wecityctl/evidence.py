"""What a city can show an assessor: its red lines judged, and what enforces them looked at in the clusters now.

Changes nothing. A cloud that does not answer is told as such and spoils no other's evidence.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from wecityctl.clusters import Clusters
from wecityctl.errors import TimedOutError, WecityError
from wecityctl.graph import Recording
from wecityctl.inputs import Cluster
from wecityctl.kube.identify import VARIABLE, patience
from wecityctl.model.city import City, Cloud
from wecityctl.model.naming import LABEL_PREFIX
from wecityctl.policy.check import Verdict, judge
from wecityctl.policy.controls import ELSEWHERE, controls_for, number_at
from wecityctl.policy.enforcers import Enforcer, Key, enforcers, key_of, observe, strangers
from wecityctl.policy.evidence import (
    CloudLook,
    ControlEvidence,
    Dossier,
    Measure,
    Observation,
    Outcome,
    WaiverEvidence,
)
from wecityctl.policy.model import Posture, Rule
from wecityctl.session import Session

if TYPE_CHECKING:
    from wecityctl.kube.client import KubeClient

Live = Mapping[Key, Mapping[str, Any]]
_RBAC = "rbac.authorization.k8s.io/v1"
_KINDS = (
    ("v1", "Namespace"),
    ("v1", "ServiceAccount"),
    ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy"),
    ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicyBinding"),
    (_RBAC, "ClusterRole"),
    (_RBAC, "ClusterRoleBinding"),
    (_RBAC, "Role"),
    (_RBAC, "RoleBinding"),
)
_NETWORK_POLICY = ("networking.k8s.io/v1", "NetworkPolicy")


def collect(
    session: Session,
    recordings: Sequence[Recording],
    rules: Sequence[Rule],
    now: datetime,
    clusters: Clusters,
    unseen: Sequence[str] = (),
) -> Dossier:
    """The evidence. Those of the `clusters` that were found are looked at; the rest of the city's clouds are told as
    unreachable where they failed, otherwise as not looked at."""
    city = session.city
    posture = Posture(city, session.catalogue, session.plan.placement, session.images, tuple(recordings))
    verdict = judge(posture, now.astimezone().date(), rules)
    answers: dict[str, Live | WecityError] = {**clusters.failed, **asyncio.run(_look(city.name, clusters.found))}
    looks = tuple(_cloud_look(cloud, clusters.found.get(cloud.name), answers.get(cloud.name)) for cloud in city.clouds)
    measures = [*_of_rules(city, rules, verdict), *_of_settings(city)]
    for item in enforcers(posture, rules):
        measures.append((item.controls, _measure(posture, item, looks, answers)))
    return Dossier(
        city=city.name,
        mlps=city.compliance.mlps,
        at=now.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        resources=verdict.resources,
        clouds=looks,
        controls=tuple(_by_control(city, measures)),
        waivers=tuple(_waivers(city, verdict)),
        elsewhere=ELSEWHERE,
        unseen=tuple(unseen),
    )


def _by_control(city: City, measures: Sequence[tuple[tuple[str, ...], Measure]]) -> Iterator[ControlEvidence]:
    mlps = city.compliance.mlps
    for control in controls_for(mlps):
        of_this = tuple(measure for numbers, measure in measures if control.number in numbers)
        yield ControlEvidence(number_at(control, mlps), control.title, control.words, of_this)


def _of_rules(city: City, rules: Sequence[Rule], verdict: Verdict) -> Iterator[tuple[tuple[str, ...], Measure]]:
    for rule in rules:
        notes = tuple(item.text for item in verdict.evidence if item.rule == rule.name)
        findings = [item for item in verdict.findings if item.rule == rule.name]
        notes += tuple(
            f"waived by {item.waiver}: {item.finding.message}" if item.waiver else item.finding.message
            for item in findings
        )
        outcome: Outcome = "holds"
        if rule.applies is not None and not rule.applies(city):
            outcome = "nothing-to-judge"
        if findings:
            outcome = "waived" if all(item.waiver for item in findings) else "advisory"
        if any(item.stops for item in findings):
            outcome = "broken"
        numbers = tuple(text.split(" ")[0] for text in rule.controls)
        yield numbers, Measure("rule", rule.name, rule.title, outcome, notes)


def _of_settings(city: City) -> Iterator[tuple[tuple[str, ...], Measure]]:
    allowed = ", ".join(city.compliance.regions) or "any"
    regions = tuple(
        f"cloud {cloud.name} lies in {cloud.region or 'a region that the files do not name'}" for cloud in city.clouds
    )
    yield ("8.2.1.1",), Measure("setting", "residency", f"Regions that the files allow: {allowed}", notes=regions)


def _measure(
    posture: Posture, item: Enforcer, looks: Sequence[CloudLook], answers: Mapping[str, Live | WecityError]
) -> Measure:
    observations = []
    for look in looks:
        wanted = item.wanted.get(look.cloud, ())
        if not wanted:
            continue
        answer = answers.get(look.cloud)
        if not item.in_clusters:
            reason = "in the state only; the vendor's interface was not asked"
            observations.append(Observation(look.cloud, "not-looked-at", 0, len(wanted), detail=reason))
        elif isinstance(answer, Mapping):
            seen = observe(look.cloud, wanted, answer)
            if item.kind == "network-policy" and item.name == "flows":
                seen = _with_strangers(seen, strangers(posture, look.cloud, answer))
            observations.append(seen)
        else:
            observations.append(Observation(look.cloud, look.state, 0, len(wanted), detail=look.reason))
    return Measure(item.kind, item.name, item.title, observations=tuple(observations))


def _with_strangers(seen: Observation, names: Sequence[str]) -> Observation:
    if not names:
        return seen
    detail = f"{len(names)} more that the files do not declare: {', '.join(names[:5])}"
    return replace(seen, detail="; ".join(filter(None, (seen.detail, detail))))


def _waivers(city: City, verdict: Verdict) -> Iterator[WaiverEvidence]:
    notes = {note.waiver: f"{note.kind}: {note.message}" for note in verdict.notes}
    for item in city.waivers:
        yield WaiverEvidence(
            item.name, item.rule, item.subjects, item.owner, item.reason, item.expires, notes.get(item.name, "")
        )


def _cloud_look(cloud: Cloud, cluster: Cluster | None, answer: Live | WecityError | None) -> CloudLook:
    if isinstance(answer, WecityError):
        return CloudLook(cloud.name, cloud.provider, "unreachable", answer.message)
    if cluster is None or answer is None:
        return CloudLook(cloud.name, cloud.provider, "not-looked-at")
    return CloudLook(cloud.name, cloud.provider, "observed", "", cluster.kubernetes_version, cluster.simulated)


async def _look(city: str, clusters: Mapping[str, Cluster]) -> dict[str, Live | WecityError]:
    found = await asyncio.gather(*(_read(city, cluster) for cluster in clusters.values()))
    return dict(zip(clusters, found, strict=True))


async def _read(city: str, cluster: Cluster) -> Live | WecityError:
    """Everything that enforces something in one cluster, by kind and name; or why it could not be read."""
    from wecityctl.kube.client import KubeClient
    from wecityctl.kube.config import load_access
    from wecityctl.kube.requester import RetryPolicy
    from wecityctl.kube.transport import HttpPool

    seconds = patience()
    try:
        async with asyncio.timeout(seconds), HttpPool() as pool:
            retry = RetryPolicy(total_seconds=seconds)
            client = KubeClient(load_access(cluster.kubeconfig), pool, retry=retry)
            selector = f"{LABEL_PREFIX}/city={city}"
            # Policies that are not ours count too: they add to what is allowed.
            wanted = [*((kind, selector) for kind in _KINDS), (_NETWORK_POLICY, "")]
            lists = await asyncio.gather(*(_list(client, *kind, labels) for kind, labels in wanted))
    except TimeoutError:
        return TimedOutError(f"no answer within {seconds:g} s", resolution=f"give it more time with {VARIABLE}")
    except WecityError as error:
        return error
    return {key_of(item): item for items in lists for item in items}


async def _list(client: KubeClient, version: str, kind: str, selector: str) -> Iterable[dict[str, Any]]:
    return await client.list(await client.resource(version, kind), label_selector=selector)
