"""Has the accounts of a capability provisioned again: its server is about to have the credentials of an earlier time.

The Jobs that made them are removed, and the next `up`, which finds them gone, makes them again. So this holds whatever
is killed afterwards.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from wecityctl.engine.cluster.account_jobs import remove_job
from wecityctl.engine.cluster.query import ask
from wecityctl.model.naming import BACKS_UP_LABEL, LABEL_PREFIX, label_value

if TYPE_CHECKING:
    from wecityctl.inputs import Cluster
    from wecityctl.kube.client import KubeClient
    from wecityctl.model.outputs import Endpoint


def provision_again(cluster: Cluster, endpoint: Endpoint) -> None:
    """Remove the Jobs that made accounts in the capability at `endpoint`, and wait until their pods are gone.

    Raises the Kubernetes client's errors.
    """

    async def remove(client: KubeClient) -> None:
        found = await client.list(await client.resource("batch/v1", "Job"), endpoint.namespace)
        names = [str(job["metadata"]["name"]) for job in found if _provisions(job, endpoint.capability)]
        await asyncio.gather(*(remove_job(client, name, endpoint.namespace) for name in names))

    ask(cluster, remove)


def _provisions(job: Mapping[str, Any], capability: str) -> bool:
    """Whether a Job makes an account of the capability. Those of backups and restores are told whose it is, too."""
    template = job["spec"]["template"]
    labels = template["metadata"].get("labels") or {}
    variables = {entry["name"] for one in template["spec"]["containers"] for entry in one.get("env") or ()}
    is_of = labels.get(f"{LABEL_PREFIX}/provisions") == label_value(capability)
    return is_of and BACKS_UP_LABEL not in labels and "OWNER" in variables
