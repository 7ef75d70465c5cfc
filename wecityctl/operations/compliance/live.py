"""Evaluates the policy rules on live objects, as on the objects that the files would register. Queries no cluster
itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date

from wecityctl.operations.compliance.reading import Look
from wecityctl.policy.check import PolicyReport, judge
from wecityctl.policy.enforcement_points import Key, key_of
from wecityctl.policy.evidence import Observation
from wecityctl.policy.model import Finding, Manifest, PolicyInput, Rule
from wecityctl.policy.objects import cloud_of
from wecityctl.resource_graph import RecordedResource, Recording

_SHOWN = 3


def wanted_on(policy_input: PolicyInput) -> Mapping[str, Sequence[Manifest]]:
    """Return the Kubernetes objects that the stacks would register, by cloud."""
    found: dict[str, list[Manifest]] = {}
    for recording, item in policy_input.objects():
        found.setdefault(cloud_of(policy_input, recording), []).append(dict(item.inputs))
    return found


def judge_live(
    policy_input: PolicyInput, looks: Mapping[str, Look], today: date, rules: Sequence[Rule]
) -> Mapping[str, tuple[Observation, ...]]:
    """Return the results of the object rules on each examined cloud, by rule."""
    asked = [rule for rule in rules if rule.of_objects and (rule.applies is None or rule.applies(policy_input.city))]
    found: dict[str, list[Observation]] = {rule.name: [] for rule in asked}
    for cloud, look in looks.items():
        policy_report = judge(_live(policy_input, cloud, look), today, asked)
        for rule in asked:
            found[rule.name].append(_observation(cloud, rule, policy_report, len(look.live)))
    return {name: tuple(items) for name, items in found.items()}


def _live(policy_input: PolicyInput, cloud: str, look: Look) -> PolicyInput:
    """Return the input with a cloud's live objects in place of the recorded ones; an object keeps its stack."""
    stacks: dict[Key, str] = {
        key_of(item.inputs): recording.stack
        for recording, item in policy_input.objects()
        if cloud_of(policy_input, recording) == cloud
    }
    resources: dict[str, list[RecordedResource]] = {}
    for key, item in look.live.items():
        kind, namespace, name = key
        one = RecordedResource(
            "", f"kubernetes:live:{kind}", f"{namespace}/{name}" if namespace else name, "", (), item, True, False
        )
        resources.setdefault(stacks.get(key, f"{policy_input.city.name}.live.{cloud}"), []).append(one)
    by_stack = {recording.stack: recording for recording in policy_input.recordings}
    any_outputs = policy_input.recordings[0].outputs
    recordings = (
        replace(by_stack[stack], resources=tuple(items))
        if stack in by_stack
        else Recording(stack, tuple(items), any_outputs)
        for stack, items in resources.items()
    )
    return replace(policy_input, recordings=tuple(recordings))


def _observation(cloud: str, rule: Rule, policy_report: PolicyReport, judged: int) -> Observation:
    open_ones = [item.finding for item in policy_report.findings if item.rule == rule.name and not item.waiver]
    if not open_ones:
        return Observation(cloud, "observed", detail=f"nothing found in {judged} live objects")
    told = "; ".join(map(_told, open_ones[:_SHOWN]))
    more = f"; and {len(open_ones) - _SHOWN} more" if len(open_ones) > _SHOWN else ""
    return Observation(cloud, "crossed", detail=told + more)


def _told(finding: Finding) -> str:
    is_named = finding.message.startswith(finding.subject)
    return finding.message if is_named else f"{finding.subject}: {finding.message}"
