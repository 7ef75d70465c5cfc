"""The enforcement points of the policy rules outside the files: groups of objects, to be shown to an assessor.

Pure: the groups come from the recorded graph. Other modules read the clusters; `observe` evaluates what they found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wecityctl.model.kinds import TRAFFIC
from wecityctl.policy.admission import held_by
from wecityctl.policy.evidence import Kind, Observation, State
from wecityctl.policy.model import PolicyInput, Rule
from wecityctl.policy.objects import cloud_of, name_of
from wecityctl.policy.rules.network_fences import DEFAULT_DENY
from wecityctl.policy.rules.role_bindings import DUTIES, group_name, inner_role_name, people, role_name
from wecityctl.resource_graph import SECRET, UNKNOWN, RecordedResource

Key = tuple[str, str, str]
_SHOWN = 3
SERVICE_ACCOUNTS = "service-accounts"
# Policies of extensions can allow what a NetworkPolicy denies. Routes of gateways only reach pods that allow them.
_POLICIES = tuple(sorted({kind for kinds in TRAFFIC.values() for kind in kinds if kind.endswith("NetworkPolicy")}))
_RESTS_ON: Mapping[Kind, tuple[str, ...]] = {
    "network-policy": ("NetworkPolicy", *_POLICIES),
    "pod-security": ("Namespace",),
    "role": ("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"),
}
ADMISSION = ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")


@dataclass(frozen=True, slots=True)
class EnforcementPoint:
    """A group of objects that enforces `controls` (numbers of level 3); `wanted` has the objects of each cloud.

    `idle` is the reason why existing objects enforce nothing that can be observed; usually empty.
    """

    kind: Kind
    name: str
    title: str
    controls: tuple[str, ...]
    wanted: Mapping[str, tuple[Mapping[str, Any], ...]]
    idle: str = ""

    @property
    def in_clusters(self) -> bool:
        """Whether it consists of Kubernetes objects, which can be read without a vendor's API."""
        return self.kind != "landing-zone"

    def rests_on(self, kind: str) -> bool:
        """Whether an additional object of that kind weakens what this enforces."""
        return kind in _RESTS_ON.get(self.kind, ()) and self.name != SERVICE_ACCOUNTS


@dataclass(frozen=True, slots=True)
class Family:
    """Defines which recorded objects form an enforcement point."""

    kind: Kind
    name: str
    title: str
    controls: tuple[str, ...]
    holds: Callable[[PolicyInput, RecordedResource], bool]
    idle: Callable[[PolicyInput], str] = lambda _: ""


def _is(kind: str) -> Callable[[PolicyInput, RecordedResource], bool]:
    return lambda _, item: item.inputs.get("kind") == kind


def _default_deny(_: PolicyInput, item: RecordedResource) -> bool:
    return item.inputs.get("kind") == "NetworkPolicy" and name_of(item) == DEFAULT_DENY


def _flow(_: PolicyInput, item: RecordedResource) -> bool:
    return item.inputs.get("kind") == "NetworkPolicy" and name_of(item) != DEFAULT_DENY


def _duty(policy_input: PolicyInput, item: RecordedResource, *duties: str) -> bool:
    roles = {name(policy_input.city, duty) for duty in duties for name in (role_name, inner_role_name)}
    if item.inputs.get("kind") == "RoleBinding":
        return (item.inputs.get("roleRef") or {}).get("name") in roles
    return item.inputs.get("kind") in ("ClusterRole", "ClusterRoleBinding") and name_of(item) in roles


def _tenant_role(policy_input: PolicyInput, item: RecordedResource) -> bool:
    return item.inputs.get("kind") in ("Role", "RoleBinding") and not _duty(policy_input, item, *DUTIES)


def _administrators(duty: str, control: str) -> Family:
    """The roles of one of the three administrators; idle if the files name nobody for that duty."""

    def idle(policy_input: PolicyInput) -> str:
        if people(policy_input.city, duty):
            return ""
        group = group_name(policy_input.city, duty)
        return f"the files name nobody; who is in the group {group} of the sign-in is not known here"

    return Family(
        "role",
        f"{duty}-administrators",
        f"Roles of the {duty} administrators, bound where they hold",
        (control,),
        lambda policy_input, item: _duty(policy_input, item, duty),
        idle,
    )


FAMILIES: tuple[Family, ...] = (
    Family(
        "network-policy",
        DEFAULT_DENY,
        "NetworkPolicies that close every namespace",
        ("8.1.2.1", "8.1.3.1", "8.1.3.2"),
        _default_deny,
    ),
    Family("network-policy", "flows", "NetworkPolicies of the declared flows and uses", ("8.1.3.2",), _flow),
    Family(
        "pod-security",
        "namespaces",
        "Namespaces with their zone, owner and Pod Security level",
        ("8.1.2.1", "8.1.4.2", "8.1.4.4"),
        _is("Namespace"),
    ),
    _administrators("system", "8.1.5.1"),
    _administrators("audit", "8.1.5.2"),
    _administrators("security", "8.1.5.3"),
    Family("role", "tenants", "Roles of the tenants' own administrators", ("8.1.4.2",), _tenant_role),
    Family(
        "role",
        SERVICE_ACCOUNTS,
        "Service accounts of the apps, one each",
        ("8.1.4.1",),
        _is("ServiceAccount"),
    ),
)

# Words in the tokens of all vendors that tell what a resource is for.
_LANDING = (
    (
        ("secgroup", "securitygroup", "security/", "networking/sec"),
        "security-groups",
        "Security groups",
        ("8.1.2.1", "8.1.3.1"),
    ),
    (("kms/", "dew/key", "keymanager/"), "keys", "Keys that encrypt what lies there", ("8.1.4.8",)),
)


def enforcement_points(policy_input: PolicyInput, rules: Sequence[Rule]) -> tuple[EnforcementPoint, ...]:
    """Every group of objects that the recorded stacks would register; admission policies by rule come first."""
    return (*_admission(policy_input, rules), *_families(policy_input), *_landing(policy_input))


def _admission(policy_input: PolicyInput, rules: Sequence[Rule]) -> Iterator[EnforcementPoint]:
    recorded: dict[Key, list[tuple[str, RecordedResource]]] = {}
    for recording, item in policy_input.objects(*ADMISSION):
        recorded.setdefault(key_of(item.inputs), []).append((cloud_of(policy_input, recording), item))
    for rule in rules:
        wanted: dict[str, list[Mapping[str, Any]]] = {}
        for manifest in held_by(rule, policy_input.city, policy_input.images):
            for cloud, item in recorded.get(key_of(manifest), ()):
                wanted.setdefault(cloud, []).append(item.inputs)
        if wanted:
            numbers = tuple(text.split(" ")[0] for text in rule.controls)
            yield EnforcementPoint("admission", rule.name, f"Admission policy: {rule.title}", numbers, _frozen(wanted))


def _families(policy_input: PolicyInput) -> Iterator[EnforcementPoint]:
    for family in FAMILIES:
        wanted: dict[str, list[Mapping[str, Any]]] = {}
        for recording, item in policy_input.objects():
            if family.holds(policy_input, item):
                wanted.setdefault(cloud_of(policy_input, recording), []).append(item.inputs)
        if wanted:
            idle = family.idle(policy_input)
            yield EnforcementPoint(family.kind, family.name, family.title, family.controls, _frozen(wanted), idle)


def _landing(policy_input: PolicyInput) -> Iterator[EnforcementPoint]:
    for words, name, title, numbers in _LANDING:
        wanted: dict[str, list[Mapping[str, Any]]] = {}
        for recording in policy_input.recordings:
            for item in recording.resources:
                if not item.is_kubernetes_object and any(word in item.type.lower() for word in words):
                    wanted.setdefault(cloud_of(policy_input, recording), []).append(item.inputs)
        if wanted:
            yield EnforcementPoint("landing-zone", name, f"{title} of the landing zone", numbers, _frozen(wanted))


def _frozen(wanted: Mapping[str, list[Mapping[str, Any]]]) -> dict[str, tuple[Mapping[str, Any], ...]]:
    return {cloud: tuple(items) for cloud, items in wanted.items()}


def key_of(manifest: Mapping[str, Any]) -> Key:
    """Kind, namespace and name of an object."""
    metadata = manifest.get("metadata") or {}
    return str(manifest.get("kind")), str(metadata.get("namespace") or ""), str(metadata.get("name"))


def observe(
    cloud: str,
    wanted: Sequence[Mapping[str, Any]],
    live: Mapping[Key, Mapping[str, Any]],
    differs: Mapping[Key, str] = {},
) -> Observation:
    """Compare `wanted` with a cluster: how many objects exist, and whether they still say what the files say.

    `differs` has the objects that were compared as a whole and differ from the declared ones, each with what was
    changed.
    """
    found = [(item, live.get(key_of(item))) for item in wanted]
    missing = [item for item, there in found if there is None]
    altered = [
        item for item, there in found if there is not None and (key_of(item) in differs or not contains(there, item))
    ]
    there = [item for _, item in found if item is not None]
    idle = _idle(missing, there)
    since = min((str(item["metadata"].get("creationTimestamp") or "") for item in there), default="")
    leaving = [item for item in there if item["metadata"].get("deletionTimestamp")]
    details = [*_named("missing", missing), *_named("altered", altered), *_named("leaving", leaving)]
    details += [differs[key] for key in map(key_of, altered) if key in differs][:_SHOWN]
    present = len(there) - len(idle.union(map(key_of, altered)))
    state: State = "altered" if altered else "partial" if missing else "observed"
    if missing and not altered and not present:
        state = "missing"
    return Observation(cloud, state, present, len(found), since, "; ".join(details))


def _idle(missing: Sequence[Mapping[str, Any]], live: Sequence[Mapping[str, Any]]) -> set[Key]:
    """Admission policies without a binding, and bindings without a policy: they have no effect."""
    names = {name for kind, _, name in map(key_of, missing) if kind in ADMISSION}
    return {key for key in map(key_of, live) if key[0] in ADMISSION and key[2] in names}


def contains(live: Any, wanted: Any) -> bool:
    """Whether the API server's object has all fields that we registered; additional fields do not matter."""
    if wanted in (UNKNOWN, SECRET):
        return True
    if isinstance(wanted, Mapping):
        if not isinstance(live, Mapping):
            return not wanted and live is None
        return all(contains(live.get(name), value) for name, value in wanted.items())
    if isinstance(wanted, (list, tuple)):
        if not isinstance(live, (list, tuple)):
            return not wanted and live is None
        return len(live) == len(wanted) and all(map(contains, live, wanted))
    return bool(live == wanted) or (live is None and wanted in (False, "", 0))


def _title(item: Mapping[str, Any]) -> str:
    kind, namespace, name = key_of(item)
    return f"{kind} {namespace}/{name}" if namespace else f"{kind} {name}"


def _named(word: str, items: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if items:
        more = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
        yield f"{word}: {', '.join(map(_title, items[:_SHOWN]))}{more}"
