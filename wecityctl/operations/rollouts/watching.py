"""Looks at the pods of a canary: whether they are ready, and the digest of the image that they run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wecityctl.errors import WecityError
from wecityctl.model import naming
from wecityctl.model.naming import COMPONENT_LABEL, NAME_LABEL

if TYPE_CHECKING:
    from wecityctl.inputs import Cluster
    from wecityctl.kube.client import KubeClient
    from wecityctl.model.city import App


def unready(cluster: Cluster, app: App, component: str) -> str | None:
    """Return why the canary of a component is not ready; empty if it is, `None` if that cannot be found out."""
    from wecityctl.engine.cluster.query import ask
    from wecityctl.kube.errors import NotFound

    name = naming.component_workload(app.name, naming.canary_component(component))
    namespace = naming.tenant_namespace(app.tenant, app.zone)

    async def look(client: KubeClient) -> str:
        try:
            found = await client.get(await client.resource("apps/v1", "Deployment"), name, namespace)
        except NotFound:
            return f"somebody has deleted {namespace}/{name}"
        wanted, ready = found["spec"].get("replicas", 1), (found.get("status") or {}).get("readyReplicas", 0)
        return "" if ready >= wanted else f"{ready} of {wanted} pods are ready"

    try:
        return ask(cluster, look)
    except WecityError:
        return None


def image_digest(cluster: Cluster, app: App, component: str) -> str:
    """Return the digest of the image that a component's pods run, as `sha256:…`; empty if it is not known."""
    return image_digests(cluster, naming.tenant_namespace(app.tenant, app.zone)).get((app.name, component), "")


def image_digests(cluster: Cluster, namespace: str) -> dict[tuple[str, str], str]:
    """Return the digests of the images that the pods of a tenant's apps run in a namespace, by app and component.

    Unknown ones, and all if the cluster does not answer, are left out.
    """
    from wecityctl.engine.cluster.query import ask

    async def look(client: KubeClient) -> dict[tuple[str, str], str]:
        pods = await client.list(await client.resource("v1", "Pod"), namespace, label_selector=COMPONENT_LABEL)
        found: dict[tuple[str, str], str] = {}
        for pod in pods:
            labels, digest = pod["metadata"].get("labels") or {}, _digest(pod)
            if digest and not pod["metadata"].get("deletionTimestamp"):
                found.setdefault((labels.get(NAME_LABEL, ""), labels[COMPONENT_LABEL]), digest)
        return found

    try:
        return ask(cluster, look)
    except WecityError:
        return {}


def _digest(pod: dict[str, Any]) -> str:
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    text = str(statuses[0].get("imageID") or "") if statuses else ""
    _, found, digest = text.rpartition("sha256:")
    return f"sha256:{digest}" if found else ""
