"""The Job that changes the administrator's password in a server which keeps it itself (`CapabilityType.rotation`).

A script is a constant of a capability's folder. It runs in the capability's image with HOST, PORT, ADMIN_PASSWORD, what
the provisioner's `connecting` gives, and PREVIOUS_PASSWORDS: a line for each password that `secrets rotate` has
replaced, the latest first. The server has one of all these. Afterwards it has ADMIN_PASSWORD, and no session of
before. The script may be run again at any time, also after it was killed at any step.
"""

from __future__ import annotations

import json

import pulumi

from stacks import pods, references
from stacks.objects import Manifest
from stacks.platforms.job_pods import job_pod
from stacks.platforms.provisioner import provisioner_of
from stacks.platforms.stateful import provisioning_labels
from wecityctl.inputs import Cluster
from wecityctl.model import naming
from wecityctl.model.catalogue import CapabilityType
from wecityctl.model.city import City
from wecityctl.model.outputs import Endpoint

# Seconds until the cluster gives the Job up, image pulls included.
DEADLINE = 300


def secret(endpoint: Endpoint, replaced: pulumi.Output[str]) -> Manifest:
    """The Secret with the replaced passwords, which this Job reads, and one that restores what had one of them."""
    name, entry = previous(endpoint)
    return pods.secret(endpoint.namespace, name, {entry: replaced})


def previous(endpoint: Endpoint) -> tuple[str, str]:
    """The name of that Secret and of its entry."""
    return _base(endpoint), "previous"


def job(
    city: City,
    kind: CapabilityType,
    endpoint: Endpoint,
    password: pulumi.Output[str],
    *,
    is_tls: bool,
    cluster: Cluster | None,
) -> Manifest:
    """The Job of the capability's stack. It runs again whenever `password` or its own pod changes, and when it has
    failed before."""
    provisioner = provisioner_of(kind)
    values = {
        "HOST": endpoint.host,
        "PORT": str(endpoint.port),
        **(provisioner.connecting(is_tls) if provisioner is not None else {}),
    }
    spec = job_pod(
        "rotate",
        endpoint.image,
        ["/bin/sh", "-c", str(references.load(kind.rotation, kind.name))],
        [
            pods.from_secret("ADMIN_PASSWORD", endpoint.admin_secret, "password"),
            pods.from_secret("PREVIOUS_PASSWORDS", *previous(endpoint)),
            *({"name": name, "value": value} for name, value in values.items()),
        ],
        capability=endpoint.capability,
        is_tls=is_tls,
        cluster=cluster,
        architectures=kind.architectures_in(city.images.architectures),
        restart="Never",
        terminates_with="FallbackToLogsOnError",
        grace_seconds=5,
    )
    labels = naming.standard_labels(
        city.name,
        name=endpoint.capability,
        component="rotation",
        part_of=endpoint.pod_labels.get(naming.PART_OF_LABEL, ""),
        instance=city.name,
    )
    digest = pulumi.Output.all(spec, password).apply(
        lambda told: pods.content_digest({"spec": json.dumps(told[0], sort_keys=True), "password": told[1]})[:10]
    )
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": pulumi.Output.unsecret(pulumi.Output.concat(_base(endpoint), "-", digest)),
            "namespace": endpoint.namespace,
            "labels": labels,
            "annotations": {"pulumi.com/replaceUnready": "true"},
        },
        "spec": {
            "backoffLimit": 3,
            "activeDeadlineSeconds": DEADLINE,
            "template": pods.template({**labels, **provisioning_labels(endpoint.capability)}, spec),
        },
    }


def logical_name(endpoint: Endpoint) -> str:
    """The name of the Job in URNs, without the digest."""
    return f"{endpoint.namespace}/{_base(endpoint)}"


def _base(endpoint: Endpoint) -> str:
    return naming.fit(f"{endpoint.capability}-rotation", 52)
