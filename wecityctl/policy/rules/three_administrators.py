"""System, security and audit administrators are three: no person is two of them, no role holds another's rights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import combinations, permutations
from typing import Any

from wecityctl.model import naming
from wecityctl.model.identities import person
from wecityctl.policy.model import Finding, PolicyInput, Rule
from wecityctl.policy.objects import name_of
from wecityctl.resource_graph import RecordedResource

WHY = """\
三员分立: from level 3 on, GB/T 22239 asks for a system administrator who runs the platform, a security administrator
who sets its rules, and an audit administrator who looks at what both did. The separation works only if they are
different people and if none of the three roles contains the rights of another: whoever can both act and change the
record of it cannot be held to anything. So each set of people should be named (one that is not is advised), the sets
must share nobody, and in the graph no role may hold all of another's rights, nor one subject be bound to two of the
roles. A security or audit administrator may not administer a tenant, and a system administrator should not. Capitals,
full-width letters, `mailto:` and `+tag` make no other person of an address."""

ROLES = {"system": "system-admin", "security": "security-admin", "audit": "audit-admin"}


def check(policy_input: PolicyInput) -> Iterator[Finding]:
    """Missing administrators, people with two offices, and roles that contain each other."""
    yield from _people(policy_input)
    if policy_input.recordings:
        yield from _rights(policy_input)
        yield from _bindings(policy_input)


def _people(policy_input: PolicyInput) -> Iterator[Finding]:
    three = policy_input.city.compliance.administrators
    people = {"system": three.system, "security": three.security, "audit": three.audit}
    missing = [office for office, names in people.items() if not names]
    if missing:
        message = f"nobody is {' or '.join(missing)} administrator"
        found = _finding(policy_input, message, "name at least one person for each of the three", missing[0])
        # The roles exist in the clusters anyway. The clusters' sign-in may decide who has them.
        yield replace(found, unsaid=True)
    for one, other, both in _in_two_offices(policy_input):
        message = f"{both} is {one} administrator and {other} administrator"
        yield _finding(policy_input, message, "give one of the two offices to somebody else", other)
    for tenant in policy_input.city.tenants:
        own = set(map(person, tenant.admins))
        for office, names in people.items():
            for both in sorted(own & set(map(person, names))):
                message = f"{both} is {office} administrator and administers tenant {tenant.name}"
                yield Finding(
                    f"tenant {tenant.name}",
                    message,
                    "let somebody else administer the tenant",
                    document=("Tenant", tenant.name),
                    path=("spec", "admins"),
                    # A system administrator may intentionally deploy a tenant's apps too, but a security or audit
                    # administrator may not. The tenant's own files name the deployer, so it is reported in both cases.
                    unsaid=office == "system",
                )


def _in_two_offices(policy_input: PolicyInput) -> Iterator[tuple[str, str, str]]:
    """Two offices and who has both by the files; how the address is written makes no other person of anybody."""
    three = policy_input.city.compliance.administrators
    people = {"system": three.system, "security": three.security, "audit": three.audit}
    for one, other in combinations(people, 2):
        for both in sorted(set(map(person, people[one])) & set(map(person, people[other]))):
            yield one, other, both


def _finding(policy_input: PolicyInput, message: str, resolution: str, office: str) -> Finding:
    path = ("spec", "compliance", "administrators", office)
    return Finding("city", message, resolution, document=("City", policy_input.city.name), path=path)


def _rights(policy_input: PolicyInput) -> Iterator[Finding]:
    """Roles of the three that are missing on a cloud, empty, or contained in another."""
    for recording in policy_input.recordings:
        roles = {name_of(item): item for item in recording.resources if item.inputs.get("kind") == "ClusterRole"}
        ours = {office: roles.get(_role(policy_input, office)) for office in ROLES}
        if not any(ours.values()) and ".base." not in recording.stack:
            continue
        for office, role in ours.items():
            if role is None or not _atoms(role):
                message = f"there is no role with rights for the {office} administrator"
                resolution = "register the three roles with the base of each cloud"
                yield Finding(f"ClusterRole {_role(policy_input, office)}", message, resolution, recording.stack)
        known = [(office, role) for office, role in ours.items() if role is not None and _atoms(role)]
        for (one, inner), (other, outer) in permutations(known, 2):
            if all(_grants(outer, atom) for atom in _atoms(inner)):
                message = f"the {other} administrator's role has every right of the {one} administrator's"
                resolution = "take from the role what only the other office needs"
                yield Finding(f"ClusterRole {name_of(outer)}", message, resolution, recording.stack)


def _bindings(policy_input: PolicyInput) -> Iterator[Finding]:
    """Subjects that are bound to two of the three roles, though the files do not say so."""
    names = {_role(policy_input, office) for office in ROLES}
    # What the files declare is reported once for the files, and not again for every cloud.
    said = {
        ("User", both, frozenset({_role(policy_input, one), _role(policy_input, other)}))
        for one, other, both in _in_two_offices(policy_input)
    }
    for recording in policy_input.recordings:
        held: dict[str, str] = {}
        for item in recording.resources:
            role = str((item.inputs.get("roleRef") or {}).get("name", ""))
            if item.inputs.get("kind") != "ClusterRoleBinding" or role not in names:
                continue
            for subject in item.inputs.get("subjects") or ():
                kind, name = str(subject.get("kind")), str(subject.get("name"))
                who = f"{kind} {name}"
                first = held.setdefault(f"{kind} {person(name)}", role)
                if first != role and (kind, person(name), frozenset({first, role})) not in said:
                    message = f"{who} is bound to {first} and to {role}"
                    resolution = "bind each of the three roles to people of its own"
                    yield Finding(f"ClusterRoleBinding {name_of(item)}", message, resolution, recording.stack)


def _role(policy_input: PolicyInput, office: str) -> str:
    return naming.fit(f"{policy_input.city.name}-{ROLES[office]}")


def _atoms(role: RecordedResource) -> list[tuple[str, str, str]]:
    """The role's rights, one by one: (API group, resource, verb); other URLs have the group `url`."""
    return [atom for entry in role.inputs.get("rules") or () for atom in _entry_atoms(entry)]


def _entry_atoms(entry: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for verb in entry.get("verbs") or ():
        for url in entry.get("nonResourceURLs") or ():
            yield "url", url, verb
        for group in entry.get("apiGroups") or ():
            for resource in entry.get("resources") or ():
                yield group, resource, verb


def _grants(role: RecordedResource, atom: tuple[str, str, str]) -> bool:
    return any(
        all(have in ("*", asked) for have, asked in zip(mine, atom, strict=True))
        and (mine[0] == "url") == (atom[0] == "url")
        for mine in _atoms(role)
    )


def evidence(policy_input: PolicyInput) -> Iterator[str]:
    """How many people hold each office."""
    three = policy_input.city.compliance.administrators
    if three.system or three.security or three.audit:
        counts = f"{len(three.system)} system, {len(three.security)} security, {len(three.audit)} audit"
        yield f"administrators: {counts}"


RULE = Rule(
    name="three-administrators",
    title="Three separate administrators 三员分立",
    why=WHY,
    check=check,
    of_files=True,
    mlps=3,
    controls=("8.1.5.1 系统管理", "8.1.5.2 审计管理", "8.1.5.3 安全管理"),
    evidence=evidence,
)
