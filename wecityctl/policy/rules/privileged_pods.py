"""Pods keep to the restricted Pod Security Standard: in the files' graph and, whatever a namespace's labels say, in the
cluster."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from wecityctl.model.city import City
from wecityctl.policy.admission import SPEC_CHANGED, WORKLOADS, Validation, policy
from wecityctl.policy.findings import about
from wecityctl.policy.model import Finding, Manifest, Posture, Rule
from wecityctl.policy.objects import workloads

NAME = "privileged-pods"

WHY = """\
A container that shares its node's kernel without restraint – privileged, with the node's network, processes or file
system, with added capabilities, as root – is one mistake away from every other tenant on that node. Tenants of one
city share nodes, so the isolation between departments is only as good as the weakest pod. The Pod Security labels of
our namespaces say so already; the policy says it again, because a label can be removed by whoever may change a
namespace."""
CAPABILITIES = ("NET_BIND_SERVICE",)
_HOST = ("hostNetwork", "hostPID", "hostIPC")
_PROFILES = ("RuntimeDefault", "Localhost")
_RESOLUTION = (
    "give the pod the restricted security context; what needs more belongs on a node, not in a city's namespace"
)


def check(posture: Posture) -> Iterable[Finding]:
    """Every way in which a recorded pod asks for more than the restricted standard gives."""
    for workload in workloads(posture):
        for message in (*_pod_faults(workload.pod), *_faults_of_containers(workload.pod, workload.containers)):
            yield about(posture, workload.stack, workload.resource, message, _RESOLUTION)


def _pod_faults(spec: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"shares the node's {key.removeprefix('host')}" for key in _HOST if spec.get(key))
    yield from (
        f"volume {item['name']} is a path of the node" for item in spec.get("volumes") or () if "hostPath" in item
    )


def _faults_of_containers(spec: Mapping[str, Any], containers: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    pod = spec.get("securityContext") or {}
    for container in containers:
        name, own = container["name"], container.get("securityContext") or {}
        capabilities = own.get("capabilities") or {}
        if any(port.get("hostPort") for port in container.get("ports") or ()):
            yield f"container {name} takes a port of the node"
        if own.get("privileged"):
            yield f"container {name} is privileged"
        if own.get("allowPrivilegeEscalation", True):
            yield f"container {name} may escalate its privileges"
        if set(capabilities.get("add") or ()) - set(CAPABILITIES) or "ALL" not in (capabilities.get("drop") or ()):
            yield f"container {name} keeps or adds capabilities"
        if not own.get("runAsNonRoot", pod.get("runAsNonRoot", False)):
            yield f"container {name} may run as root"
        if own.get("runAsUser", pod.get("runAsUser", 1)) == 0:
            yield f"container {name} runs as user 0"
        if (own.get("seccompProfile") or pod.get("seccompProfile") or {}).get("type") not in _PROFILES:
            yield f"container {name} has no seccomp profile"
        if own.get("procMount", "Default") != "Default":
            yield f"container {name} sees the node's /proc"


_OWN = "c.?securityContext.?"
_POD = "variables.spec.?securityContext.?"


def _each(expression: str) -> str:
    return f"variables.containers.all(c, {expression})"


VALIDATIONS = (
    Validation(
        " && ".join(f"!variables.spec.?{key}.orValue(false)" for key in _HOST),
        "a pod shares the network, processes or IPC of its node; leave hostNetwork, hostPID and hostIPC out",
    ),
    Validation(
        "variables.spec.?volumes.orValue([]).all(v, !has(v.hostPath))",
        "a pod mounts a path of its node; use a PersistentVolumeClaim or an emptyDir",
    ),
    Validation(
        _each("c.?ports.orValue([]).all(p, p.?hostPort.orValue(0) == 0)"),
        "a container takes a port of its node; use a Service",
    ),
    Validation(
        _each(f"!{_OWN}privileged.orValue(false) && {_OWN}procMount.orValue('Default') == 'Default'"),
        "a container is privileged or sees the node's /proc; leave privileged and procMount out",
    ),
    Validation(
        _each(f"!{_OWN}allowPrivilegeEscalation.orValue(true)"),
        "a container may escalate its privileges; set allowPrivilegeEscalation: false",
    ),
    Validation(
        _each(
            f"'ALL' in {_OWN}capabilities.?drop.orValue([])"
            f" && {_OWN}capabilities.?add.orValue([]).all(k, k in ['NET_BIND_SERVICE'])"
        ),
        "a container keeps or adds capabilities; drop ALL and add NET_BIND_SERVICE at the most",
    ),
    Validation(
        _each(
            f"{_OWN}runAsNonRoot.orValue({_POD}runAsNonRoot.orValue(false))"
            f" && {_OWN}runAsUser.orValue({_POD}runAsUser.orValue(1)) != 0"
        ),
        "a container may run as root; set runAsNonRoot: true and no user 0",
    ),
    Validation(
        _each(
            f"{_OWN}seccompProfile.?type.orValue({_POD}seccompProfile.?type.orValue(''))"
            " in ['RuntimeDefault', 'Localhost']"
        ),
        "a container has no seccomp profile; set seccompProfile: {type: RuntimeDefault}",
    ),
)


def admission(city: City, _: Mapping[str, str]) -> Iterator[Manifest]:
    """The restricted standard once more, as a policy: the labels of a namespace can be taken off."""
    return policy(city, NAME, WORKLOADS, VALIDATIONS, variables=("spec", "containers"), conditions=(SPEC_CHANGED,))


RULE = Rule(
    name=NAME,
    title="No privileged pods 禁止特权容器",
    why=WHY,
    check=check,
    controls=("8.1.4.2 访问控制", "8.1.4.4 入侵防范"),
    admission=admission,
)
