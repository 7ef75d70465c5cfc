"""End-to-end probes of capabilities: the Job that runs a type's script, in `up` and for `wecityctl status --probe`.

A script is a constant of a capability's folder, named by `CapabilityType.probe`. It runs in the capability's image with
HOST, PORT, ADMIN_PASSWORD if there is an administrator, and what the provisioner's `connecting` gives. It writes, reads
and deletes something of its own, prints one line and ends with 0; or it says on standard error what is wrong and ends
with another code. It leaves nothing behind, and may run at any time and several times at once.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import pulumi

from stacks import pods, pulls, references
from stacks.objects import Manifest
from stacks.platforms.job_pods import job_pod
from stacks.platforms.provisioner import provisioner_of
from stacks.platforms.stateful import provisioning_labels
from wecityctl.inputs import Cluster
from wecityctl.model import naming
from wecityctl.model.catalogue import CapabilityType
from wecityctl.model.city import City
from wecityctl.model.outputs import Endpoint

# Seconds after which a later probe removes what one that was killed has left.
ABANDONED = 600
# Seconds for one attempt, and how many there are in `up` and in `status`: a Service may get its address a moment after
# the pods are ready, while `status` tells what is wrong now.
ATTEMPT, IN_UP, IN_STATUS = 20, 5, 2
# Seconds until the cluster gives a Job up, image pulls included, and until it removes a finished one of `status`.
DEADLINE, KEPT = 300, 600

# For scripts: `now` is in seconds since 1970, and `id` differs for each run.
NAMED = "now=$(date +%s) id=$(cut -c 1-8 /proc/sys/kernel/random/uuid)"

# `$0` is the probe's script. The last attempt is the one that counts.
RUN = f"""attempt=1
until timeout --kill-after=5 {ATTEMPT} /bin/sh -c "$0"; do
  [ $? != 124 ] || echo "it has not ended within {ATTEMPT} s" >&2
  [ "$attempt" -lt "$ATTEMPTS" ] || exit 1
  attempt=$((attempt + 1))
  sleep 1
done
"""


@dataclass(frozen=True)
class Probed:
    """What a probe is run against: an instance of `type` at `endpoint`, and whether it speaks TLS."""

    type: CapabilityType
    endpoint: Endpoint
    is_tls: bool


def script_of(kind: CapabilityType) -> str:
    """The script of a type's probe; empty if it has none."""
    return str(references.load(kind.probe, kind.name)) if kind.probe else ""


def _labels(city: City, endpoint: Endpoint) -> dict[str, str]:
    """The labels of a probe's Job and pods. Their component keeps the pods out of the capability's Service."""
    labels = naming.standard_labels(
        city.name,
        name=endpoint.capability,
        component="probe",
        part_of=endpoint.pod_labels.get(naming.PART_OF_LABEL, ""),
        instance=city.name,
    )
    return {**labels, naming.PROBES_LABEL: naming.label_value(endpoint.capability)}


def _template(city: City, probed: Probed, cluster: Cluster | None, *, attempts: int) -> Manifest:
    """The pod template of a probe's Job."""
    kind, endpoint = probed.type, probed.endpoint
    provisioner = provisioner_of(kind)
    values = {
        "HOST": endpoint.host,
        "PORT": str(endpoint.port),
        "ATTEMPTS": str(attempts),
        **(provisioner.connecting(probed.is_tls) if provisioner is not None else {}),
    }
    admin = [pods.from_secret("ADMIN_PASSWORD", endpoint.admin_secret, "password")] if endpoint.admin_secret else []
    spec = job_pod(
        "probe",
        endpoint.image,
        ["/bin/sh", "-c", RUN, script_of(kind)],
        [*admin, *({"name": name, "value": value} for name, value in values.items())],
        capability=endpoint.capability,
        is_tls=probed.is_tls,
        cluster=cluster,
        architectures=kind.architectures_in(city.images.architectures),
        restart="Never",
        # What failed is told by the Job's condition too, not by the log alone.
        terminates_with="FallbackToLogsOnError",
        grace_seconds=5,
    )
    return pods.template({**_labels(city, endpoint), **provisioning_labels(endpoint.capability)}, spec)


def job(city: City, probed: Probed, cluster: Cluster | None, workloads: Sequence[Manifest]) -> Manifest:
    """The Job of the capability's stack: it runs again whenever its script or one of the capability's `workloads`
    changes, and when it has failed before."""
    endpoint = probed.endpoint
    made = _template(city, probed, cluster, attempts=IN_UP)
    told = pulumi.Output.from_input([made["spec"], *(item["spec"] for item in workloads)])
    digest = told.apply(lambda specs: pods.content_digest({"specs": json.dumps(specs, sort_keys=True)})[:10])
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": pulumi.Output.unsecret(pulumi.Output.concat(_base(endpoint), "-", digest)),
            "namespace": endpoint.namespace,
            "labels": _labels(city, endpoint),
            "annotations": {"pulumi.com/replaceUnready": "true"},
        },
        "spec": {"backoffLimit": 1, "activeDeadlineSeconds": DEADLINE, "template": made},
    }


def logical_name(endpoint: Endpoint) -> str:
    """The name of the stack's Job in URNs, without the digest."""
    return f"{endpoint.namespace}/{_base(endpoint)}"


def transient_job(city: City, probed: Probed, cluster: Cluster) -> Manifest:
    """The Job that `status` runs and removes, with plain values. Each has a name of its own."""
    endpoint = probed.endpoint
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": f"{_base(endpoint)}-{secrets.token_hex(5)}",
            "namespace": endpoint.namespace,
            "labels": _labels(city, endpoint),
        },
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": DEADLINE,
            "ttlSecondsAfterFinished": KEPT,
            "template": _template(city, probed, cluster, attempts=IN_STATUS),
        },
    }
    return pulls.with_pull_secrets(city, job)


def _base(endpoint: Endpoint) -> str:
    return naming.fit(f"{endpoint.capability}-probe", 52)
