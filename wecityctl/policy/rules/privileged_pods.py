"""Pods keep to the restricted Pod Security Standard: in the files' graph and, whatever a namespace's labels say, in the
cluster."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from wecityctl.model.city import City
from wecityctl.policy.admission import SPEC_CHANGED, WORKLOADS, Validation, policy, quote
from wecityctl.policy.findings import about
from wecityctl.policy.model import Finding, Manifest, PolicyInput, Rule
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
# Source of all three: the Pod Security Standards, levels baseline and restricted.
_VOLUMES = (
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
)
_SYSCTLS = (
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
)
_SELINUX_TYPES = ("", "container_t", "container_init_t", "container_kvm_t", "container_engine_t")
_RESOLUTION = (
    "give the pod the restricted security context; what needs more belongs on a node, not in a city's namespace"
)


def check(policy_input: PolicyInput) -> Iterable[Finding]:
    """Every way in which a recorded pod asks for more than the restricted standard gives."""
    for workload in workloads(policy_input):
        for message in (*_pod_faults(workload.pod), *_faults_of_containers(workload.pod, workload.containers)):
            yield about(policy_input, workload.stack, workload.resource, message, _RESOLUTION)


def _pod_faults(spec: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"shares the node's {key.removeprefix('host')}" for key in _HOST if spec.get(key))
    for item in spec.get("volumes") or ():
        kinds = set(item) - {"name", *_VOLUMES}
        if kinds:
            yield f"volume {item['name']} is of kind {', '.join(sorted(kinds))}"
    security = spec.get("securityContext") or {}
    sysctls = {str(item.get("name")) for item in security.get("sysctls") or ()} - set(_SYSCTLS)
    if sysctls:
        yield f"sets {', '.join(sorted(sysctls))} of the kernel"
    if _unconfined(security):
        yield "loosens what confines it on the node"


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
        if _unconfined(own):
            yield f"container {name} loosens what confines it on the node"


def _unconfined(security: Mapping[str, Any]) -> bool:
    """Whether a security context turns off AppArmor, picks a strong SELinux context or is the Windows host's."""
    selinux = security.get("seLinuxOptions") or {}
    return bool(
        (security.get("appArmorProfile") or {}).get("type") == "Unconfined"
        or (security.get("windowsOptions") or {}).get("hostProcess")
        or selinux.get("user")
        or selinux.get("role")
        or selinux.get("type", "") not in _SELINUX_TYPES
    )


_OWN = "c.?securityContext.?"
_POD = "variables.spec.?securityContext.?"


def _confined(security: str) -> str:
    """`_unconfined`, turned round, as an expression."""
    return (
        f"({security}appArmorProfile.?type.orValue('') != 'Unconfined'"
        f" && !{security}windowsOptions.?hostProcess.orValue(false)"
        f" && {security}seLinuxOptions.?user.orValue('') == '' && {security}seLinuxOptions.?role.orValue('') == ''"
        f" && {security}seLinuxOptions.?type.orValue('') in {quote(_SELINUX_TYPES)})"
    )


def _each(expression: str) -> str:
    return f"variables.containers.all(c, {expression})"


VALIDATIONS = (
    Validation(
        " && ".join(f"!variables.spec.?{key}.orValue(false)" for key in _HOST),
        "a pod shares the network, processes or IPC of its node; leave hostNetwork, hostPID and hostIPC out",
    ),
    Validation(
        f"variables.spec.?volumes.orValue([]).all(v, {' || '.join(f'has(v.{kind})' for kind in _VOLUMES)})",
        "a pod mounts a path of its node, or a file system of its own choice; use a PersistentVolumeClaim",
    ),
    Validation(
        f"{_POD}sysctls.orValue([]).all(s, s.name in {quote(_SYSCTLS)})",
        "a pod sets parameters of its node's kernel; leave sysctls out",
    ),
    Validation(
        f"{_confined(_POD)} && {_each(_confined(_OWN))}",
        "a pod loosens what confines it on its node; leave AppArmor, SELinux and hostProcess as they are",
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
    of_objects=True,
)
