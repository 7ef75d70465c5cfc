"""The Jobs that lock, delete and list accounts of a capability that is up: manifests with plain values, no resources.

They are no part of a stack: whoever removes accounts applies one, waits for it and removes it. They run beside the
capability as its provisioning Jobs do, with the administrator's password from the Secret there.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection
from typing import Literal

from stacks import pods, pulls
from stacks.objects import Manifest
from stacks.platforms.job_pods import job_pod
from stacks.platforms.provisioner import provisioner_of
from stacks.platforms.stateful import provisioning_labels
from wecityctl.errors import DeploymentError
from wecityctl.inputs import Cluster
from wecityctl.model import naming
from wecityctl.model.catalogue import CapabilityType
from wecityctl.model.city import City
from wecityctl.model.outputs import Endpoint

Task = Literal["deprovision", "delete", "inventory"]
_WORD = re.compile(r"[A-Za-z0-9._/-]+")
# Seconds: a Job beyond its deadline is given up by the cluster; what is done is removed should nobody do it before.
DEADLINE, KEPT = 240, 600


def script_of(kind: CapabilityType, task: Task) -> str:
    """The capability's script for a task; empty for a capability that makes no accounts, or has no such script."""
    found = provisioner_of(kind)
    return str(getattr(found, task)) if found is not None else ""


def account_job(
    city: City,
    kind: CapabilityType,
    cluster: Cluster,
    endpoint: Endpoint,
    task: Task,
    accounts: Collection[tuple[str, str]] = (),
    *,
    is_tls: bool,
) -> Manifest:
    """The Job for `task` at `endpoint`. `accounts` are names and owners, for all tasks but `inventory`. Raises
    `DeploymentError` for one that would not be a line of two words to the script.

    What changes something has one name, so that one that an earlier run has left is found; whoever runs it has locked
    the platform's stack. Lists are made by anybody at any time, each by a Job of its own.
    """
    found = provisioner_of(kind)
    assert found is not None
    for word in (word for pair in accounts for word in pair):
        if not _WORD.fullmatch(word):
            raise DeploymentError(f"{word!r:.200} is no name or owner of an account in {endpoint.capability}")
    values = {
        "HOST": endpoint.host,
        "PORT": str(endpoint.port),
        "ACCOUNTS": "\n".join(f"{account} {owner}" for account, owner in accounts),
        **found.connecting(is_tls),
    }
    environment = [
        pods.from_secret("ADMIN_PASSWORD", endpoint.admin_secret, "password"),
        *({"name": name, "value": value} for name, value in values.items()),
    ]
    suffix = f"inventory-{secrets.token_hex(3)}" if task == "inventory" else "accounts"
    name = naming.fit(f"{endpoint.capability}-{suffix}", 52)
    # The capability's name, as exemptions from rules are by it; the component keeps the pod out of its Service.
    labels = naming.standard_labels(
        city.name,
        name=endpoint.capability,
        component="accounts",
        part_of=endpoint.pod_labels.get(naming.PART_OF_LABEL, ""),
        instance=city.name,
    )
    spec = job_pod(
        "accounts",
        endpoint.image,
        ["/bin/sh", "-c", script_of(kind, task)],
        environment,
        capability=endpoint.capability,
        is_tls=is_tls,
        cluster=cluster,
        architectures=kind.architectures_in(city.images.architectures),
        restart="Never",
    )
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": endpoint.namespace, "labels": labels},
        "spec": {
            "backoffLimit": 3,
            "activeDeadlineSeconds": DEADLINE,
            "ttlSecondsAfterFinished": KEPT,
            "template": pods.template({**labels, **provisioning_labels(endpoint.capability)}, spec),
        },
    }
    return pulls.with_pull_secrets(city, job)
