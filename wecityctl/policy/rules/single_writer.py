"""A StatefulSet over a claim runs no more pods than its files state: one, unless a capability states more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from wecityctl.model.city import City
from wecityctl.policy.admission import Validation, policy, quote, resources
from wecityctl.policy.findings import about
from wecityctl.policy.model import Finding, Manifest, PolicyInput, Rule
from wecityctl.policy.objects import name_of, workloads

NAME = "single-writer"

WHY = """\
A database or a cache keeps its data in one volume, and one server writes it. A volume that one node may mount takes any
number of pods of that node, so a second replica starts, writes over what the first has written, and rows that were
committed are gone. Whoever may scale workloads can do that with one number. So a StatefulSet whose pods share a claim
runs one pod, or as many as the files state for the capability, whoever asks and by whichever way."""

_MESSAGE = (
    "the pods of this StatefulSet write one volume; more of them than the city's files state damage the data in it"
)


def check(policy_input: PolicyInput) -> Iterable[Finding]:
    """Recorded StatefulSets with a shared claim and more pods than the files state."""
    stated = _stated(policy_input.city)
    for workload in workloads(policy_input):
        item = workload.resource
        if item.inputs.get("kind") != "StatefulSet" or not _shares_a_claim(workload.pod):
            continue
        if (item.inputs["spec"].get("replicas") or 0) > stated.get(name_of(item), 1):
            resolution = "run one pod, give each a claim of its own (volumeClaimTemplates), or state `replicas`"
            yield about(policy_input, workload.stack, item, "several of its pods write one volume", resolution)


def _stated(city: City) -> dict[str, int]:
    """By the name of a capability: how many replicas the files state, where that is more than one."""
    found = (item for platform in city.platforms for item in platform.capabilities)
    return {item.name: item.replicas for item in found if (item.replicas or 1) > 1 and item.replicas}


def _shares_a_claim(pod: Mapping[str, Any]) -> bool:
    claims = (volume.get("persistentVolumeClaim") for volume in pod.get("volumes") or ())
    return any(not claim.get("readOnly") for claim in claims if claim)


def admission(city: City, _: Mapping[str, str]) -> Iterator[Manifest]:
    """The same in the cluster, of the object and of its number alone.

    A Scale says nothing of volumes: the StatefulSets of the namespace are the parameters of its policy, and the one of
    that name tells.
    """
    few = f"dyn(object).spec.?replicas.orValue(VALUE) <= {_literal(_stated(city))}[?request.name].orValue(1)"
    claims = (
        "spec.template.spec.?volumes.orValue([])"
        ".exists(v, has(v.persistentVolumeClaim) && !v.persistentVolumeClaim.?readOnly.orValue(false))"
    )
    yield from policy(
        city,
        NAME,
        [resources("apps", "statefulsets")],
        [Validation(f"{few.replace('VALUE', '1')} || !dyn(object).{claims}", _MESSAGE)],
        waivable=False,
    )
    # In a Scale, a missing `replicas` means zero.
    yield from policy(
        city,
        NAME,
        [resources("apps", "statefulsets/scale")],
        [
            Validation(
                f"{few.replace('VALUE', '0')} || params.metadata.name != request.name || !dyn(params).{claims}",
                _MESSAGE,
            )
        ],
        name=f"{NAME}-scale",
        parameters={"apiVersion": "apps/v1", "kind": "StatefulSet"},
        waivable=False,
    )


def _literal(numbers: Mapping[str, int]) -> str:
    return "{" + ", ".join(f"{quote(name)}: {count}" for name, count in sorted(numbers.items())) + "}"


RULE = Rule(
    name=NAME,
    title="One writer a volume 单写者",
    why=WHY,
    check=check,
    veto=True,
    controls=("8.1.4.7 数据完整性",),
    admission=admission,
    of_objects=True,
)
