"""A tenant's deployers run its apps as the city's stacks make them, and are none of the three administrators."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from wecityctl.model import naming
from wecityctl.model.city import City
from wecityctl.model.identities import person
from wecityctl.policy.admission import VARIABLES, Validation, deploys, policy, quote, resources
from wecityctl.policy.model import Finding, Manifest, PolicyInput, Rule
from wecityctl.policy.rules.role_bindings import DUTIES, people

NAME = "tenant-deployers"

WHY = """\
A department that deploys its own apps needs rights over Deployments, Services and Secrets in its namespaces, and RBAC
cannot say what these may contain. Some of it reaches beyond the namespace: a Service with an external address takes
other people's traffic, a node port opens a way in beside the entry point, a priority above the tenants'
evicts other people's pods, a Secret of a certain type fetches the token of any account there. So the cluster takes from
a deployer what the city's stacks make for apps, and none of these. And who deploys a tenant's apps is not who sets the
city's rules, looks at what was done, or runs the platform."""


def check(policy_input: PolicyInput) -> Iterable[Finding]:
    """Deployers who are one of the three administrators, too."""
    for tenant in policy_input.city.tenants:
        own = set(map(person, tenant.deployers))
        for duty in DUTIES:
            for both in sorted(own & set(map(person, people(policy_input.city, duty)))):
                yield Finding(
                    f"tenant {tenant.name}",
                    f"{both} is {duty} administrator and deploys tenant {tenant.name}",
                    "let somebody else deploy the tenant's apps",
                    document=("Tenant", tenant.name),
                    path=("spec", "deployers"),
                )


def has_deployers(city: City) -> bool:
    """Whether a tenant of the city names somebody who deploys its apps."""
    return any(tenant.deployers for tenant in city.tenants)


def admission(city: City, _: Mapping[str, str]) -> Iterator[Manifest]:
    """What a deployer's objects may not contain. Says nothing of other people's, and nothing in a city without any."""
    if not has_deployers(city):
        return
    # The name of the PriorityClass in the base stack of each cloud (`stacks.base.kubernetes.priority_class`).
    priority = naming.fit(f"{city.name}-tenant")
    kind = "!variables.deploys || object.kind != "
    yield from policy(
        city,
        NAME,
        [resources("apps", "deployments"), resources("", "services", "secrets")],
        [
            Validation(
                f"{kind}'Deployment' || (variables.spec.?priorityClassName.orValue('') == {quote(priority)}"
                " && !has(variables.spec.priority))",
                f"a deployer's pods have the priority of the tenants' apps; set priorityClassName: {priority}",
            ),
            Validation(
                f"{kind}'Deployment' || variables.spec.?nodeName.orValue('') == ''",
                "a deployer's pods are placed by the scheduler; leave nodeName out",
            ),
            Validation(
                f"{kind}'Service' || (dyn(object).spec.?type.orValue('ClusterIP') == 'ClusterIP'"
                " && size(dyn(object).spec.?externalIPs.orValue([])) == 0)",
                "a deployer's Services are reached within the cluster alone; give the app a route in the city's files",
            ),
            Validation(
                f"{kind}'Secret' || dyn(object).?type.orValue('Opaque') != 'kubernetes.io/service-account-token'",
                "a deployer makes no Secret that fetches an account's token",
            ),
        ],
        more_variables={"spec": VARIABLES["spec"], "deploys": deploys(city)},
        waivable=False,
    )


def evidence(policy_input: PolicyInput) -> Iterator[str]:
    """Who deploys which tenant."""
    for tenant in policy_input.city.tenants:
        if tenant.deployers:
            yield f"tenant {tenant.name} is deployed by {', '.join(tenant.deployers)}"


RULE = Rule(
    name=NAME,
    title="Deployers keep to their tenant 部门部署者最小授权",
    why=WHY,
    check=check,
    controls=("8.1.4.2 访问控制", "8.1.5.1 系统管理"),
    veto=True,
    admission=admission,
    evidence=evidence,
    applies=has_deployers,
    of_files=True,
)
