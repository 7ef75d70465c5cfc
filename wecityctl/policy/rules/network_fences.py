"""In the cluster the network policies have a keeper: nobody opens a namespace beside what the files declare."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from wecityctl.model.city import City
from wecityctl.policy.admission import FENCE, MANAGE, Validation, may, policy, resources
from wecityctl.policy.findings import about
from wecityctl.policy.model import Finding, Manifest, Posture, Rule
from wecityctl.policy.objects import name_of
from wecityctl.policy.rules.role_bindings import inner_role_name

NAME = "network-fences"

WHY = """\
Who may talk to whom is decided in the city's files, by name, with an approval and a reason, and everything else is
denied. That holds only while nobody can add a policy beside the declared ones: network policies add up, and a single
one that allows everything undoes all the others. So in the cluster nobody but the city's manager writes them, security
administrators may narrow and tidy within a namespace, and the policy that closes a namespace stays as it is."""
DEFAULT_DENY = "default-deny"
_WRITE = {"*", "create", "update", "patch", "delete", "deletecollection"}


def check(posture: Posture) -> Iterable[Finding]:
    """Recorded roles that let anybody but the security administrators write network policies."""
    keeper = inner_role_name(posture.city, "security")
    for recording, item in posture.objects("Role", "ClusterRole"):
        if name_of(item) == keeper:
            continue
        if any(_writes_policies(entry) for entry in item.inputs.get("rules") or ()):
            yield about(
                posture,
                recording.stack,
                item,
                "gives the right to write network policies",
                "leave network policies to the files and to the security administrators",
            )


def _writes_policies(entry: Mapping[str, Any]) -> bool:
    """Whether an RBAC rule reaches NetworkPolicies with a verb that changes them."""
    return bool(
        {"*", "networking.k8s.io"}.intersection(entry.get("apiGroups") or ())
        and {"*", "networkpolicies"}.intersection(entry.get("resources") or ())
        and _WRITE.intersection(entry.get("verbs") or ())
    )


def admission(city: City, _: Mapping[str, str]) -> Iterator[Manifest]:
    """NetworkPolicies of the city's namespaces are written by its manager, or its security administrators within a
    namespace; the default-deny policy by the manager alone. A namespace that goes takes its policies with it."""
    manages, going = may(city, MANAGE), "variables.going"
    return policy(
        city,
        NAME,
        [resources("networking.k8s.io", "networkpolicies", delete=True)],
        [
            Validation(
                f"{going} || {manages} || {may(city, FENCE)}",
                f"network policies in this namespace are kept by the city {city.name}; declare a flow or a use in its"
                " files, or ask its security administrators",
            ),
            Validation(
                f"{going} || request.name != {DEFAULT_DENY!r} || {manages}",
                "the default-deny policy stays as it is; only what the city's files declare opens a namespace",
            ),
            Validation(
                f"request.operation == 'DELETE' || {manages}"
                f" || ({_inside('ingress', 'from')} && {_inside('egress', 'to')})",
                "a network policy opens a namespace to others or to addresses; declare a flow or a use in the files",
            ),
        ],
        more_variables={
            "going": "request.operation == 'DELETE' && namespaceObject.?status.?phase.orValue('') == 'Terminating'"
        },
        waivable=False,
    )


def _inside(direction: str, side: str) -> str:
    """Every rule of a direction names its peers, and all of them are pods of the same namespace."""
    peers = f"r.?{side}.orValue([])"
    return (
        f"dyn(object).spec.?{direction}.orValue([]).all(r, size({peers}) > 0"
        f" && {peers}.all(p, !has(p.ipBlock) && !has(p.namespaceSelector)))"
    )


RULE = Rule(
    name=NAME,
    title="Network policies have a keeper 网络策略专人管理",
    why=WHY,
    check=check,
    veto=True,
    controls=("8.1.2.1 网络架构", "8.1.3.1 边界防护", "8.1.3.2 访问控制"),
    admission=admission,
    of_objects=True,
)
