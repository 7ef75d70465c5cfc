"""Reads recorded objects for the rules: names, clouds, pods, and the place in the files that they come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from wecityctl.model.naming import DATA_CLASS_LABEL, NAME_LABEL, PART_OF_LABEL
from wecityctl.model.stacknames import StackName
from wecityctl.policy.model import PolicyInput
from wecityctl.resource_graph import RecordedResource, Recording

WORKLOADS = (
    *("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController"),
    *("Job", "CronJob", "Pod"),
)


@dataclass(frozen=True, slots=True)
class Source:
    """The origin of an object in the files: its subject for waivers, its document, and the path there."""

    subject: str
    document: tuple[str, str] | None = None
    path: tuple[str | int, ...] = ()


@dataclass(frozen=True, slots=True)
class Workload:
    """An object that creates pods, with their spec."""

    stack: str
    cloud: str
    namespace: str
    resource: RecordedResource
    pod: Mapping[str, Any]

    @property
    def containers(self) -> tuple[Mapping[str, Any], ...]:
        """Every container of the pods, including init containers."""
        kinds = ("initContainers", "containers", "ephemeralContainers")
        return tuple(item for kind in kinds for item in self.pod.get(kind) or ())


def metadata(item: RecordedResource) -> Mapping[str, Any]:
    found = item.inputs.get("metadata")
    return found if isinstance(found, Mapping) else {}


def name_of(item: RecordedResource) -> str:
    return str(metadata(item).get("name", ""))


def namespace_of(item: RecordedResource) -> str:
    return str(metadata(item).get("namespace", ""))


def labels_of(item: RecordedResource) -> Mapping[str, str]:
    found = metadata(item).get("labels")
    return found if isinstance(found, Mapping) else {}


def subject_of(item: RecordedResource) -> str:
    """The subject of a finding about an object, such as `NetworkPolicy health-internet/default-deny`."""
    namespace = namespace_of(item)
    return f"{item.inputs.get('kind', '')} {namespace + '/' if namespace else ''}{name_of(item)}"


def cloud_of(policy_input: PolicyInput, recording: Recording) -> str:
    """The cloud of a stack: the one in its name, except for the entry stack."""
    named = StackName.parse(recording.stack).cloud
    return named if any(cloud.name == named for cloud in policy_input.city.clouds) else policy_input.placement.entry


def source_of(policy_input: PolicyInput, item: RecordedResource) -> Source:
    """The app or capability that an object belongs to according to its labels, otherwise the object itself."""
    labels = labels_of(item)
    owner, name = labels.get(PART_OF_LABEL, ""), labels.get(NAME_LABEL, "")
    if DATA_CLASS_LABEL in labels:
        return Source(f"{owner}/{name}", ("App", f"{owner}/{name}"), ("metadata", "name"))
    for platform in policy_input.city.platforms:
        for index, capability in enumerate(platform.capabilities if platform.name == owner else ()):
            if capability.name == name:
                path = ("spec", "capabilities", index)
                return Source(f"capability {name}", ("Platform", platform.name), path)
    return Source(subject_of(item))


def workloads(policy_input: PolicyInput) -> Iterator[Workload]:
    """Every object in the graph that creates pods."""
    clouds = {recording.stack: cloud_of(policy_input, recording) for recording in policy_input.recordings}
    for recording, item in policy_input.objects(*WORKLOADS):
        pod = _pod_of(item)
        if pod is not None:
            yield Workload(recording.stack, clouds[recording.stack], namespace_of(item), item, pod)


def _pod_of(item: RecordedResource) -> Mapping[str, Any] | None:
    spec = item.inputs.get("spec")
    if item.inputs.get("kind") == "CronJob":
        spec = _below(_below(spec, "jobTemplate"), "spec")
    if item.inputs.get("kind") != "Pod":
        spec = _below(_below(spec, "template"), "spec")
    return spec if isinstance(spec, Mapping) else None


def _below(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, Mapping) else None
