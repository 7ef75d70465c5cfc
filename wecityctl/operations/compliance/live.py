"""Judges what runs by the same rules as what the files would register. Asks nobody: it is given what was read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date

from wecityctl.graph import RecordedResource, Recording
from wecityctl.operations.compliance.reading import Look
from wecityctl.policy.check import Verdict, judge
from wecityctl.policy.enforcers import Key, key_of
from wecityctl.policy.evidence import Observation
from wecityctl.policy.model import Finding, Manifest, Posture, Rule
from wecityctl.policy.objects import cloud_of

_SHOWN = 3


def wanted_on(posture: Posture) -> Mapping[str, Sequence[Manifest]]:
    """The Kubernetes objects that the stacks would register, by cloud."""
    found: dict[str, list[Manifest]] = {}
    for recording, item in posture.objects():
        found.setdefault(cloud_of(posture, recording), []).append(dict(item.inputs))
    return found


def judge_live(
    posture: Posture, looks: Mapping[str, Look], today: date, rules: Sequence[Rule]
) -> Mapping[str, tuple[Observation, ...]]:
    """What the rules over objects come to on each cloud that was looked at, by rule."""
    asked = [rule for rule in rules if rule.of_objects and (rule.applies is None or rule.applies(posture.city))]
    found: dict[str, list[Observation]] = {rule.name: [] for rule in asked}
    for cloud, look in looks.items():
        verdict = judge(_live(posture, cloud, look), today, asked)
        for rule in asked:
            found[rule.name].append(_observation(cloud, rule, verdict, len(look.live)))
    return {name: tuple(items) for name, items in found.items()}


def _live(posture: Posture, cloud: str, look: Look) -> Posture:
    """The posture with a cloud's live objects in place of the recorded ones; an object keeps the stack it is from."""
    stacks: dict[Key, str] = {
        key_of(item.inputs): recording.stack
        for recording, item in posture.objects()
        if cloud_of(posture, recording) == cloud
    }
    resources: dict[str, list[RecordedResource]] = {}
    for key, item in look.live.items():
        kind, namespace, name = key
        one = RecordedResource(
            "", f"kubernetes:live:{kind}", f"{namespace}/{name}" if namespace else name, "", (), item, True, False
        )
        resources.setdefault(stacks.get(key, f"{posture.city.name}.live.{cloud}"), []).append(one)
    by_stack = {recording.stack: recording for recording in posture.recordings}
    any_outputs = posture.recordings[0].outputs
    recordings = (
        replace(by_stack[stack], resources=tuple(items))
        if stack in by_stack
        else Recording(stack, tuple(items), any_outputs)
        for stack, items in resources.items()
    )
    return replace(posture, recordings=tuple(recordings))


def _observation(cloud: str, rule: Rule, verdict: Verdict, judged: int) -> Observation:
    open_ones = [item.finding for item in verdict.findings if item.rule == rule.name and not item.waiver]
    if not open_ones:
        return Observation(cloud, "observed", detail=f"nothing found in {judged} live objects")
    told = "; ".join(map(_told, open_ones[:_SHOWN]))
    more = f"; and {len(open_ones) - _SHOWN} more" if len(open_ones) > _SHOWN else ""
    return Observation(cloud, "crossed", detail=told + more)


def _told(finding: Finding) -> str:
    is_named = finding.message.startswith(finding.subject)
    return finding.message if is_named else f"{finding.subject}: {finding.message}"
