"""Sets up a node's namespaces before other processes enter: mounts, addresses, packet filter.

Runs inside the namespaces, as root. The host's side of the link is set up by `network`.
"""

from __future__ import annotations

import os
from pathlib import Path

from wecityctl.local.node import interconnect, syscalls
from wecityctl.local.node.layout import (
    FIXED_DIRECTORIES,
    INSIDE,
    INSIDE_RUN,
    KERNEL_SETTINGS,
    NODE_RESOLV_CONF,
    HoldSpec,
)
from wecityctl.local.node.network import UPLINK, run

_DIRECTORY = os.O_PATH | os.O_DIRECTORY
_NET_SETTINGS = {
    "ipv4/ip_forward": "1",
    # Each pod has its own route, so strict reverse-path filtering prevents it from using another pod's address.
    "ipv4/conf/all/rp_filter": "1",
    "ipv4/conf/default/rp_filter": "1",
    # Policies apply to IPv4, the cluster's only family; traffic over link-local IPv6 would bypass them.
    "ipv6/conf/all/disable_ipv6": "1",
    "ipv6/conf/default/disable_ipv6": "1",
}


def prepare_mounts(spec: HoldSpec) -> None:
    """Mount private /proc and /run and the node's directories on short paths, without propagation to the host."""
    syscalls.mount("none", "/", flags=syscalls.MS_REC | syscalls.MS_PRIVATE)
    syscalls.mount("proc", "/proc", "proc", syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC)
    # The node's directories may be below /run, so keep them open while /run is hidden.
    handles = {place: os.open(path, _DIRECTORY) for place, path in ((INSIDE, spec.data), (INSIDE_RUN, spec.run))}
    syscalls.mount("tmpfs", "/run", "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NODEV, "mode=755")
    for place, handle in handles.items():
        Path(place).mkdir()
        syscalls.mount(f"/proc/self/fd/{handle}", str(place), flags=syscalls.MS_BIND)
        os.close(handle)
    for directory, fresh in FIXED_DIRECTORIES.items():
        _shadow(directory, fresh)
    for name in ("lock", "netns", "containerd"):
        Path("/run", name).mkdir()
    _guard_kernel_settings()
    _resolve_in_the_cluster()
    _show_whole_proc()
    # Containers may share mounts with the node (propagation), but never with the host.
    syscalls.mount("none", "/", flags=syscalls.MS_REC | syscalls.MS_SHARED)


def _shadow(directory: Path, fresh: tuple[str, ...]) -> None:
    """Mount a tmpfs over `directory` and bind all its entries back, except `fresh`, which become empty directories.

    The latter need not exist on the host, and their content disappears with the node.
    """
    handle = os.open(directory, _DIRECTORY)
    entries = sorted(os.scandir(f"/proc/self/fd/{handle}"), key=lambda entry: entry.name)
    syscalls.mount("tmpfs", str(directory), "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NODEV, "mode=755")
    for entry in entries:
        target = directory / entry.name
        if entry.name in fresh:
            continue
        if entry.is_symlink():
            target.symlink_to(Path(entry.path).readlink())
            continue
        if entry.is_dir():
            target.mkdir()
        else:
            target.touch()
        syscalls.mount(f"/proc/self/fd/{handle}/{entry.name}", str(target), flags=syscalls.MS_BIND | syscalls.MS_REC)
    os.close(handle)
    for name in fresh:
        (directory / name).mkdir()


def _guard_kernel_settings() -> None:
    copies = Path("/run/kernel-settings")
    copies.mkdir()
    for name, value in KERNEL_SETTINGS.items():
        target = Path("/proc/sys", name)
        if not target.exists():
            continue
        copy = copies / name.replace("/", ".")
        copy.write_text(value + "\n")
        syscalls.mount(str(copy), str(target), flags=syscalls.MS_BIND)


def _resolve_in_the_cluster() -> None:
    """Let the node's programs ask the cluster's DNS first: containerd finds registries by their names there.

    The machine's own file is often a link to one below /run, which is hidden here. Where there is none it stays so.
    """
    ours, target = Path(INSIDE, "etc", NODE_RESOLV_CONF), Path(os.path.realpath("/etc/resolv.conf"))
    if not target.exists() and target.is_relative_to("/run"):
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    if not ours.exists() or not target.exists():
        return
    of_machine = [line for line in target.read_text().splitlines() if line.startswith("nameserver")]
    copy = Path("/run", NODE_RESOLV_CONF)
    copy.write_text("\n".join((ours.read_text().strip(), *of_machine)) + "\n")
    syscalls.mount(str(copy), str(target), flags=syscalls.MS_BIND)


def _show_whole_proc() -> None:
    """Mount an unobstructed /proc at a path that only root can access.

    The kernel lets a pod in a user namespace mount /proc only if the node has one that nothing is mounted over
    (`mount_too_revealing` in fs/namespace.c).
    """
    place = Path("/run/whole-proc/proc")
    place.parent.mkdir(mode=0o700)
    place.mkdir()
    syscalls.mount("proc", str(place), "proc", syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC)


def prepare_network(spec: HoldSpec) -> None:
    """Set addresses, routes and the packet filter. The link must exist."""
    for name, value in _NET_SETTINGS.items():
        path = Path("/proc/sys/net", name)
        if path.exists():  # a kernel without IPv6 has nothing to disable
            path.write_text(value)
    # The filter comes first, so that no packet is forwarded without it.
    run("nft", "-f", "-", stdin=interconnect.ruleset(spec) + spec.rules)
    block = spec.addresses
    run("ip", "link", "set", "lo", "up")
    run("ip", "address", "add", f"{block.node_ip}/24", "dev", UPLINK)
    run("ip", "link", "set", UPLINK, "up")
    run("ip", "route", "add", "default", "via", block.bridge_ip)
