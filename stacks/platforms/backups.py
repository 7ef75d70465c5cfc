"""Backups of capabilities: the CronJob beside each, the Jobs of the commands, and the scripts that they run.

A pod has the capability's own image, into which an init container copies restic, a static program. restic runs the
type's script itself and makes a snapshot only if the script ends with 0. So no stream is joined by hand, and a dump
that was cut is never a snapshot, whatever was killed.

What a Job tells is in lines of its log that begin with `wecity`: `saved ACCOUNT OWNER SNAPSHOT BYTES`, `failed ACCOUNT
OWNER`, `problem WHAT`, `occupied`, `restored ACCOUNT`, `snapshots JSON`.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from stacks import network_policies, pods, pulls, references
from stacks.objects import Manifest, secret_value
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

Task = Literal["backup", "list", "verify", "restore"]
# Seconds: a backup or a restore that is not done by then is given up; a Job whose caller is gone stays so long.
DEADLINE, KEPT = 6 * 3600, 600
# Seconds within which the target has to answer.
_PATIENCE = 45
# The exit code of a restore script that has found data where it was not to replace any.
OCCUPIED = 3
_TOOLS = "/tools"
_KEYS = "/target"
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
    one the whole backup is read once before, and the script reads it a second time.
    """

    dump: str
    restore: str
    atomic: bool


def scripts_of(kind: CapabilityType) -> BackupScripts | None:
    """The scripts of a type; `None` if it has none. Raises `ConfigurationError` if they cannot be loaded."""
    found: BackupScripts | None = references.load(kind.backup, kind.name) if kind.backup else None
    return found


# `reach` sets `code` to 0 for a repository that opens, to 10 if there is none.
_BEGIN = f"""set -u
umask 077
mkdir -p /tmp/wecity
export HOME=/tmp
restic="{_TOOLS}/restic --no-cache --retry-lock 5m --cacert ${{AUTHORITY_OF_TARGET:-{_TOOLS}/ca-certificates.crt}}"
problem() {{
  [ ! -s /tmp/wecity/error ] || cat /tmp/wecity/error
  echo "wecity problem $1"
  exit 1
}}
reach() {{
  code=0
  timeout {_PATIENCE} $restic --no-lock cat config > /tmp/wecity/config 2> /tmp/wecity/error || code=$?
  case $code in
    0 | 10) : > /tmp/wecity/error ;;
    12) problem "the password does not open the backups" ;;
    124) problem "the target has not answered within {_PATIENCE} s" ;;
    *) problem "the target cannot be read" ;;
  esac
}}
"""

# A first backup makes the repository. Should two be the first at once, one of them fails, and tries again.
_BACKUP = f"""{_BEGIN}
reach
if [ "$code" = 10 ]; then
  $restic init > /tmp/wecity/config 2> /tmp/wecity/error || problem "the target takes no repository"
fi
# Of those who were killed.
$restic unlock > /tmp/wecity/unlocked 2>&1 || :
/bin/sh -c "$INVENTORY" > /tmp/wecity/accounts || problem "the accounts could not be listed"
failed=0
while read -r word account owner size state since; do
  [ "$word" = account ] || continue
  export ACCOUNT="$account" OWNER="$owner"
  if $restic backup --json --quiet --host "$CITY" --tag "$TAGS,account=$account,owner=$owner" \\
    --stdin-filename "/$CAPABILITY/$account" --stdin-from-command -- /bin/sh -c "$DUMP" \\
    > /tmp/wecity/summary 2> /tmp/wecity/error < /dev/null
  then
    told=$(sed -n 's/.*"total_bytes_processed":\\([0-9]*\\).*"snapshot_id":"\\([0-9a-f]*\\)".*/\\2 \\1/p' \\
      /tmp/wecity/summary)
    echo "wecity saved $account $owner $told"
  else
    cat /tmp/wecity/error
    echo "wecity failed $account $owner"
    failed=1
  fi
done < /tmp/wecity/accounts
: > /tmp/wecity/error
[ "$failed" = 0 ] || exit 1
# By number and not by age, so that a clock that jumps makes nothing old.
$restic forget --quiet --prune --host "$CITY" --group-by host,paths --keep-last 1 --keep-daily "$DAILY" \\
  --keep-weekly "$WEEKLY" --keep-monthly "$MONTHLY" > /tmp/wecity/forgotten 2>&1 || {{
  cat /tmp/wecity/forgotten
  echo "wecity note older backups could not be removed"
}}
"""

_LIST = f"""{_BEGIN}
reach
[ "$code" != 10 ] || {{ echo "wecity snapshots []"; exit 0; }}
$restic --no-lock snapshots --json > /tmp/wecity/snapshots 2> /tmp/wecity/error ||
  problem "the backups cannot be listed"
echo "wecity snapshots $(cat /tmp/wecity/snapshots)"
"""

_VERIFY = f"""{_BEGIN}
reach
[ "$code" != 10 ] || problem "there are no backups"
$restic unlock > /tmp/wecity/unlocked 2>&1 || :
$restic check --read-data-subset "$SUBSET" > /tmp/wecity/checked 2> /tmp/wecity/error ||
  problem "the backups are damaged, or were tampered with"
echo "wecity verified"
"""

# What has read the snapshot to its end leaves its exit code; WHOLE waits for it.
_RESTORE = f"""{_BEGIN}
reach
[ "$code" != 10 ] || problem "there are no backups"
dump="$restic --no-lock dump"
damaged="the backup is damaged, or was tampered with: nothing was changed"
if [ "$ATOMIC" = no ]; then
  $dump "$SNAPSHOT" "$SOURCE" 2> /tmp/wecity/error > /dev/null || problem "$damaged"
fi
mkfifo /tmp/wecity/stream
(
  read=0
  $dump "$SNAPSHOT" "$SOURCE" > /tmp/wecity/stream 2> /tmp/wecity/error || read=$?
  echo "$read" > /tmp/wecity/read.new
  mv /tmp/wecity/read.new /tmp/wecity/read
) &
export WHOLE='until [ -f /tmp/wecity/read ]; do sleep 0.1; done; [ "$(cat /tmp/wecity/read)" = 0 ]'
code=0
/bin/sh -c "$RESTORE" < /tmp/wecity/stream || code=$?
[ "$code" != {OCCUPIED} ] || {{ echo "wecity occupied"; exit 1; }}
# A script that stops reading ends the reader with a broken pipe, which is not the backup's fault.
[ "$code" = 0 ] || /bin/sh -c "$WHOLE" || [ "$(cat /tmp/wecity/read)" = 141 ] ||
  grep -q -i 'broken pipe' /tmp/wecity/error || problem "$damaged"
[ "$code" = 0 ] || {{ : > /tmp/wecity/error; problem "the capability has not taken the backup"; }}
echo "wecity restored $ACCOUNT"
"""

_SCRIPTS: Mapping[Task, str] = {"backup": _BACKUP, "list": _LIST, "verify": _VERIFY, "restore": _RESTORE}


def script(task: Task) -> str:
    """The shell script of a task's Job."""
    return _SCRIPTS[task]


def job_name(capability: str, task: Task) -> str:
    """The name of a command's Job. What writes has one name, so that there are not two at once."""
    suffix = f"{task}-{secrets.token_hex(3)}" if task in ("list", "verify") else f"{task}-now"
    return naming.fit(f"{capability}-{suffix}", 52)


def writers(capability: str) -> str:
    """The label selector of pods that back the capability up or restore it."""
    return f"{naming.BACKS_UP_LABEL}={naming.label_value(capability)},{naming.COMPONENT_LABEL} in (backup,restore)"


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

    `values` are more variables: of `verify` SUBSET, of `restore` SNAPSHOT, SOURCE, ACCOUNT, OWNER and REPLACE;
    RESTIC_REPOSITORY where it is another capability's.
    """
    labels = _labels(city, endpoint, task)
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
            "INVENTORY": provisioner.inventory,
            "DUMP": scripts.dump,
            "TAGS": tags(**said, cloud=cluster.cloud if cluster is not None else "", format=str(FORMAT)),
            "DAILY": str(keep.daily),
            "WEEKLY": str(keep.weekly),
            "MONTHLY": str(keep.monthly),
        }
    elif task == "restore":
        of_task = {"RESTORE": scripts.restore, "ATOMIC": "yes" if scripts.atomic else "no"}
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
    environment = [
        pods.from_secret("ADMIN_PASSWORD", endpoint.admin_secret, "password"),
        pods.from_secret("AWS_ACCESS_KEY_ID", name, "access-key"),
        pods.from_secret("AWS_SECRET_ACCESS_KEY", name, "secret-key"),
        pods.from_secret("RESTIC_PASSWORD", name, "password"),
        *({"name": key, "value": value} for key, value in variables.items()),
    ]
    tools: Manifest = {"name": "tools", "mountPath": _TOOLS}
    authority = {"name": "target", "secret": {"secretName": name, "items": [{"key": "ca.crt", "path": "ca.crt"}]}}
    copy = f"cp /usr/local/bin/restic /etc/ssl/certs/ca-certificates.crt {_TOOLS}/"
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
        "backoffLimit": 2 if not values and task == "backup" else 0,
        "activeDeadlineSeconds": DEADLINE,
        "template": pods.template(labels, spec),
    }
