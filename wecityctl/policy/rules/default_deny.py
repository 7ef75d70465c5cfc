"""Every namespace of the city starts closed, in both directions."""

from __future__ import annotations

from collections.abc import Iterator

from wecityctl.model.words import counted
from wecityctl.policy.model import Finding, PolicyInput, Rule
from wecityctl.policy.objects import cloud_of, name_of, namespace_of
from wecityctl.resource_graph import RecordedResource

WHY = """\
In Kubernetes every pod may talk to every other one until a NetworkPolicy selects it. A namespace without a policy that
selects all its pods and allows nothing is therefore open, inwards and outwards, to everything on the cluster, and a
flow that nobody declared goes unnoticed. With default deny in both directions each connection exists because somebody
wrote it down: an app that is broken into reaches its own database and nothing else, and the list of allowed flows is
the list of flows. The policy has to be there before the first pod, which is why it belongs to whoever makes the
namespace."""

DIRECTIONS = ("Ingress", "Egress")


def check(policy_input: PolicyInput) -> Iterator[Finding]:
    """Namespaces without a policy that closes them both ways."""
    closed: set[tuple[str, str, str]] = set()
    for recording, item in policy_input.objects("NetworkPolicy"):
        cloud = cloud_of(policy_input, recording)
        closed |= {(cloud, namespace_of(item), direction) for direction in DIRECTIONS if _closes(item, direction)}
    for recording, item in policy_input.objects("Namespace"):
        cloud, name = cloud_of(policy_input, recording), name_of(item)
        missing = [direction.lower() for direction in DIRECTIONS if (cloud, name, direction) not in closed]
        if missing:
            yield Finding(
                subject=f"Namespace {name}",
                message=f"no NetworkPolicy denies {' and '.join(missing)} to all its pods by default",
                resolution="add a NetworkPolicy with an empty podSelector, both policyTypes and no rules",
                stack=recording.stack,
            )


def _closes(item: RecordedResource, direction: str) -> bool:
    """Whether the policy selects every pod and allows none of the direction's traffic."""
    spec = item.inputs.get("spec") or {}
    selector = spec.get("podSelector")
    everything = selector == {} or selector == {"matchLabels": {}}
    return everything and direction in (spec.get("policyTypes") or ()) and not spec.get(direction.lower())


def evidence(policy_input: PolicyInput) -> Iterator[str]:
    """How many namespaces are closed."""
    count = sum(1 for _ in policy_input.objects("Namespace"))
    if count and not any(True for _ in check(policy_input)):
        yield f"{counted(count, 'namespace')} with ingress and egress denied by default"


RULE = Rule(
    name="default-deny",
    title="Every namespace is closed by default 默认拒绝",
    why=WHY,
    check=check,
    controls=("8.1.3.1 边界防护", "8.1.3.2 访问控制"),
    evidence=evidence,
    of_objects=True,
)
