"""`python -m wecityctl.local.node.namespaces SPEC`: creates a node's namespaces and holds them until it ends.

There are two processes: one on the host, which the supervisor watches, and its child, the first process of the PID
namespace. The child reaps orphans and, before it ends, ends the pods. If either is killed, the kernel removes all
processes, mounts, interfaces and firewall rules of the node; cgroups may be left, and the next start removes them.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from wecityctl.errors import WecityError
from wecityctl.local.node import cgroups, interconnect, namespace_setup, network, syscalls
from wecityctl.local.node.layout import Held, HoldSpec, start_time
from wecityctl.paths import write_private

_STOPS = (signal.SIGTERM, signal.SIGINT)


def main(arguments: list[str]) -> int:
    """Hold the namespaces until SIGTERM. Returns 0 after an orderly end, and 1 if creating or holding them failed."""
    spec = HoldSpec.load(Path(arguments[0]))
    signal.pthread_sigmask(signal.SIG_BLOCK, {*_STOPS, signal.SIGCHLD})
    hierarchies = cgroups.detect()
    cgroups.end_processes(hierarchies, spec.cgroup, grace=0)
    cgroups.create(hierarchies, spec.cgroup)
    made_read, made_write = os.pipe()
    linked_read, linked_write = os.pipe()
    own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    syscalls.unshare(syscalls.CLONE_NEWPID)
    child = os.fork()
    if child == 0:
        os.close(made_read)
        os.close(linked_write)
        os._exit(_first_process(spec, made_write, linked_read))
    os.close(made_write)
    os.close(linked_read)
    syscalls.enter_pid_namespace(own)  # otherwise tools run from here would start inside
    try:
        return _hold(spec, child, made_read, linked_write)
    except WecityError as error:
        sys.stderr.write(f"{error.message}: {error.details}\n")
        return 1
    finally:
        _end(spec, child)


def _hold(spec: HoldSpec, child: int, made: int, linked: int) -> int:
    """The host's side: connect the link when the namespaces exist, report when all is ready, wait."""
    if os.read(made, 1) != b"m":
        return 1
    network.connect(spec.link, spec.addresses, child)
    os.write(linked, b"l")
    if os.read(made, 1) != b"r":
        return 1
    layout = spec.layout
    write_private(layout.pid_file, f"{child}\n".encode())
    write_private(layout.hold_state, Held(child, start_time(child)).dump())
    _join_neighbours(spec)
    while True:
        received = signal.sigwait({*_STOPS, signal.SIGCHLD})
        if received in _STOPS:
            os.kill(child, signal.SIGTERM)
            os.waitpid(child, 0)
            return 0
        if os.waitpid(child, os.WNOHANG)[0] == child:
            sys.stderr.write("the first process of the node's namespaces has died, and the node with it\n")
            return 1


def _join_neighbours(spec: HoldSpec) -> None:
    """Connect to other nodes. A failure does not affect the node itself; the next `up` retries."""
    try:
        interconnect.join(spec)
    except WecityError as error:
        sys.stderr.write(f"joining the neighbours failed: {error.message}: {error.details}\n")


def _end(spec: HoldSpec, child: int) -> None:
    """Kill what is left in the namespaces and remove what the kernel does not."""
    try:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    except (ProcessLookupError, ChildProcessError):
        pass
    for path in (spec.layout.hold_state, spec.layout.pid_file):
        path.unlink(missing_ok=True)
    network.remove_interface(spec.veth)
    hierarchies = cgroups.detect()
    cgroups.end_processes(hierarchies, spec.cgroup, grace=0)
    cgroups.remove(hierarchies, spec.cgroup)


def _first_process(spec: HoldSpec, made: int, linked: int) -> int:
    """The child's side, inside the namespaces. Its return value is the exit code of the process."""
    try:
        syscalls.signal_on_parent_death(signal.SIGKILL)
        syscalls.unshare(syscalls.CLONE_NEWNS | syscalls.CLONE_NEWNET)
        namespace_setup.prepare_mounts(spec)
        os.write(made, b"m")
        if os.read(linked, 1) != b"l":
            return 1
        namespace_setup.prepare_network(spec)
        os.write(made, b"r")
        os.close(made)
        _reap_until_stopped()
        cgroups.end_processes(cgroups.detect(), spec.cgroup, grace=spec.grace)
    except Exception as error:
        # The log is this process's only output, so write the error with its details.
        details = getattr(error, "details", "")
        sys.stderr.write(f"preparing the node's namespaces failed: {error}\n{details}\n")
        sys.stderr.flush()
        return 1
    return 0


def _reap_until_stopped() -> None:
    while True:
        received = signal.sigwait({*_STOPS, signal.SIGCHLD})
        if received in _STOPS:
            return
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            continue


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
