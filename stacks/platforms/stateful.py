"""What capabilities with a volume share: volume claim, volume lock, StatefulSet, guard, provisioning policies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from stacks import network_policies
from stacks.objects import Manifest
from wecityctl.model import naming
from wecityctl.model.quantity import format_bytes, format_cpu, parse_quantity

if TYPE_CHECKING:
    from stacks.platforms.component import CapabilityScope


def provisioning_labels(capability: str) -> dict[str, str]:
    """The labels of the Jobs that may connect to a capability as its administrator."""
    return {f"{naming.LABEL_PREFIX}/provisions": naming.label_value(capability)}


# The exit code of `flock` if another process holds the lock; other codes are errors of the file system.
_HELD = 75


def volume_lock(directory: str) -> str:
    """Shell commands that take the lock of the volume at `directory`, or wait until its holder has ended.

    Every script that opens the data must start with them. Two pods can use a volume at once: ReadWriteOnce restricts it
    to one node, and a force-deleted pod may still run. PostgreSQL's own PID file does not help, because the server is
    process 1 in every pod. The lock is held by descriptor 9, which all processes of the container inherit, so it is
    released when the last of them ends for any reason. If the volume cannot be locked, the script exits with 1.
    """
    file = f"{directory}/.lock"
    return f"""exec 9<>{file}
trap 'exit 143' TERM INT
told=
while :; do
  code=0
  flock --timeout 1 --conflict-exit-code {_HELD} 9 || code=$?
  case $code in
    0) break ;;
    {_HELD}) ;;
    *) echo "the volume cannot be locked with {file} (code $code): its data is not opened" >&2; exit 1 ;;
  esac
  if [ -z "$told" ]; then
    told=yes
    echo "another pod has the volume open, locked by $(cat {file}): waiting until its processes have ended" >&2
  fi
done
trap - TERM INT
# For the message of whoever waits. On a full volume it is left out.
{{ echo "$(uname -n) at $(date -u +%Y-%m-%dT%H:%M:%SZ)" > {file}; }} 2> /dev/null || :
"""


def stateful_set(context: CapabilityScope, template: Manifest) -> Manifest:
    """A StatefulSet with one pod. `volume_lock` prevents two pods from opening its volume."""
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": context.capability.name, "namespace": context.namespace},
        "spec": {
            "replicas": 1,
            "serviceName": context.capability.name,
            "selector": {"matchLabels": context.selector},
            "template": template,
        },
    }


# The guard's requests are part of the capability's requests, not added to them.
GUARD_REQUESTS: Mapping[str, str] = {"cpu": "10m", "memory": "32Mi"}


def guard_command(body: str) -> list[str]:
    """The command of a guard container with the shell script `body`.

    The script is restarted when it ends because the server is gone. If the container ended instead, the pod would not
    be ready, and its server would be unavailable to all apps. Signals are handled explicitly, because the first process
    of a container ignores them by default.
    """
    return ["/bin/sh", "-c", f"trap 'exit 0' TERM INT\nwhile :; do\n(\n{body})&\nwait $!\nsleep 2\ndone\n"]


def server_requests(context: CapabilityScope) -> dict[str, str]:
    """CPU and memory requests of the server: those of the capability less those of its guard."""
    whole = context.resources()
    return {
        "cpu": format_cpu(parse_quantity(whole["cpu"]) - parse_quantity(GUARD_REQUESTS["cpu"])),
        "memory": format_bytes(parse_quantity(whole["memory"]) - parse_quantity(GUARD_REQUESTS["memory"])),
    }


def provisioning_policies(context: CapabilityScope) -> list[Manifest]:
    """Network policies that let provisioning Jobs reach all ports of the capability within its namespace.

    Administrators may have a port of their own, which no use opens.
    """
    name, jobs = context.capability.name, provisioning_labels(context.capability.name)
    ports = list(context.ports.values())
    arrives = network_policies.from_peer({"podSelector": {"matchLabels": jobs}}, ports)
    leaves = network_policies.to_peer({"podSelector": {"matchLabels": context.selector}}, ports)
    return [
        network_policies.policy(context.namespace, f"{name}-provisioning", context.selector, ingress=[arrives]),
        network_policies.policy(context.namespace, f"{name}-provisioning-jobs", jobs, egress=[leaves]),
    ]
