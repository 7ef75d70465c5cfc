"""Checks whether this machine can run a real node; each finding has a remedy.

`doctor` shows the findings; the driver refuses to start if a required one fails. Nothing on the machine is changed: all
tests run in their own namespaces.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from wecityctl.errors import WecityError
from wecityctl.local.node import cgroups, machine
from wecityctl.toolchain import locate
from wecityctl.users import user_name

_PROGRAMS = ("containerd", "containerd-shim-runc-v2", "ctr", "kubelet", "kube-proxy", "metrics-server")
_TOOLS = {
    "ip": "iproute2",
    "nft": "nftables",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "unshare": "util-linux",
    "mount": "mount",
    "findmnt": "util-linux",
}
_OTHER_RUNC = "take that runc off PATH, then run: wecityctl engine install"
_NFT_TRIAL = """table inet wecity-probe {
  set pods { type ipv4_addr; }
  map verdicts { type ipv4_addr : verdict; }
  chain forward {
    type filter hook forward priority 0;
    ip saddr @pods ct state established accept
    ip daddr vmap @verdicts
  }
  chain nat { type nat hook prerouting priority -100; tcp dport 1 dnat ip to 192.0.2.1:80; }
}
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """One fact about the machine.

    If `required` is false, the node runs without it, and `detail` names the limitation.
    """

    name: str
    ok: bool
    detail: str
    remedy: str = ""
    required: bool = True


def probe() -> tuple[Finding, ...]:
    """All findings, in the order in which they should be fixed. Takes well under a second."""
    first = (_linux(), _root())
    if not all(finding.ok for finding in first):
        # The other tests need root on Linux and would report misleading problems.
        return first
    checks: tuple[Callable[[], Finding], ...] = (
        _tools,
        _programs,
        _runc,
        _cni,
        _cgroups,
        _namespaces,
        _links,
        _nftables,
        _overlay,
        _oom_scores,
        _host_ports,
        _kernel_log,
        watches,
    )
    return first + tuple(check() for check in checks)


def _linux() -> Finding:
    return Finding(
        "operating system", sys.platform == "linux", sys.platform, "use simulated nodes on this operating system"
    )


def _root() -> Finding:
    is_root = os.geteuid() == 0
    able = is_root and machine.has_capability(machine.CAP_SYS_ADMIN) and machine.has_capability(machine.CAP_NET_ADMIN)
    lacking = "root, but without CAP_SYS_ADMIN or CAP_NET_ADMIN" if is_root else f"{user_name()}, not root"
    detail = "root with CAP_SYS_ADMIN and CAP_NET_ADMIN" if able else lacking
    return Finding("user", able, detail, "run as root (in a container: privileged), or use simulated nodes")


def _tools() -> Finding:
    import shutil

    missing = [name for name in _TOOLS if shutil.which(name) is None]
    packages = dict.fromkeys(_TOOLS[name] for name in missing)
    detail = "not found: " + ", ".join(missing) if missing else ", ".join(_TOOLS)
    return Finding("system tools", not missing, detail, f"apt-get install -y {' '.join(packages)}" if missing else "")


def _programs() -> Finding:
    return _located("node programs", _PROGRAMS)


def _runc() -> Finding:
    """Check runc and its seccomp support: without it pods would start, but without their seccomp profiles."""
    found = _located("runc", ("runc",))
    if not found.ok:
        return found
    try:
        done = subprocess.run([locate("runc"), "features"], capture_output=True, timeout=20, check=True)
        features = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        return Finding("runc", False, f"{found.detail} does not tell its features: {error}", _OTHER_RUNC)
    if features.get("linux", {}).get("seccomp", {}).get("enabled") is not True:
        return Finding("runc", False, f"{found.detail} was built without seccomp", _OTHER_RUNC)
    return Finding("runc", True, f"{found.detail}, with seccomp")


def _cni() -> Finding:
    return _located("CNI plug-ins", ("ptp", "host-local", "loopback"))


def _located(name: str, binaries: tuple[str, ...]) -> Finding:
    paths = []
    for binary in binaries:
        try:
            paths.append(locate(binary))
        except WecityError as error:
            return Finding(name, False, error.message, error.resolution)
    hidden = [str(path) for path in paths if path.is_relative_to("/run")]
    if hidden:
        return Finding(name, False, f"{hidden[0]} lies under /run, which the node does not see", "install it elsewhere")
    return Finding(name, True, ", ".join(str(path) for path in paths))


def _cgroups() -> Finding:
    found = cgroups.detect()
    if found.version == 0:
        return Finding("control groups", False, "not mounted", "mount cgroup v2 on /sys/fs/cgroup")
    if found.missing:
        detail = f"version {found.version} without {', '.join(found.missing)}"
        return Finding("control groups", False, detail, "enable these controllers on the kernel's command line")
    trial = f"wecity-probe-{os.getpid()}"
    try:
        cgroups.create(found, trial)
    except OSError as error:
        remedy = "run where control groups can be made (in a container: privileged, with a cgroup namespace of its own)"
        return Finding("control groups", False, f"version {found.version}: {error}", remedy)
    finally:
        cgroups.remove(found, trial)
    return Finding("control groups", True, f"version {found.version}")


def _namespaces() -> Finding:
    works = machine.succeeds(
        "unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--propagation", "private",
        "mount", "-t", "tmpfs", "tmpfs", "/run",
    )  # fmt: skip
    detail = "network, mount and PID namespaces" if works else "cannot be made"
    return Finding("namespaces", works, detail, "" if works else "run as root outside an unprivileged container")


def _links() -> Finding:
    script = (
        "ip link add wcprobe0 type bridge && ip link add wcprobe1 type veth peer name wcprobe2"
        " && ip link set wcprobe1 master wcprobe0"
    )
    works = machine.succeeds("unshare", "--net", "sh", "-c", script)
    detail = "bridge and veth" if works else "bridge or veth devices cannot be made"
    return Finding("network devices", works, detail, "" if works else "modprobe bridge veth")


def _nftables() -> Finding:
    works = machine.succeeds("unshare", "--net", "nft", "-f", "-", stdin=_NFT_TRIAL)
    detail = (
        "sets, maps, connection tracking and NAT" if works else "a table with sets, maps, conntrack and NAT is refused"
    )
    return Finding("nftables", works, detail, "" if works else "modprobe nf_tables nft_ct nft_nat nf_conntrack")


def _overlay() -> Finding:
    with tempfile.TemporaryDirectory(prefix="wecity-probe-") as directory:
        works = machine.overlay_works(Path(directory))
    detail = "works" if works else "cannot be mounted: images are copied instead, which takes more disk and time"
    return Finding("overlayfs", works, detail, "" if works else "modprobe overlay", required=False)


def _oom_scores() -> Finding:
    able = machine.has_capability(machine.CAP_SYS_RESOURCE)
    detail = "can be lowered" if able else "no CAP_SYS_RESOURCE: pods' scores are left as high as ours"
    return Finding("OOM scores", able, detail, "" if able else "grant CAP_SYS_RESOURCE", required=False)


def _host_ports() -> Finding:
    works = machine.host_ports_work()
    detail = "hostPort is served" if works else "no iptables with nft compatibility: hostPort of a pod is not served"
    remedy = "" if works else "apt-get install -y iptables, and modprobe nft_compat xt_comment"
    return Finding("host ports", works, detail, remedy, required=False)


def watches() -> Finding:
    """Check free inotify instances.

    Not required, because a running cloud has its own; the driver checks before a start.
    """
    free = machine.free_watches(machine.WATCHES_OF_A_CLOUD)
    works = free == machine.WATCHES_OF_A_CLOUD
    detail = "enough are free" if works else f"only {free} are free, and a cloud opens {machine.WATCHES_OF_A_CLOUD}"
    remedy = "" if works else "sysctl fs.inotify.max_user_instances=1024, or stop a cloud that is not needed"
    return Finding("inotify instances", works, detail, remedy, required=False)


def _kernel_log() -> Finding:
    exists = Path("/dev/kmsg").exists()
    detail = "/dev/kmsg" if exists else "no /dev/kmsg, which the kubelet watches for out-of-memory kills"
    return Finding("kernel log", exists, detail, "" if exists else "mknod /dev/kmsg c 1 11")
