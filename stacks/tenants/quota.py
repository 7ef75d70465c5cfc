"""The ResourceQuota and the LimitRange of a tenant's namespace. Pure functions.

They bound what a tenant can take from the others on a cluster: requests and limits, and the number of objects, because
the cluster's addresses of Services and the API server's storage are shared by all.
"""

from __future__ import annotations

from collections.abc import Sequence

from stacks.objects import Manifest
from stacks.tenants import jobs
from wecityctl.model.city import App, Quota
from wecityctl.model.manifests import workloads

# The least that is allowed of a kind of objects.
LEAST = 40
# Revisions that a Deployment keeps unless it says otherwise, and the current one.
_REVISIONS = 11
# GiB on the node's disk (written files, logs, emptyDir volumes) that a container may take unless it states a limit.
DISK_GIBIBYTES = 4


def resource_quota(
    namespace: str, quota: Quota, apps: Sequence[App], *, flows: Sequence[Manifest], several_clouds: bool
) -> Manifest:
    """The ResourceQuota of a namespace.

    Limits of memory count like requests, so that pods cannot use more than the tenant's quota, whatever they request.
    CPU has no such limit, because requests already decide how it is shared. There may be at least twice as many objects
    of each kind as `apps` need, because a renamed app has new ones before the old ones are deleted. The numbers grow by
    doubling, so that the tenant's deployers, who may not write quotas, can add apps.

    Args:
        namespace: The name of the namespace.
        quota: The namespace's share of the tenant's quota.
        apps: The apps that run in the namespace.
        flows: The network policies of the namespace's zone.
        several_clouds: Whether the city has several clouds, so that gateways may reach apps by node ports.
    """
    hard = {
        "requests.cpu": quota.cpu,
        "requests.memory": quota.memory,
        "requests.storage": quota.storage,
        "limits.memory": quota.memory,
        **{name: str(count) for name, count in _counts(apps, len(flows), several_clouds=several_clouds).items()},
    }
    hard["limits.ephemeral-storage"] = f"{int(hard['pods']) * DISK_GIBIBYTES}Gi"
    return {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "quota", "namespace": namespace},
        "spec": {"hard": hard},
    }


def limit_range(namespace: str) -> Manifest:
    """A LimitRange with defaults for containers that state no resources, so that the quota can count them.

    A request of 0 for disk space keeps the scheduler from asking nodes for space that pods rarely use.
    """
    disk = "ephemeral-storage"
    return {
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": {"name": "defaults", "namespace": namespace},
        "spec": {
            "limits": [
                {
                    "type": "Container",
                    "defaultRequest": {"cpu": "50m", "memory": "64Mi", disk: "0"},
                    "default": {"memory": "256Mi", disk: f"{DISK_GIBIBYTES}Gi"},
                }
            ]
        },
    }


def _counts(apps: Sequence[App], flows: int, *, several_clouds: bool) -> dict[str, int]:
    """The most objects of each kind, by the names that a ResourceQuota has for them."""
    parts = [part for app in apps for part in workloads(app)]
    manifests = [item.kind for app in apps for item in app.manifests]
    serving = [part for part in parts if not part.is_job]
    scheduled = [part for part in parts if part.schedule]
    pods = sum(part.autoscale.max if part.autoscale else part.replicas for part in serving)
    # Of a schedule: the runs that are kept, and a running one.
    kept_jobs = (2 * jobs.KEPT + 1) * len(scheduled) + sum(part.is_job and not part.schedule for part in parts)
    deployments = _most(len(serving))
    # A component has a Service and, for a gateway on another cloud, a second one with a node port; so has each provided
    # port for apps on other clouds.
    crossing = sum(len(app.provides) for app in apps) if several_clouds else 0
    services = _most(2 * len(serving) + crossing + manifests.count("Service"))
    return {
        "pods": _most(pods + len(parts)),
        "services": services,
        "services.nodeports": services if several_clouds else 0,
        "services.loadbalancers": 0,
        "configmaps": _most(len(parts) + 1 + manifests.count("ConfigMap")),
        # A component has one of its own and a certificate; each use has one.
        "secrets": _most(2 * len(parts) + sum(len(app.uses) + len(app.app_uses) for app in apps)),
        "persistentvolumeclaims": LEAST,
        "count/serviceaccounts": _most(len(apps) + 1),
        "count/deployments.apps": deployments,
        "count/replicasets.apps": deployments * _REVISIONS,
        "count/jobs.batch": _most(kept_jobs),
        "count/cronjobs.batch": _most(len(scheduled)),
        "count/horizontalpodautoscalers.autoscaling": deployments,
        "count/poddisruptionbudgets.policy": deployments,
        # Two of the namespace, those of its zone; two of an app, and one for each use and for each provided port.
        "count/networkpolicies.networking.k8s.io": _most(
            2 + flows + sum(2 + len(app.uses) + len(app.app_uses) + len(app.provides) for app in apps)
        ),
    }


def _most(needed: int) -> int:
    """The smallest of `LEAST` times 1, 2, 4, ... that is twice `needed` or more."""
    most = LEAST
    while most < 2 * needed:
        most *= 2
    return most
