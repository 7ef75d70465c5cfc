"""The objects of a highly available PostgreSQL: a workload for each member, and what the members agree in.

Each member is a StatefulSet of one pod with a volume of its own, so that what holds for one server's volume holds for
each of theirs. The first one has the names of a single server: it goes on with that one's data.
"""

from __future__ import annotations

from collections.abc import Iterator

import pulumi

from stacks import network_policies, observers, pods
from stacks.admin_rbac import RBAC
from stacks.base.kubernetes import priority_class
from stacks.objects import Manifest
from stacks.platforms import stateful, tls
from stacks.platforms.application.postgresql import guard, patroni
from stacks.platforms.application.postgresql.server import DATA, USER
from stacks.platforms.component import CapabilityScope
from wecityctl.model import naming
from wecityctl.model.members import claim, count_of, service, workload

# The name of the generated password with which members copy data and talk to each other.
PASSWORD = "members"  # noqa: S105 - a name


def image(context: CapabilityScope) -> str:
    """The name of the members' recipe."""
    assert context.type.members is not None
    return context.type.members.images[0]


def secret(context: CapabilityScope, password: pulumi.Output[str]) -> Manifest:
    """The Secret with the members' password."""
    return pods.secret(context.namespace, _secret_name(context), {"password": password})


def notes(context: CapabilityScope) -> list[Manifest]:
    """The ConfigMaps in whose annotations Patroni keeps who is the primary, who may become it, and the configuration.

    They are made here, so that the members need no right to make any.
    """
    name, namespace = context.capability.name, context.namespace
    found = [pods.config_map(namespace, f"{name}-{what}", {}) for what in _NOTES]
    for item in found:
        item["metadata"]["labels"] = context.selector
        del item["data"]
    found[0]["metadata"]["annotations"] = {"config": patroni.shared_configuration(context)}
    return found


_NOTES = ("config", "leader", "sync", "failover")


def objects(context: CapabilityScope) -> Iterator[Manifest]:
    """Yield what the members need before they start."""
    name, namespace = context.capability.name, context.namespace
    account = pods.service_account(namespace, _account(context))
    role = {"name": _account(context), "namespace": namespace}
    pod_names = [patroni.member(context, index) for index in range(count_of(context.capability))]
    yield account
    yield {
        "apiVersion": f"{RBAC}/v1",
        "kind": "Role",
        "metadata": role,
        "rules": [
            # Lists cannot be confined to names.
            {"apiGroups": [""], "resources": ["pods", "configmaps"], "verbs": ["list", "watch"]},
            {"apiGroups": [""], "resources": ["pods"], "resourceNames": pod_names, "verbs": ["get", "patch"]},
            {
                "apiGroups": [""],
                "resources": ["configmaps"],
                "resourceNames": [f"{name}-{what}" for what in _NOTES],
                "verbs": ["get", "patch"],
            },
        ],
    }
    yield {
        "apiVersion": f"{RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": role,
        "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": _account(context)},
        "subjects": [{"kind": "ServiceAccount", "name": _account(context), "namespace": namespace}],
    }
    yield observers.to_api_servers(context.scope.inputs, context.capability, context.selector)
    peers, ports = {"podSelector": {"matchLabels": context.selector}}, [context.type.port, patroni.PORT]
    yield network_policies.policy(
        namespace,
        naming.fit(f"{name}-members"),
        context.selector,
        ingress=[network_policies.from_peer(peers, ports)],
        egress=[network_policies.to_peer(peers, ports)],
    )
    # Members that are not ready have names too: they are asked how far they are.
    yield pods.service(
        namespace,
        service(name),
        context.selector,
        {**context.ports, "members": patroni.PORT},
        clusterIP="None",
        publishNotReadyAddresses=True,
    )
    yield pods.disruption_budget(namespace, name, context.selector)


def stateful_set(context: CapabilityScope, image: str, admin: str, index: int, content: pulumi.Output[str]) -> Manifest:
    """The StatefulSet of one member; `content` is a digest with which its pod starts again."""
    scope, name = context.scope, context.capability.name
    reached: Manifest = {"path": "/liveness", "port": "members", "scheme": "HTTPS"}
    server = pods.container(
        "postgresql",
        image,
        command=["/bin/sh", "-c", patroni.start(context)],
        env=patroni.environment(context, admin, _secret_name(context), index),
        ports={**context.ports, "members": patroni.PORT},
        mounts=[{"name": "data", "mountPath": DATA}, tls.MOUNT],
        requests=stateful.server_requests(context),
        # One that has lost the API server is no primary any more and is not ready, so that clients do not reach it.
        readiness={
            "httpGet": {**reached, "path": f"/readiness?lag={patroni.LAG}"},
            "periodSeconds": 2,
            "timeoutSeconds": 3,
            "failureThreshold": 3,
        },
        liveness={"httpGet": reached, "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 6},
        startup={"httpGet": reached, "periodSeconds": 1, "timeoutSeconds": 3, "failureThreshold": 120},
    )
    keeper = pods.container(
        "guard",
        image,
        command=stateful.guard_command(guard.MEMBER_SCRIPT),
        env=[
            pods.from_secret("PGPASSWORD", admin, "password"),
            {"name": "PGPORT", "value": str(context.type.port)},
        ],
        requests=stateful.GUARD_REQUESTS,
    )
    spec = pods.pod(
        [server, keeper],
        cluster=scope.inputs.cluster,
        service_account=_account(context),
        token=True,
        volumes=[
            {"name": "data", "persistentVolumeClaim": {"claimName": claim(name, index)}},
            tls.volume(context),
        ],
        user=USER,
        priority_class=priority_class(scope.inputs.city.name, "platform"),
        affinity={**(context.affinity or {}), "podAntiAffinity": _apart(context)},
        grace_seconds=60,
    )
    own = {**context.selector, naming.MEMBER_LABEL: str(index)}
    return stateful.stateful_set(
        context,
        pods.template({**scope.labels, **own}, spec, content),
        name=workload(name, index),
        service=service(name),
        selector=own,
    )


def _apart(context: CapabilityScope) -> Manifest:
    """Prefer nodes of other data centres, and other nodes, to those of other members."""
    return {
        "preferredDuringSchedulingIgnoredDuringExecution": [
            {
                "weight": 50,
                "podAffinityTerm": {"labelSelector": {"matchLabels": context.selector}, "topologyKey": key},
            }
            for key in ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
        ]
    }


def _account(context: CapabilityScope) -> str:
    return naming.fit(f"{context.capability.name}-members")


def _secret_name(context: CapabilityScope) -> str:
    return naming.fit(f"{context.capability.name}-members")
