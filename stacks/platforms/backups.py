"""Backups of capabilities: the CronJob beside each, the Jobs of the commands, and what a type says of its data.

The scripts that the Jobs run are in `backup_scripts`.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stacks import network_policies, pods, pulls, references
from stacks.objects import Manifest, secret_value
from stacks.platforms import rotation
from stacks.platforms.backup_scripts import OCCUPIED, PAGE, TOOLS, Task, script
from stacks.platforms.job_pods import job_pod
from stacks.platforms.provisioner import provisioner_of
from stacks.platforms.stateful import provisioning_labels
from wecityctl.inputs import Cluster, StackInputs
from wecityctl.model import naming
from wecityctl.model.backups import FORMAT, cron_job_name, repository, tags
from wecityctl.model.catalogue import CapabilityType
from wecityctl.model.city import Backup, City
from wecityctl.model.outputs import Endpoint

if TYPE_CHECKING:
    from stacks.platforms.component import CapabilityScope

__all__ = [
    "IN_ONE_PIECE",
    "OCCUPIED",
    "BackupScripts",
    "Task",
    "job",
    "job_name",
    "notice",
    "objects",
    "script",
    "scripts_of",
    "writers",
]

# Seconds: a backup or a restore that is not done by then is given up; a Job whose caller is gone stays so long.
DEADLINE, KEPT = 6 * 3600, 600
_KEYS = "/target"
# The `inventory` of a type that is backed up in one piece.
IN_ONE_PIECE = "echo 'account whole - 0 open -'\n"
# restic holds the index of the repository, and the pieces of files that it sends.
_REQUESTS: Mapping[str, str] = {"cpu": "50m", "memory": "256Mi"}
_LIMITS: Mapping[str, str] = {"memory": "1Gi"}


@dataclass(frozen=True)
class BackupScripts:
    """How a type's data is backed up and restored, account by account, as its provisioner's `inventory` lists them.

    Both scripts run in the type's image as its administrator, with HOST, PORT, ADMIN_PASSWORD and what the
    provisioner's `connecting` gives, and with ACCOUNT and OWNER, as `Provisioner` explains them. `dump` writes all that
    the account has to standard output and ends with 0, or with another code if that is not all of it. `restore` reads
    the same from standard input and makes it what the account has. The account keeps the credentials that it has now;
    if there is none yet, it is made without any, and provisioning gives it some. With REPLACE=no, an account that has
    data is left alone and the script ends with `OCCUPIED`.

    What is read may turn out to be damaged at its end. A script that is `atomic` writes beside what the account has,
    then runs the script in the variable WHOLE, and replaces the account's data only if that ends with 0. For any other
    one the whole backup is read once before, and the script reads it a second time. Before it changes anything it
    writes into the file in the variable CHANGED, as one line, what it is about to do: users are told that if it fails.

    A type whose data cannot be taken account by account has an `inventory` of its own, which prints what there is
    instead, in the same form, with `-` for the owner: that is restored by the capability's name alone. The `dump` of a
    type whose server has an account for it gets the password in the entry `dumped_by` of the administrator's Secret
    instead of the administrator's. The `restore` of a type with a `rotation` has PREVIOUS_PASSWORDS, as that explains.

    A backup of a type that is `with_accounts` has accounts with their credentials, too; any other leaves them as they
    are. The `restore` of a type that `adds` keeps what there is and adds what is missing; with REPLACE=no it does so
    only where there is nothing of the time of the backup or before.
    """

    dump: str
    restore: str
    atomic: bool
    inventory: str = ""
    dumped_by: str = "password"
    with_accounts: bool = False
    adds: bool = False


def scripts_of(kind: CapabilityType) -> BackupScripts | None:
    """The scripts of a type; `None` if it has none. Raises `ConfigurationError` if they cannot be loaded."""
    found: BackupScripts | None = references.load(kind.backup, kind.name) if kind.backup else None
    return found


def job_name(capability: str, task: Task) -> str:
    """The name of a command's Job. What writes has one name, so that there are not two at once."""
    suffix = f"{task}-{secrets.token_hex(3)}" if task in ("list", "verify") else f"{task}-now"
    return naming.fit(f"{capability}-{suffix}", 52)


def writers(capability: str) -> str:
    """The label selector of Jobs and pods that back the capability up or restore it.

    A CronJob's Jobs have the labels of their pods, as those of any Job that states none.
    """
    return f"{naming.BACKS_UP_LABEL}={naming.label_value(capability)},{naming.COMPONENT_LABEL} in (backup,restore)"


def notice(city: City, endpoint: Endpoint) -> Manifest:
    """The ConfigMap that is there while data is restored into a capability. Backups that begin meanwhile fail."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": _notice_name(endpoint.capability),
            "namespace": endpoint.namespace,
            "labels": _labels(city, endpoint, "restore"),
        },
        "data": {"job": job_name(endpoint.capability, "restore")},
    }


def _notice_name(capability: str) -> str:
    return naming.fit(f"{capability}-restoring", 52)


def _selector(capability: str) -> dict[str, str]:
    return {naming.BACKS_UP_LABEL: naming.label_value(capability)}


def objects(context: CapabilityScope, endpoint: Endpoint, image: str) -> list[Manifest]:
    """The Secret, network policy and CronJob for the backups of a capability."""
    inputs, name = context.scope.inputs, cron_job_name(endpoint.capability)
    backup = inputs.city.compliance.backup
    _, port = backup.host_and_port
    leaves = {
        "to": network_policies.outside(backup.addresses),
        "ports": [{"protocol": "TCP", "port": port}],
    }
    return [
        pods.secret(endpoint.namespace, name, _target(inputs, backup)),
        network_policies.policy(endpoint.namespace, name, _selector(endpoint.capability), egress=[leaves]),
        {
            "apiVersion": "batch/v1",
            "kind": "CronJob",
            "metadata": {"name": name, "namespace": endpoint.namespace},
            "spec": {
                "schedule": backup.schedule,
                "timeZone": backup.time_zone,
                "concurrencyPolicy": "Forbid",
                "startingDeadlineSeconds": 3600,
                "successfulJobsHistoryLimit": 1,
                "failedJobsHistoryLimit": 1,
                "jobTemplate": {
                    "spec": _job_spec(
                        inputs.city, context.type, inputs.cluster, endpoint, image, "backup", {}, is_tls=context.tls
                    )
                },
            },
        },
    ]


def _target(inputs: StackInputs, backup: Backup) -> dict[str, object]:
    """The entries of the Secret with which Jobs reach the target."""
    keys = secret_value(inputs, naming.backup_key(backup.credentials))
    values: dict[str, object] = {
        "access-key": keys.apply(lambda both: both.partition(":")[0]),
        "secret-key": keys.apply(lambda both: both.partition(":")[2]),
        "password": secret_value(inputs, naming.backup_key(backup.password)),
    }
    if backup.authority:
        values["ca.crt"] = secret_value(inputs, naming.backup_key(backup.authority))
    return values


def job(
    city: City,
    kind: CapabilityType,
    cluster: Cluster,
    endpoint: Endpoint,
    image: str,
    task: Task,
    values: Mapping[str, str],
    *,
    is_tls: bool,
) -> Manifest:
    """The Job of a command for a capability that is up, with plain values. `image` is that of `BACKUP_IMAGE`.

    `values` are more variables: MARK, of `list` FROM, of `verify` SUBSET, of `restore` SNAPSHOT, SOURCE, ACCOUNT, OWNER
    and REPLACE; RESTIC_REPOSITORY where it is another capability's.
    """
    labels = {**_labels(city, endpoint, task), **_selector(endpoint.capability)}
    manifest = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": job_name(endpoint.capability, task), "namespace": endpoint.namespace, "labels": labels},
        "spec": {
            **_job_spec(city, kind, cluster, endpoint, image, task, values, is_tls=is_tls),
            "ttlSecondsAfterFinished": KEPT,
        },
    }
    return pulls.with_pull_secrets(city, manifest)


def _labels(city: City, endpoint: Endpoint, task: Task) -> dict[str, str]:
    """The labels of backup Jobs and their pods. Their component keeps the pods out of the capability's Service."""
    component = "backup-look" if task in ("list", "verify") else task
    return naming.standard_labels(
        city.name,
        name=endpoint.capability,
        component=component,
        part_of=endpoint.pod_labels.get(naming.PART_OF_LABEL, ""),
        instance=city.name,
    )


def _job_spec(
    city: City,
    kind: CapabilityType,
    cluster: Cluster | None,
    endpoint: Endpoint,
    image: str,
    task: Task,
    values: Mapping[str, str],
    *,
    is_tls: bool,
) -> Manifest:
    scripts, provisioner, backup = scripts_of(kind), provisioner_of(kind), city.compliance.backup
    assert scripts is not None and provisioner is not None
    name, keep = cron_job_name(endpoint.capability), backup.keep
    said = {"city": city.name, "capability": endpoint.capability, "type": kind.name, "version": kind.versions[0]}
    of_task: dict[str, str] = {}
    if task == "backup":
        of_task = {
            "INVENTORY": scripts.inventory or provisioner.inventory,
            "DUMP": scripts.dump,
            "TAGS": tags(**said, cloud=cluster.cloud if cluster is not None else "", format=str(FORMAT)),
            "DAILY": str(keep.daily),
            "WEEKLY": str(keep.weekly),
            "MONTHLY": str(keep.monthly),
        }
    elif task == "restore":
        of_task = {"RESTORE": scripts.restore, "ATOMIC": "yes" if scripts.atomic else "no"}
    elif task == "list":
        of_task = {"FROM": "0", "PAGE": str(PAGE)}
    variables = {
        "HOST": endpoint.host,
        "PORT": str(endpoint.port),
        "CITY": city.name,
        "CAPABILITY": endpoint.capability,
        "RESTIC_REPOSITORY": repository(city, endpoint.capability),
        **({"AUTHORITY_OF_TARGET": f"{_KEYS}/ca.crt"} if backup.authority else {}),
        **provisioner.connecting(is_tls),
        **of_task,
        **values,
    }
    entry = scripts.dumped_by if task == "backup" else "password"
    replaced = kind.rotation and task == "restore"
    environment = [
        # What only looks needs no server.
        *([pods.from_secret("ADMIN_PASSWORD", endpoint.admin_secret, entry)] if task in ("backup", "restore") else ()),
        *([pods.from_secret("PREVIOUS_PASSWORDS", *rotation.previous(endpoint))] if replaced else ()),
        *([_from_notice(endpoint.capability)] if task == "backup" else ()),
        pods.from_secret("AWS_ACCESS_KEY_ID", name, "access-key"),
        pods.from_secret("AWS_SECRET_ACCESS_KEY", name, "secret-key"),
        pods.from_secret("RESTIC_PASSWORD", name, "password"),
        *({"name": key, "value": value} for key, value in variables.items()),
    ]
    tools: Manifest = {"name": "tools", "mountPath": TOOLS}
    authority = {"name": "target", "secret": {"secretName": name, "items": [{"key": "ca.crt", "path": "ca.crt"}]}}
    copy = f"cp /usr/local/bin/restic /etc/ssl/certs/ca-certificates.crt {TOOLS}/"
    spec = job_pod(
        "backup",
        endpoint.image,
        ["/bin/sh", "-c", script(task)],
        environment,
        capability=endpoint.capability,
        is_tls=is_tls,
        cluster=cluster,
        architectures=kind.architectures_in(city.images.architectures),
        restart="Never",
        grace_seconds=5,
        requests=_REQUESTS,
        limits=_LIMITS,
        init=[pods.container("tools", image, command=["/bin/sh", "-c", copy], mounts=[tools], requests=_REQUESTS)],
        mounts=[
            {**tools, "readOnly": True},
            *([{"name": "target", "mountPath": _KEYS, "readOnly": True}] if backup.authority else []),
        ],
        volumes=[
            {"name": "tools", "emptyDir": {"sizeLimit": "128Mi"}},
            *([authority] if backup.authority else []),
        ],
    )
    labels = {
        **_labels(city, endpoint, task),
        **provisioning_labels(endpoint.capability),
        **_selector(endpoint.capability),
    }
    return {
        # A scheduled backup that fails is tried again; a command tells at once what is wrong.
        "backoffLimit": 0 if values or task != "backup" else 2,
        "activeDeadlineSeconds": DEADLINE,
        "template": pods.template(labels, spec),
    }


def _from_notice(capability: str) -> Manifest:
    """The variable RESTORING: the Job that restores into the capability, if there is one."""
    key = {"name": _notice_name(capability), "key": "job", "optional": True}
    return {"name": "RESTORING", "valueFrom": {"configMapKeyRef": key}}
