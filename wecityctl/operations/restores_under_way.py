"""Finds restores that go on after the command that began them was ended: their Jobs are the clusters' own.

One that the command had no time to let begin is removed, with the notice that stops backups meanwhile.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from wecityctl.engine.cluster.account_jobs import has_ended, remove_unbegun
from wecityctl.engine.cluster.query import ask
from wecityctl.engine.state.engine_lock import LockedError
from wecityctl.inputs import Clusters
from wecityctl.model.city import City
from wecityctl.model.naming import BACKS_UP_LABEL, CITY_LABEL, COMPONENT_LABEL

if TYPE_CHECKING:
    from wecityctl.kube.client import KubeClient
    from wecityctl.kube.resource import Object


def require_no_restore(city: City, clusters: Clusters) -> None:
    """Raise `LockedError` while a Job restores data of the city on a cluster: an `up` would change what it restores.

    Whoever may not list Jobs of the platforms changes nothing there, and is not stopped. Raises the Kubernetes client's
    errors.
    """
    from wecityctl.kube.errors import Forbidden

    if not city.compliance.backup.is_taken:
        return
    for cloud, cluster in sorted(clusters.found.items()):
        if cluster.simulated:
            continue
        with suppress(Forbidden):
            for job in ask(cluster, lambda client: _restores(client, city.name)):
                namespace, name = job["metadata"]["namespace"], job["metadata"]["name"]
                raise LockedError(
                    f"a restore goes on: job {namespace}/{name} on {cloud}",
                    details="the command that began it was ended, and the job goes on by itself",
                    resolution="run it again when the job has ended; or end the job (kubectl delete job "
                    f"-n {namespace} {name}), and restore again: what it was restoring may then be incomplete",
                )


async def _restores(client: KubeClient, city: str) -> list[Object]:
    served = await client.resource("batch/v1", "Job")
    selector = f"{BACKS_UP_LABEL},{COMPONENT_LABEL}=restore,{CITY_LABEL}={city}"
    found: list[Any] = await client.list(served, label_selector=selector)
    return [job for job in found if not has_ended(job) and not await remove_unbegun(client, job)]
