"""In the cluster the network policies have a keeper: nobody opens a namespace beside what the files declare."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from wecityctl.model import naming
from wecityctl.model.city import App, City
from wecityctl.model.entries import entry_of
from wecityctl.model.naming import NAME_LABEL, PART_OF_LABEL, TENANT_LABEL
from wecityctl.model.provided import calls
from wecityctl.policy.admission import FENCE, MANAGE, Validation, deploys, may, policy, quote, resources
from wecityctl.policy.findings import about
from wecityctl.policy.model import Finding, Manifest, PolicyInput, Rule
from wecityctl.policy.objects import name_of
from wecityctl.policy.rules.role_bindings import DEPLOYER_ROLE, inner_role_name

NAME = "network-fences"

WHY = """\
Who may talk to whom is decided in the city's files, by name, with an approval and a reason, and everything else is
denied. That holds only while nobody can add a policy beside the declared ones: network policies add up, and a single
one that allows everything undoes all the others. So in the cluster nobody but the city's manager writes them, security
administrators may narrow and tidy within a namespace, and the policy that closes a namespace stays as it is. A tenant's
deployer writes the policies of the tenant's own apps, and those open ways within the namespace, to the capabilities, in
from the entry point, and between two apps of which one uses what the other provides: as the files said when the city's
manager last ran, so that a new one across namespaces takes a run of the manager."""
DEFAULT_DENY = "default-deny"
_NAMESPACE_NAME = "kubernetes.io/metadata.name"
_WRITE = {"*", "create", "update", "patch", "delete", "deletecollection"}


def check(policy_input: PolicyInput) -> Iterable[Finding]:
    """Recorded roles that let anybody but security administrators and tenants' deployers write network policies."""
    keeper = inner_role_name(policy_input.city, "security")
    for recording, item in policy_input.objects("Role", "ClusterRole"):
        # The admission policy restricts what a deployer's network policies may open.
        if name_of(item) == keeper or (name_of(item) == DEPLOYER_ROLE and item.inputs.get("kind") == "Role"):
            continue
        if any(_writes_policies(entry) for entry in item.inputs.get("rules") or ()):
            yield about(
                policy_input,
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
    namespace, or a tenant's deployer for its apps; the default-deny policy by the manager alone. A namespace that goes
    takes its policies with it."""
    manages, going = may(city, MANAGE), "variables.going"
    variables = {
        "going": "request.operation == 'DELETE' && namespaceObject.?status.?phase.orValue('') == 'Terminating'"
    }
    deployer, of_apps, declared = "", [], ""
    if any(tenant.deployers for tenant in city.tenants):
        variables |= {
            "deploys": deploys(city),
            "tenant": f"namespaceObject.metadata.?labels[?{quote(TENANT_LABEL)}].orValue('')",
        }
        deployer, declared = " || variables.deploys", f" || (variables.deploys && {_as_apps_need(city)})"
        of_apps = [
            Validation(
                f"{going} || !variables.deploys || ("
                f"(request.operation == 'DELETE' || {_of_tenants_apps('object')})"
                f" && (request.operation == 'CREATE' || {_of_tenants_apps('oldObject')}))",
                "a deployer writes the network policies of its tenant's apps alone; those of the whole namespace are"
                " the city's",
            )
        ]
    return policy(
        city,
        NAME,
        [resources("networking.k8s.io", "networkpolicies", delete=True)],
        [
            Validation(
                f"{going} || {manages} || {may(city, FENCE)}{deployer}",
                f"network policies in this namespace are kept by the city {city.name}; declare a flow or a use in its"
                " files, or ask its security administrators",
            ),
            Validation(
                f"{going} || request.name != {DEFAULT_DENY!r} || {manages}",
                "the default-deny policy stays as it is; only what the city's files declare opens a namespace",
            ),
            Validation(
                f"request.operation == 'DELETE' || {manages}"
                f" || ({_inside('ingress', 'from')} && {_inside('egress', 'to')}){declared}",
                "a network policy opens a namespace to others or to addresses; declare a flow or a use in the files",
            ),
            *of_apps,
        ],
        more_variables=variables,
        waivable=False,
    )


def _inside(direction: str, side: str) -> str:
    """Every rule of a direction names its peers, and all of them are pods of the same namespace."""
    peers = f"r.?{side}.orValue([])"
    return (
        f"dyn(object).spec.?{direction}.orValue([]).all(r, size({peers}) > 0"
        f" && {peers}.all(p, !has(p.ipBlock) && !has(p.namespaceSelector)))"
    )


def _of_tenants_apps(which: str) -> str:
    """The policy selects pods of one tenant's apps, by the label that every pod of them has."""
    label = f"dyn({which}).spec.podSelector.?matchLabels[?{quote(PART_OF_LABEL)}].orValue('')"
    return f"(variables.tenant != '' && {label} == variables.tenant)"


def _as_apps_need(city: City) -> str:
    """Every rule opens a way within the namespace, in from an entry point, out to a capability, or between two apps.

    The far end of a way to a capability is opened in its own namespace, where no deployer writes. A city without a
    gateway does not know where its ingress controller runs, and opens an app's port to everybody.
    """
    zones = [entry_of(city, zone.name) for zone in city.zones]
    entries = sorted({entry.namespace for entry in zones if entry is not None})
    others = [item for item in city.capabilities if not item.is_entry]
    places = sorted({naming.platform_namespace(item.platform, item.zone) for item in others})
    named = f"p.?podSelector.?matchLabels[?{quote(NAME_LABEL)}].orValue('') in {quote(sorted(i.name for i in others))}"
    peers_in, peers_out = "r.?from.orValue([])", "r.?to.orValue([])"
    everybody = "" if entries else f"size({peers_in}) == 0 || "
    callers, called = _ways(city)
    return (
        f"dyn(object).spec.?ingress.orValue([]).all(r, {everybody}(size({peers_in}) > 0 && {peers_in}.all(p,"
        f" !has(p.ipBlock) && (!has(p.namespaceSelector) || {_in_one_of(entries)}{callers}))))"
        f" && dyn(object).spec.?egress.orValue([]).all(r, size({peers_out}) > 0 && {peers_out}.all(p,"
        f" !has(p.ipBlock) && (!has(p.namespaceSelector) || ({_in_one_of(places)} && {named}){called})))"
    )


def _ways(city: City) -> tuple[str, str]:
    """Conditions under which the peer `p` is an app that uses what the policy's app provides, and the reverse.

    Empty without such uses by or of a tenant with deployers. Both ends are apps in namespaces, so that a policy which
    selects all pods, or names all pods of a namespace, is none of them.
    """
    deploying = {tenant.name for tenant in city.tenants if tenant.deployers}
    ingress, egress = set(), set()
    for user, _, target in calls(city):
        one = _end(naming.tenant_namespace(user.tenant, user.zone), user)
        other = _end(target.namespace, target.app)
        if target.app.tenant in deploying:
            ingress.add(f"{other} {one} {target.pod_port}")
        if user.tenant in deploying:
            egress.add(f"{one} {other} {target.pod_port}")
    return _is_way(ingress), _is_way(egress)


def _end(namespace: str, app: App) -> str:
    return f"{namespace}/{app.tenant}/{app.name}"


def _is_way(ways: Iterable[str]) -> str:
    """The policy's app, the peer `p` and every port of the rule `r` are one of these ways; empty without any."""
    if not ways:
        return ""
    own = "dyn(object).spec.podSelector"
    return (
        f" || (size(r.?ports.orValue([])) > 0 && r.ports.all(o, !has(o.endPort) && (object.metadata.namespace + '/'"
        f" + {_app_of(own)} + ' ' + p.namespaceSelector.?matchLabels[?{quote(_NAMESPACE_NAME)}].orValue('') + '/'"
        f" + {_app_of('p.?podSelector')} + ' ' + string(o.?port.orValue(''))) in {quote(sorted(ways))}))"
    )


def _app_of(selector: str) -> str:
    """The app that a selector of pods names, as `tenant/app`."""
    labels = (f"{selector}.?matchLabels[?{quote(label)}].orValue('')" for label in (PART_OF_LABEL, NAME_LABEL))
    return " + '/' + ".join(labels)


def _in_one_of(namespaces: list[str]) -> str:
    """The peer `p` names one of these namespaces. Other labels and expressions could only narrow it."""
    return f"p.namespaceSelector.?matchLabels[?{quote(_NAMESPACE_NAME)}].orValue('') in {quote(namespaces)}"


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
