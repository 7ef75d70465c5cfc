"""What capabilities with a volume have in common: the claim, the volume's lock, the single pod over it with its guard,
the way in for provisioning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from stacks import network
from stacks.objects import Manifest
from wecityctl.model import naming
from wecityctl.model.quantity import format_bytes, format_cpu, parse_quantity

if TYPE_CHECKING:
    from stacks.platforms.component import CapabilityScope


def provisioning_labels(capability: str) -> dict[str, str]:
    """The labels of the Jobs that may reach a capability as its administrator."""
    return {f"{naming.LABEL_PREFIX}/provisions": naming.label_value(capability)}


def volume_claim(namespace: str, name: str, storage: str, storage_class: str) -> Manifest:
    """A claim for a volume of its own, read and written by one node."""
    spec: Manifest = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": storage}}}
    if storage_class:
        spec["storageClassName"] = storage_class
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


# What `flock` ends with where another process has the lock; everything else is an error of the file system.
_HELD = 75


def volume_lock(directory: str) -> str:
    """Shell commands that take the lock of the volume at `directory`, or wait until its holder has ended.

    The first lines of every script that opens the data. Two pods can have a volume at once: ReadWriteOnce is for one
    node, and a pod that was deleted by force may still run. PostgreSQL's own record of its process does not help, as
    the server is process 1 in every pod. The kernel's lock is on descriptor 9, which all programs of the container
    inherit: it is released when the last of them has ended, however that was. Where the volume cannot be locked, the
    script ends with 1.
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
    """A StatefulSet of one pod. That no two of them open its volume is `volume_lock`'s."""
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


# What the guard beside a server asks for: out of what the capability asks for, not on top of it.
GUARD_REQUESTS: Mapping[str, str] = {"cpu": "10m", "memory": "32Mi"}


def guard_command(body: str) -> list[str]:
    """The command of a guard whose shell script is `body`.

    A script that ends, because its server is gone, begins again: were the container to end, the pod would not be ready,
    and the server of all apps with it. The first process of a container ends on a signal only if it says so.
    """
    return ["/bin/sh", "-c", f"trap 'exit 0' TERM INT\nwhile :; do\n(\n{body})&\nwait $!\nsleep 2\ndone\n"]


def server_requests(context: CapabilityScope) -> dict[str, str]:
    """CPU and memory of the server itself: the capability's without its guard's."""
    whole = context.resources()
    return {
        "cpu": format_cpu(parse_quantity(whole["cpu"]) - parse_quantity(GUARD_REQUESTS["cpu"])),
        "memory": format_bytes(parse_quantity(whole["memory"]) - parse_quantity(GUARD_REQUESTS["memory"])),
    }


def provisioning_policies(context: CapabilityScope) -> list[Manifest]:
    """Let the Jobs that make databases and users reach the capability, within its own namespace."""
    name, jobs = context.capability.name, provisioning_labels(context.capability.name)
    arrives = network.from_peer({"podSelector": {"matchLabels": jobs}}, [context.type.port])
    leaves = network.to_peer({"podSelector": {"matchLabels": context.selector}}, [context.type.port])
    return [
        network.policy(context.namespace, f"{name}-provisioning", context.selector, ingress=[arrives]),
        network.policy(context.namespace, f"{name}-provisioning-jobs", jobs, egress=[leaves]),
    ]
