"""Combines the results of the rules and the observations in the clusters into the compliance report, by control."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from wecityctl.errors import WecityError
from wecityctl.inputs import Cluster, Clusters
from wecityctl.model.city import City, Cloud
from wecityctl.model.findings import Finding
from wecityctl.operations.compliance.backups import backup_measures
from wecityctl.operations.compliance.live import judge_live, wanted_on
from wecityctl.operations.compliance.reading import Look, Tried, look
from wecityctl.operations.compliance.state_copies import state_measures
from wecityctl.operations.told_servers import ToldServer, told_servers
from wecityctl.policy.check import PolicyReport, judge
from wecityctl.policy.controls import ELSEWHERE, controls_for, number_at
from wecityctl.policy.enforcement_points import EnforcementPoint, enforcement_points, observe
from wecityctl.policy.evidence import (
    CloudLook,
    ComplianceReport,
    ControlEvidence,
    Measure,
    Observation,
    Outcome,
    State,
    WaiverEvidence,
    status_of,
)
from wecityctl.policy.model import PolicyInput, Rule, clouds_with_apps
from wecityctl.resource_graph import Recording
from wecityctl.session import Session

_SHOWN = 5


def collect(
    session: Session,
    recordings: Sequence[Recording],
    rules: Sequence[Rule],
    now: datetime,
    clusters: Clusters,
    unseen: Sequence[str] = (),
    *,
    trying: bool = False,
    asking_target: bool = False,
) -> ComplianceReport:
    """Return the compliance report.

    The `clusters` that were found are examined. The city's other clouds are reported as unreachable if they failed, and
    otherwise as not examined. With `trying`, the admission policies are tested by dry runs. With `asking_target`, the
    target of backups is asked for copies of the states, from here.
    """
    city = session.city
    policy_input = PolicyInput(city, session.catalogue, session.plan.placement, session.images, tuple(recordings))
    policy_report = judge(policy_input, now.astimezone().date(), rules)
    tried = [rule.name for rule in rules if trying and (rule.veto or rule.level_for(city) == "mandatory")]
    read = look(city, clusters.found, wanted_on(policy_input), tried, partial=bool(unseen))
    answers: dict[str, Look | WecityError] = {**clusters.failed, **read}
    seen = {cloud: found for cloud, found in read.items() if isinstance(found, Look)}
    live = judge_live(policy_input, seen, now.astimezone().date(), rules)
    looks = tuple(_cloud_look(cloud, clusters.found.get(cloud.name), answers.get(cloud.name)) for cloud in city.clouds)
    measures = [*_of_rules(policy_input, rules, policy_report, live), *_of_settings(city)]
    measures += backup_measures(session, clusters, looks, now)
    measures += state_measures(session, now, asking=asking_target)
    told = told_servers(session, clusters.found) if any(rule.enforced_by for rule in rules) else ()
    measures += _of_servers(policy_input, rules, told, looks)
    for item in enforcement_points(policy_input, rules):
        measures.append((item.controls, _measure(item, looks, answers)))
    return ComplianceReport(
        city=city.name,
        mlps=city.compliance.mlps,
        at=now.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        resources=policy_report.resources,
        clouds=looks,
        controls=tuple(_by_control(city, measures)),
        waivers=tuple(_waivers(city, policy_report)),
        elsewhere=ELSEWHERE,
        unseen=tuple(unseen),
    )


def _by_control(city: City, measures: Sequence[tuple[tuple[str, ...], Measure]]) -> Iterator[ControlEvidence]:
    mlps = city.compliance.mlps
    for control in controls_for(mlps):
        of_this = tuple(measure for numbers, measure in measures if control.number in numbers)
        number = number_at(control, mlps)
        yield ControlEvidence(number, control.title, control.words, of_this, status_of(of_this))


def _of_rules(
    policy_input: PolicyInput,
    rules: Sequence[Rule],
    policy_report: PolicyReport,
    live: Mapping[str, tuple[Observation, ...]],
) -> Iterator[tuple[tuple[str, ...], Measure]]:
    for rule in rules:
        notes = tuple(item.text for item in policy_report.evidence if item.rule == rule.name)
        findings = [item for item in policy_report.findings if item.rule == rule.name]
        notes += tuple(
            f"waived by {item.waiver}: {item.finding.message}" if item.waiver else item.finding.message
            for item in findings
        )
        city = policy_input.city
        is_here = rule.enforced_in(policy_input) == "here" or (rule.observed is not None and rule.observed(city))
        outcome: Outcome = "no-finding" if is_here else "declared"
        if rule.applies is not None and not rule.applies(city):
            outcome = "nothing-to-judge"
        if findings:
            outcome = "waived" if all(item.waiver for item in findings) else "advisory"
        if any(item.stops for item in findings):
            outcome = "broken"
        yield _numbers(rule), Measure("rule", rule.name, rule.title, outcome, notes, live.get(rule.name, ()))


def _numbers(rule: Rule) -> tuple[str, ...]:
    return tuple(text.split(" ")[0] for text in rule.controls)


def _of_servers(
    policy_input: PolicyInput, rules: Sequence[Rule], told: Sequence[ToldServer], looks: Sequence[CloudLook]
) -> Iterator[tuple[tuple[str, ...], Measure]]:
    """Yield what the servers of capabilities that enforce rules say of themselves, on each cloud that runs apps."""
    for rule in rules:
        kind = rule.enforced_by
        if not kind or not any(item.type == kind for item in policy_input.city.capabilities):
            continue
        missing, states = rule.lacking(policy_input), {item.cloud: item for item in looks}
        seen: list[Observation] = []
        for cloud in clouds_with_apps(policy_input):
            own = [item for item in told if item.cloud == cloud and item.type == kind]
            if cloud in missing:
                seen.append(Observation(cloud, "missing", detail=f"no capability of type {kind} is there"))
            elif own:
                seen += (_of_server(item) for item in own)
            else:
                seen.append(Observation(cloud, states[cloud].state, detail=states[cloud].reason))
        title = policy_input.catalogue[kind].title
        yield _numbers(rule), Measure("capability", kind, title, observations=tuple(seen))


def _of_server(told: ToldServer) -> Observation:
    """What the server of a capability says, as an observation."""
    if told.state == "simulated":
        return Observation(told.cloud, "not-looked-at", detail="its nodes are simulated: nothing runs there")
    states: dict[str, State] = {"holds": "observed", "problems": "partial"}
    detail = "; ".join((*told.problems, *told.facts))
    return Observation(told.cloud, states.get(told.state, "not-looked-at"), detail=f"{told.capability}: {detail}")


def _of_settings(city: City) -> Iterator[tuple[tuple[str, ...], Measure]]:
    allowed = ", ".join(city.compliance.regions) or "any"
    regions = tuple(
        f"cloud {cloud.name} lies in {cloud.region or 'a region that the files do not name'}" for cloud in city.clouds
    )
    title = f"Regions that the files allow: {allowed}"
    yield ("8.2.1.1",), Measure("setting", "residency", title, "declared", regions)


def _measure(item: EnforcementPoint, looks: Sequence[CloudLook], answers: Mapping[str, Look | WecityError]) -> Measure:
    observations = []
    for there in looks:
        wanted = item.wanted.get(there.cloud, ())
        if not wanted:
            continue
        answer = answers.get(there.cloud)
        if not item.in_clusters:
            reason = "in the state only; the vendor's interface was not asked"
            observations.append(Observation(there.cloud, "not-looked-at", 0, len(wanted), detail=reason))
        elif isinstance(answer, Look):
            seen = observe(there.cloud, wanted, answer.live, answer.differs)
            seen = _with_undeclared(seen, [one for one in answer.undeclared if item.rests_on(one.kind)])
            if answer.silent and item.rests_on("NetworkPolicy"):
                seen = _with_silent(seen, answer.silent)
            if item.kind == "admission":
                seen = _with_probe(seen, answer.tried.get(item.name))
            observations.append(seen)
        else:
            observations.append(Observation(there.cloud, there.state, 0, len(wanted), detail=there.reason))
    outcome: Outcome = "declared" if item.idle else ""
    notes = (item.idle,) if item.idle else ()
    return Measure(item.kind, item.name, item.title, outcome, notes, tuple(observations))


def _said(seen: Observation, state: State, detail: str) -> Observation:
    """Return the observation with another state and one more detail."""
    return replace(seen, state=state, detail="; ".join(filter(None, (seen.detail, detail))))


def _with_probe(seen: Observation, tried: Tried | None) -> Observation:
    """Mark a policy that exists but accepted a violating object as inactive."""
    if tried is None or seen.state == "missing":
        return seen
    words = {"refused": "a trial was refused", "accepted": "a trial was let pass", "not-tried": "not tried"}
    detail = ": ".join(filter(None, (words[tried.outcome], tried.detail)))
    state = "inactive" if tried.outcome == "accepted" else seen.state
    return _said(seen, state, detail)


def _with_undeclared(seen: Observation, found: Sequence[Finding]) -> Observation:
    """Mark the observation as undeclared if there are undeclared grants: permissions add up, so declared limits prove
    nothing.
    """
    if not found:
        return seen
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    detail = f"undeclared: {', '.join(item.title for item in found[:_SHOWN])}{more}"
    state = "undeclared" if seen.state == "observed" else seen.state
    return _said(seen, state, detail)


def _with_silent(seen: Observation, groups: Sequence[str]) -> Observation:
    """Mark the observation as not examined if an extension does not answer: its policies may allow what others deny."""
    detail = f"policies of {', '.join(groups)} could not be read: the extension does not answer"
    state = "not-looked-at" if seen.state == "observed" else seen.state
    return _said(seen, state, detail)


def _waivers(city: City, policy_report: PolicyReport) -> Iterator[WaiverEvidence]:
    notes: dict[str, str] = {}
    for note in policy_report.notes:
        notes[note.waiver] = "; ".join(filter(None, (notes.get(note.waiver, ""), f"{note.kind}: {note.message}")))
    for item in city.waivers:
        yield WaiverEvidence(
            item.name, item.rule, item.subjects, item.owner, item.reason, item.expires, notes.get(item.name, "")
        )


def _cloud_look(cloud: Cloud, cluster: Cluster | None, answer: Look | WecityError | None) -> CloudLook:
    if isinstance(answer, WecityError):
        return CloudLook(cloud.name, cloud.provider, "unreachable", answer.message)
    if cluster is None or answer is None:
        return CloudLook(cloud.name, cloud.provider, "not-looked-at")
    reason = (
        ""
        if answer.whole
        else "what changes objects on admission was not looked for: that needs the right to write, in dry runs"
    )
    return CloudLook(
        cloud.name,
        cloud.provider,
        "observed",
        reason,
        cluster.kubernetes_version,
        cluster.simulated,
        tuple(item.title for item in answer.expected),
        answer.altered,
    )
