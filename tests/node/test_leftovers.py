"""A node's comings and goings: nothing of it is left, whatever ended it, and its data is there when it is back."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.node_cloud import NodeCloud, eventually, pod
from wecityctl.local import cloud
from wecityctl.local.node import capabilities
from wecityctl.local.node.layout import Held

pytestmark = pytest.mark.node


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _cgroups() -> set[str]:
    return {str(path) for path in Path("/sys/fs/cgroup").glob("*/wecity-*")} | {
        str(path) for path in Path("/sys/fs/cgroup").glob("wecity-*")
    }


def _processes(mark: str) -> set[str]:
    """Processes that have to do with the cloud: by its directory, or by living in a PID namespace of a node."""
    found = set()
    own = Path("/proc/self/ns/pid").readlink()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if mark in line or ((entry / "ns/pid").readlink() != own and mark in _root_mounts(entry)):
                found.add(f"{entry.name} {line[:80]}")
    return found


def _root_mounts(entry: Path) -> str:
    return (entry / "mountinfo").read_text()


class Snapshot:
    """What a node could leave on the host. Other clouds may come and go meanwhile: only this one's are compared."""

    def __init__(self, made: NodeCloud, cloud_id: str, directory: Path) -> None:
        self.interfaces = {
            each["ifname"] for each in json.loads(_output("ip", "-j", "link")) if cloud_id in each["ifname"]
        }
        self.routes = [line for line in _output("ip", "route", "show", "table", "all").splitlines() if cloud_id in line]
        self.mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(directory) in line]
        self.rules = [
            line for line in _output("nft", "list", "tables").splitlines() if "wecity" in line or "kube" in line
        ]
        self.cgroups = {path for path in _cgroups() if cloud_id in path}
        self.processes = _processes(str(directory))

    def nothing(self) -> bool:
        return not any((self.interfaces, self.routes, self.mounts, self.rules, self.cgroups, self.processes))

    def __repr__(self) -> str:
        return repr(vars(self))


def _identity(made: NodeCloud) -> tuple[str, Path]:
    directory = made.running.kubeconfig_path.parent  # type: ignore[union-attr]
    spec = json.loads((directory / "node" / "hold.json").read_text())
    return spec["cgroup"].removeprefix("wecity-"), directory


def _held(made: NodeCloud) -> Held:
    _, directory = _identity(made)
    run = Path(json.loads((directory / "node" / "hold.json").read_text())["run"])
    held = Held.load(run / "node.json")
    assert held is not None
    return held


def _kernel_settings() -> dict[str, str]:
    names = ("vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops", "net/ipv4/ip_forward",
             "net/netfilter/nf_conntrack_max")  # fmt: skip
    return {name: path.read_text() for name in names if (path := Path("/proc/sys", name)).exists()}


def _writer() -> list[dict[str, object]]:
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    user = pod(
        "writer",
        "serve",
        ":8080",
        container={
            "volumeMounts": [{"name": "data", "mountPath": "/data"}],
            "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
        },
        volumes=[{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
    )
    return [claim, user]


@pytest.fixture(scope="module")
def made(make: Callable[[str], NodeCloud]) -> NodeCloud:
    """A cloud of this module's own: its tests stop and kill it."""
    built = make("leftovers")
    built.start()
    built.apply(*_writer())
    built.ready("writer")
    built.execute("writer", "write", "/data/file", "kept")
    return built


def _works(made: NodeCloud) -> bool:
    made.ready("writer")
    return made.execute("writer", "read", "/data/file") == "kept"


def test_starting_again_changes_nothing(made: NodeCloud) -> None:
    held = _held(made)
    assert made.start().changed is False
    assert _held(made) == held


def test_stop_leaves_nothing_and_start_brings_back(made: NodeCloud) -> None:
    before = _kernel_settings()
    cloud_id, directory = _identity(made)
    assert not Snapshot(made, cloud_id, directory).nothing(), "the comparison sees a running cloud"
    made.stop()
    left = Snapshot(made, cloud_id, directory)
    assert left.nothing(), left
    assert _kernel_settings() == before
    begun = time.monotonic()
    made.start()
    seconds = time.monotonic() - begun
    assert _works(made)
    # Generous, since other tests may share the machine; `make bench` measures.
    assert seconds < 60, seconds


def test_pods_are_told_before_they_end(made: NodeCloud) -> None:
    """SIGTERM reaches the container, and its last words are kept."""
    _, directory = _identity(made)
    uid = made.get("pod", "writer")["metadata"]["uid"]
    count = made.get("pod", "writer")["status"]["containerStatuses"][0]["restartCount"]
    made.stop()
    log = directory / "node" / "logs" / f"default_writer_{uid}" / "main" / f"{count}.log"
    assert "told to stop" in log.read_text()
    made.start()
    assert _works(made)


def test_kill_of_everything_is_cleaned_up(made: NodeCloud) -> None:
    cloud_id, directory = _identity(made)
    victims = [int(each.split()[0]) for each in Snapshot(made, cloud_id, directory).processes]
    assert len(victims) > 5
    supervisor = cloud.status("leftovers").supervisor_pid
    for victim in [supervisor, *victims]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
    eventually(lambda: not Snapshot(made, cloud_id, directory).processes, 15)
    made.start()
    assert _works(made)
    made.stop()
    left = Snapshot(made, cloud_id, directory)
    assert left.nothing(), left
    made.start()


@pytest.mark.parametrize("victim", ["first process", "holder"])
def test_death_of_namespaces_is_mended_by_the_supervisor(made: NodeCloud, victim: str) -> None:
    held = _held(made)
    services = {each.name: each for each in cloud.status("leftovers").services}
    os.kill(held.pid if victim == "first process" else services["node-hold"].pid, signal.SIGKILL)

    def new() -> bool:
        _, directory = _identity(made)
        run = Path(json.loads((directory / "node" / "hold.json").read_text())["run"])
        found = Held.load(run / "node.json")
        return found is not None and found != held

    eventually(new, 30)
    eventually(lambda: cloud.status("leftovers").health == "healthy", 60)
    made.start()
    assert _works(made)


def test_policy_holds_while_the_agent_is_dead(made: NodeCloud) -> None:
    """Closed means closed: the table outlives the agent that wrote it."""
    services = {each.name: each for each in cloud.status("leftovers").services}
    os.killpg(services["netpol"].pid, signal.SIGKILL)
    tables = _output("nsenter", "--target", str(_held(made).pid), "--net", "nft", "list", "tables")
    assert "wecity-netpol" in tables and "wecity-base" in tables
    eventually(lambda: cloud.status("leftovers").health == "healthy", 60)


def test_stop_right_after_a_violent_death(made: NodeCloud) -> None:
    """The dead of the node's namespace are then the supervisor's to bury, and the namespace waits for that."""
    services = {each.name: each for each in cloud.status("leftovers").services}
    os.killpg(services["kube-proxy"].pid, signal.SIGKILL)
    cloud_id, directory = _identity(made)
    begun = time.monotonic()
    made.stop()
    # It would wait for minutes; on a busy machine the orderly end alone takes most of one.
    assert time.monotonic() - begun < 100
    left = Snapshot(made, cloud_id, directory)
    assert left.nothing(), left
    made.start()
    assert _works(made)


def test_two_clouds_side_by_side(made: NodeCloud, make: Callable[[str], NodeCloud]) -> None:
    if not (finding := capabilities.watches()).ok:
        pytest.skip(f"a second cloud does not fit beside what runs on this machine: {finding.detail}: {finding.remedy}")
    other = make("neighbour")
    other.start()
    assert other.address != made.address
    other.apply(*_writer())
    other.ready("writer")
    other.execute("writer", "write", "/data/file", "the neighbour's")
    assert _works(made)
    cloud_id, directory = _identity(other)
    cloud.reset("neighbour")
    left = Snapshot(other, cloud_id, directory)
    assert left.nothing(), left
    assert not directory.exists()
    assert _works(made), "one cloud's end is not the other's"
