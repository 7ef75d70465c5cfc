"""Recognises the city's own objects that are in no state, as after the loss of a state, by their field manager.

The name of a field manager is derived from the resource's URN and the cluster, so it can be computed from the URNs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace

from wecityctl.drift.recorded_object import PROVIDERS
from wecityctl.engine.process.event_log import name_of, type_of
from wecityctl.inputs import Cluster
from wecityctl.model.findings import Finding
from wecityctl.model.kinds import gives_or_opens
from wecityctl.model.security import group_of

# Returns the URNs that the city's stacks would register.
Registered = Callable[[], Iterable[str]]
# Returns the URNs in the state of a stack.
Held = Callable[[str], Collection[str]]


def is_a_providers(finding: Finding) -> bool:
    """Whether a Kubernetes provider of Pulumi created the object, judging by the name of a field manager."""
    return any(manager.startswith(PROVIDERS) for manager in finding.managers)


def with_their_stacks(found: Sequence[Finding], cluster: Cluster, registered: Registered, held: Held) -> list[Finding]:
    """Return the findings; those that are the city's own resources name the stack whose state lacks them.

    A resource that the state has made another object, as under a new name or on another cloud: `up` does not adopt what
    it left, which stays an undeclared object. `registered` is called only if an object has the field manager of a
    provider.
    """
    if not any(item.what == "undeclared" and is_a_providers(item) for item in found):
        return list(found)
    from wecityctl.provider.fieldmanager import derive

    urns: dict[tuple[str, str], str] = {}
    for urn in registered():
        kind = type_of(urn).rpartition(":")[2]
        urns |= {(manager, kind): urn for manager in derive(urn, cluster.identifier)}
    done = []
    for item in found:
        named = (urns.get((manager, item.kind), "") for manager in item.managers)
        urn = next((each for each in named if each and _may_have_made(each, item)), "")
        stack = urn.removeprefix("urn:pulumi:").partition("::")[0] if item.what == "undeclared" else ""
        if stack and urn in held(stack):
            stack = ""
        done.append(replace(item, of_stack=stack, shared=False) if stack else item)
    return done


def _may_have_made(urn: str, item: Finding) -> bool:
    """Whether the object has the name that its resource would give it. The field manager alone proves nothing: anybody
    may use its name.

    Objects that allow access or grant rights have the name in the URN; others may have a digest appended.
    """
    logical = name_of(urn)
    if logical in (item.name, f"{item.namespace}/{item.name}"):
        return True
    own = logical.rpartition("/")[2]
    is_alike = item.name.startswith(f"{own}-") or own.startswith(f"{item.name}-")
    return is_alike and not gives_or_opens(group_of(item.api_version), item.kind)
