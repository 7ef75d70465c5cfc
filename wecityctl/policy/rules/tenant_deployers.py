"""A tenant's deployers run its apps as the city's stacks make them, and are none of the three administrators."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping

from wecityctl.model import naming
from wecityctl.model.city import City
from wecityctl.model.identities import person
from wecityctl.model.registries import PULL_SECRET_PREFIX
from wecityctl.policy.admission import VARIABLES, Validation, deploys, policy, quote, resources
from wecityctl.policy.model import Finding, Manifest, PolicyInput, Rule
from wecityctl.policy.rules.role_bindings import DUTIES, people

NAME = "tenant-deployers"

WHY = """\
A department that deploys its own apps needs rights over workloads, Services, Secrets and claims of volumes in its
namespaces, and RBAC cannot say what these may contain. Some of it reaches beyond the namespace: a Service with an
external address takes other people's traffic, a node port opens a way in beside the entry point, a priority above the
tenants' evicts other people's pods, a node by name or a toleration takes nodes that were meant for others, a claim that
names its volume, or is made from a template that does, takes what others have left, a pod that mounts a registry's
credential may wait until there is one, a Secret of a certain type fetches the token of any account there. So the
cluster takes from a deployer what the city's stacks make for apps, and none of these. And who deploys a tenant's apps
does not set the city's rules, look at what was done, or run the platform."""

_WORKLOADS = "['Deployment', 'StatefulSet', 'Job', 'CronJob']"
_VOLUMES_WITH_SECRETS = ("cephfs", "cinder", "flexVolume", "iscsi", "rbd", "scaleIO", "storageos")
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
# Claims in a workload: the templates of a StatefulSet, and those of the pods' ephemeral volumes.
_OWN_CLAIMS = (
    "(dyn(object).spec.?volumeClaimTemplates.orValue([])"
    " + variables.spec.?volumes.orValue([]).filter(v, has(v.ephemeral) && has(v.ephemeral.volumeClaimTemplate))"
    ".map(v, v.ephemeral.volumeClaimTemplate))"
)
# Where claims named their class before they had a field for it; the cluster still reads it first.
_OLD_CLASS = "[?'annotations'][?'volume.beta.kubernetes.io/storage-class']"
_NEW_VOLUMES = (
    "claims get new volumes; leave volumeName, selector and dataSource out, and name a storage class that makes volumes"
    " or none"
)
# Every node selector term, and every term about other pods, whether required or preferred.
_AFFINITIES = {
    "terms": (
        f"variables.spec.?affinity.?nodeAffinity.?{_REQUIRED}.?nodeSelectorTerms.orValue([])"
        f" + variables.spec.?affinity.?nodeAffinity.?{_PREFERRED}.orValue([]).map(t, t.preference)"
    ),
    "neighbours": " + ".join(
        f"variables.spec.?affinity.?{kind}.?{_REQUIRED}.orValue([])"
        f" + variables.spec.?affinity.?{kind}.?{_PREFERRED}.orValue([]).map(t, t.podAffinityTerm)"
        for kind in ("podAffinity", "podAntiAffinity")
    ),
}


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
    kind, runs = "!variables.deploys || object.kind != ", f"!variables.deploys || !(object.kind in {_WORKLOADS})"
    yield from policy(
        city,
        NAME,
        [
            resources("apps", "deployments", "statefulsets"),
            resources("batch", "jobs", "cronjobs"),
            resources("", "services", "secrets", "persistentvolumeclaims"),
        ],
        [
            Validation(
                f"{runs} || (variables.spec.?priorityClassName.orValue('') == {quote(priority)}"
                " && !has(variables.spec.priority))",
                f"a deployer's pods have the priority of the tenants' apps; set priorityClassName: {priority}",
            ),
            Validation(
                f"{runs} || variables.spec.?nodeName.orValue('') == ''",
                "a deployer's pods are placed by the scheduler; leave nodeName out",
            ),
            Validation(
                f"{runs} || (size(variables.spec.?nodeSelector.orValue({{}})) == 0"
                " && variables.terms.all(t, size(t.?matchFields.orValue([])) == 0"
                f" && t.?matchExpressions.orValue([]).all(e, e.key in {json.dumps(_node_labels(city))})))",
                "a deployer's pods choose nodes by what the city's pools have in common, and no node by name; leave"
                " nodeSelector and matchFields out, and state the placement in the city's files",
            ),
            Validation(
                f"{runs} || variables.spec.?tolerations.orValue([]).all(t,"
                f" t.?key.orValue('') == {quote(naming.SIMULATED_LABEL)})",
                "a deployer's pods stay off nodes that are kept free for others; leave tolerations out",
            ),
            Validation(
                f"{runs} || variables.neighbours.all(t, !has(t.namespaceSelector)"
                " && size(t.?namespaces.orValue([])) == 0)",
                "a deployer's pods neither follow nor keep away those of other namespaces; leave namespaces and"
                " namespaceSelector out of their affinities",
            ),
            _pull_secrets(runs),
            Validation(
                f"{kind}'Service' || (dyn(object).spec.?type.orValue('ClusterIP') == 'ClusterIP'"
                " && size(dyn(object).spec.?externalIPs.orValue([])) == 0)",
                "a deployer's Services are reached within the cluster alone; give the app a route in the city's files",
            ),
            # Controllers, which deploy nothing, make a StatefulSet's claims and those of ephemeral volumes.
            Validation(
                f"{runs} || {_OWN_CLAIMS}.all(c, {_new_volume('c.spec', 'c.?metadata')})",
                f"a workload's {_NEW_VOLUMES}",
            ),
            Validation(
                # The cluster writes the volume's name into a claim when it binds it.
                f"{kind}'PersistentVolumeClaim' || (request.operation == 'CREATE' ?"
                f" {_new_volume('dyn(object).spec', 'dyn(object).metadata')}"
                " : dyn(object).spec.?volumeName.orValue('') == dyn(oldObject).spec.?volumeName.orValue('')"
                f" && dyn(object).metadata{_OLD_CLASS} == dyn(oldObject).metadata{_OLD_CLASS})",
                f"a deployer's {_NEW_VOLUMES}",
            ),
            Validation(
                f"{kind}'Secret' || dyn(object).?type.orValue('Opaque') != 'kubernetes.io/service-account-token'",
                "a deployer makes no Secret that fetches an account's token",
            ),
            Validation(
                f"{kind}'Secret' || !object.metadata.name.startsWith({quote(PULL_SECRET_PREFIX)})",
                f"Secrets named {PULL_SECRET_PREFIX}… are the credentials of image registries, which the city makes",
            ),
        ],
        more_variables={
            "spec": VARIABLES["spec"],
            "containers": VARIABLES["containers"],
            "deploys": deploys(city),
            **_AFFINITIES,
        },
        waivable=False,
    )


def _new_volume(spec: str, metadata: str) -> str:
    """An expression: a claim with this spec and metadata is given a volume that nobody had before.

    A storage class without a name makes no volumes: such a claim takes what lies there.
    """
    absent = " && ".join(f"!has({spec}.{name})" for name in ("volumeName", "selector", "dataSource", "dataSourceRef"))
    return f"{absent} && {spec}.?storageClassName.orValue('given') != '' && !{metadata}{_OLD_CLASS}.hasValue()"


def _pull_secrets(runs: str) -> Validation:
    """Credentials of registries are used by kubelets, and read by no pod.

    It holds in a city without any, too: a pod that names one before it is there reads it as soon as it is.
    """
    ours = f".startsWith({quote(PULL_SECRET_PREFIX)})"
    # Of each kind of volume that names a Secret; most kinds are refused by `privileged-pods`, which can be waived.
    of_volumes = ["v.?secret.?secretName", "v.?azureFile.?secretName", "v.?csi.?nodePublishSecretRef.?name"]
    of_volumes += [f"v.?{kind}.?secretRef.?name" for kind in _VOLUMES_WITH_SECRETS]
    volume = " && ".join(f"!{name}.orValue(''){ours}" for name in of_volumes)
    return Validation(
        f"{runs} || (variables.spec.?volumes.orValue([]).all(v, {volume}"
        f" && v.?projected.?sources.orValue([]).all(s, !s.?secret.?name.orValue(''){ours}))"
        f" && variables.containers.all(c, c.?env.orValue([]).all(e,"
        f" !e.?valueFrom.?secretKeyRef.?name.orValue(''){ours})"
        f" && c.?envFrom.orValue([]).all(e, !e.?secretRef.?name.orValue(''){ours})))",
        "the credentials of image registries are the city's; a deployer's pods read none of them",
    )


def _node_labels(city: City) -> list[str]:
    """The labels by which the city's stacks choose nodes (`stacks.node_affinity`)."""
    of_pools = {key for cloud in city.clouds for pool in cloud.pools for key in pool.labels}
    return sorted({"kubernetes.io/arch", naming.POOL_LABEL} | of_pools)


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
