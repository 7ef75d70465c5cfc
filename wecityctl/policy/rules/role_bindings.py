"""Bindings keep the three administrators (三员分立) apart, and give nobody everything.

That three people are named, and their roles share no rights, is the rule `three-administrators`'s to say.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from wecityctl.model import naming
from wecityctl.model.city import City
from wecityctl.model.identities import person
from wecityctl.policy.admission import MANAGE, Validation, may, policy, quote, resources
from wecityctl.policy.findings import about
from wecityctl.policy.model import Finding, Manifest, PolicyInput, Rule
from wecityctl.policy.objects import name_of, namespace_of
from wecityctl.policy.secret_ways import ways

NAME = "role-bindings"

WHY = """\
The roles of a city are made so that a tenant sees its own namespaces, and no administrator can do another's work. One
binding undoes that: to cluster-admin in a department's namespace, to everybody who can sign in, to a second of the
three administrators' roles. Bindings are short, easily written and rarely read again, so they are judged when they are
made, wherever on the cluster they concern the city's administrators, and in all of its namespaces. Nor may the stacks
give people a right that leads to Secrets: whoever writes a pod, or enters one, reads what it mounts. Only a tenant's
deployers, whom the files name, have such rights, and in the tenant's own namespaces alone."""
DUTIES = ("system", "security", "audit")
# The Role of deployers, who run `up` for one tenant only; it exists in each of the tenant's namespaces.
DEPLOYER_ROLE = "tenant-deployer"
# A right for one of these is a right for everybody.
ANYBODY = ("system:anonymous", "system:authenticated", "system:unauthenticated", "system:serviceaccounts")


def role_name(city: City, duty: str) -> str:
    """The ClusterRole of what one of the three duties may see of the cluster."""
    return naming.fit(f"{city.name}-{duty}-admin")


def inner_role_name(city: City, duty: str) -> str:
    """The ClusterRole of what a duty may do inside the city's namespaces; it is bound in each of them."""
    return naming.fit(f"{city.name}-{duty}-admin-in-city")


def group_name(city: City, duty: str) -> str:
    """The group of the cluster's sign-in whose members have that duty."""
    return f"wecity:{city.name}:{duty}-admins"


def manager_name(city: City) -> str:
    """The ClusterRole that holds the right over the city that `up` needs, and that lifts its fences."""
    return naming.fit(f"{city.name}-manager")


def bearers(city: City, duty: str) -> tuple[str, ...]:
    """Everybody who has a duty: its group, and those whom the files name for it."""
    return (group_name(city, duty), *people(city, duty))


def people(city: City, duty: str) -> tuple[str, ...]:
    """Those whom the files name for a duty."""
    named: Mapping[str, tuple[str, ...]] = {
        "system": city.compliance.administrators.system,
        "security": city.compliance.administrators.security,
        "audit": city.compliance.administrators.audit,
    }
    return named[duty]


def check(policy_input: PolicyInput) -> Iterable[Finding]:
    """Recorded bindings that give everything, or to everybody, and roles in a namespace that hold everything."""
    resolution = "bind a role with the rights that are needed, to those who need them"
    for recording, item in policy_input.objects("RoleBinding", "ClusterRoleBinding"):
        role = str((item.inputs.get("roleRef") or {}).get("name"))
        subjects = {str(subject.get("name")) for subject in item.inputs.get("subjects") or ()}
        for message in _faults(policy_input.city, role, subjects):
            yield about(policy_input, recording.stack, item, message, resolution)
    for recording, item in policy_input.objects("Role"):
        if any("*" in entry["verbs"] and "*" in (entry.get("resources") or ()) for entry in item.inputs["rules"] or ()):
            yield about(policy_input, recording.stack, item, "gives every right over everything", resolution)
    yield from _ways_to_secrets(policy_input)


def _ways_to_secrets(policy_input: PolicyInput) -> Iterator[Finding]:
    """Recorded roles that are bound to people and lead to Secrets. A Role is known by its namespace, too."""
    bound = {
        _role_key(item.inputs.get("roleRef") or {}, namespace_of(item))
        for _, item in policy_input.objects("RoleBinding", "ClusterRoleBinding")
        if any(subject.get("kind") != "ServiceAccount" for subject in item.inputs.get("subjects") or ())
    }
    for recording, item in policy_input.objects("Role", "ClusterRole"):
        if _role_key({"kind": item.inputs["kind"], "name": name_of(item)}, namespace_of(item)) not in bound:
            continue
        # A tenant's deployer creates its workloads and reads their Secrets: that is its duty in that namespace.
        if name_of(item) == DEPLOYER_ROLE and item.inputs["kind"] == "Role":
            continue
        for words in dict.fromkeys(word for entry in item.inputs.get("rules") or () for word in ways(entry)):
            resolution = "give people no right to write or enter pods: they restart what runs by deleting its pods"
            yield about(policy_input, recording.stack, item, f"{words}, and is bound to people", resolution)


def _role_key(role: Mapping[str, Any], namespace: str) -> tuple[str, str, str]:
    kind = str(role.get("kind"))
    return kind, namespace if kind == "Role" else "", str(role.get("name"))


def _faults(city: City, role: str, subjects: set[str]) -> Iterator[str]:
    if role == "cluster-admin":
        yield "gives every right there is"
    if len({duty for name in subjects for duty in _duties_of(city, name)}) > 1:
        yield "gives two of the three administrators the same role"
    anybody = subjects.intersection(ANYBODY)
    if anybody:
        yield f"gives rights to {', '.join(sorted(anybody))}"


def _duties_of(city: City, name: str) -> set[str]:
    """The duties of a subject: by its name as it is written, else by whose name it is in another spelling."""
    exact = {duty for duty in DUTIES if name in bearers(city, duty)}
    return exact or {duty for duty in DUTIES if person(name) in map(person, people(city, duty))}


def admission(city: City, _: Mapping[str, str]) -> Iterator[Manifest]:
    """One policy over bindings that touch the three duties, wherever they are; one over the city's own namespaces."""
    names = {duty: (role_name(city, duty), inner_role_name(city, duty)) for duty in DUTIES}
    roles = [role for duty in DUTIES for role in names[duty]]
    duties = [list(bearers(city, duty)) for duty in DUTIES]
    known = [name for each in duties for name in each]
    others = {
        role: [name for other in DUTIES if other != duty for name in bearers(city, other)]
        for duty in DUTIES
        for role in names[duty]
    }
    subjects = "dyn(object).?subjects.orValue([])"
    ours = f"object.roleRef.name in {quote([*roles, manager_name(city)])}"
    of_duty = f"object.roleRef.name in {quote(roles)}"
    rbac = "rbac.authorization.k8s.io"
    apart = f"{quote(duties)}.filter(d, {subjects}.exists(s, s.name in d)).size() < 2"
    both = "the binding gives two of the three administrators the same role; bind what each needs by itself"
    yield from policy(
        city,
        NAME,
        [resources(rbac, "clusterrolebindings", "rolebindings")],
        [
            Validation(
                f"!({ours}) || {may(city, MANAGE)}",
                f"the three administrators of {city.name} are named in its files, under compliance.administrators",
            ),
            Validation(
                f"!({of_duty}) || !{subjects}.exists(s, s.name in {quote(others)}[object.roleRef.name])",
                "the binding gives one administrator the duty of another; system, security and audit stay apart",
            ),
            # On a shared cluster, namespaces of others are none of the city's concern.
            Validation(f"object.kind == 'RoleBinding' || {apart}", both),
            Validation(
                "object.kind == 'RoleBinding' || object.roleRef.name != 'cluster-admin'"
                f" || !{subjects}.exists(s, s.name in {quote(known)})",
                "the binding gives an administrator every right there is; the three duties stay apart",
            ),
            Validation(
                f"!({ours}) || !{subjects}.exists(s, s.name in {quote(ANYBODY)})",
                "the binding gives a duty of the city to everybody; name those who have it",
            ),
        ],
        match={},
        conditions=[
            {
                "name": "of-the-three",
                "expression": f"{ours} || {subjects}.exists(s, s.name in {quote(known)})",
            }
        ],
    )
    yield from policy(
        city,
        NAME,
        [resources(rbac, "rolebindings", "roles")],
        [
            Validation(f"object.kind != 'RoleBinding' || {apart}", both),
            Validation(
                "object.kind != 'RoleBinding' || dyn(object).roleRef.name != 'cluster-admin'",
                "nobody is cluster-admin in a city's namespace; bind a role with the rights that are needed",
            ),
            Validation(
                f"object.kind != 'RoleBinding' || !{subjects}.exists(s, s.name in {quote(ANYBODY)})",
                "the binding gives rights to everybody; name those who need them",
            ),
            Validation(
                "object.kind != 'Role' || !dyn(object).?rules.orValue([])"
                ".exists(r, '*' in r.verbs && '*' in r.?resources.orValue([]))",
                "the role gives every right over everything; name the resources and verbs that are needed",
            ),
        ],
        name=f"{NAME}-in-city",
    )


RULE = Rule(
    name=NAME,
    title="Bindings give nobody everything 最小授权",
    why=WHY,
    check=check,
    controls=("8.1.4.2 访问控制", "8.1.5.1 系统管理", "8.1.5.2 审计管理", "8.1.5.3 安全管理"),
    admission=admission,
    of_objects=True,
)
