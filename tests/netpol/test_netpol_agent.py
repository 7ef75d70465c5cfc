"""The agent as a process, against a real API server, in a node's network namespace: from a pod's start to its end."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.netpol import objects, traffic
from tests.netpol.interpreter import Packet
from tests.netpol.world import Namespace, World, world
from tests.support.control_plane import ControlPlane, control_plane
from wecityctl.local.netpol import base_ruleset, cni_executable, cni_plugin

pytestmark = [pytest.mark.node, pytest.mark.cluster]

WEB, DB, OTHER = "10.99.0.1", "10.99.0.2", "10.99.0.3"
DENY = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
TO_DB: dict[str, Any] = {
    "podSelector": {"matchLabels": {"app": "db"}},
    "policyTypes": ["Ingress"],
    "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "web"}}}], "ports": [{"port": 5432}]}],
}
FROM_WEB: dict[str, Any] = {
    "podSelector": {"matchLabels": {"app": "web"}},
    "policyTypes": ["Egress"],
    "egress": [{"to": [{"podSelector": {"matchLabels": {"app": "db"}}}]}],
}


class Node:
    """A node's namespace with pods to be, and the agent's process in it, which reaches the API server by a relay."""

    def __init__(self, made: World, plane: ControlPlane, directory: Path) -> None:
        self.world, self.plane, self.directory = made, plane, directory
        self.space = f"netpol-{os.getpid()}-{time.monotonic_ns()}"
        self.socket, self.records = directory / "netpol.sock", directory / "records"
        self.process: subprocess.Popen[bytes] | None = None
        self.relay = Relay(made.node, plane.port)
        kubeconfig = plane.kubeconfig_text.replace(f":{plane.port}", f":{self.relay.port}")
        self.kubeconfig = directory / "kubeconfig"
        self.kubeconfig.write_text(kubeconfig)
        self.plugin = directory / "wecity-netpol"
        self.plugin.write_text(cni_executable())
        self.plugin.chmod(0o755)
        made.load(base_ruleset(objects.POD_CIDR))
        self.apply(objects.namespace(self.space), "v1", labels=False)
        account = {"kind": "ServiceAccount", "metadata": {"name": "default", "namespace": self.space}}
        self.apply(account, "v1")

    def enter(self, *command: str) -> list[str]:
        return ["nsenter", f"--net=/proc/{self.world.node.pid}/ns/net", *command]

    def start(self, *arguments: str, records: bool = True) -> None:
        command = ["--kubeconfig", str(self.kubeconfig), "--pod-cidr", objects.POD_CIDR, "--socket", str(self.socket)]
        command += ["--records", str(self.records)] if records else []
        with (self.directory / "agent.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.enter(sys.executable, "-m", "wecityctl.local.netpol", *command, *arguments), stderr=log
            )
        eventually(self.ready)

    def ready(self) -> bool:
        assert self.process is not None and self.process.poll() is None, (self.directory / "agent.log").read_text()
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.socket)) == 0

    def end(self, number: int = signal.SIGKILL) -> int:
        process, self.process = self.process, None
        assert process is not None
        process.send_signal(number)
        return process.wait(15)

    def apply(self, obj: objects.Object, version: str, *, labels: bool = True) -> None:
        obj = {"apiVersion": version, **obj}
        if not labels:
            obj["metadata"] = {"name": obj["metadata"]["name"]}
        self.plane.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(obj))

    def pod(self, name: str, labels: dict[str, str], status: str = "") -> str:
        """Create it; its uid."""
        made = objects.pod(f"{self.space}/{name}", status, labels)
        del made["metadata"]["uid"], made["status"]
        made["spec"]["containers"][0]["image"] = "none"
        self.apply(made, "v1")
        if status:
            patch = {"status": {"podIP": status, "podIPs": [{"ip": status}]}}
            arguments = ("-n", self.space, "patch", "pod", name, "--subresource=status", "--type=merge")
            self.plane.kubectl(*arguments, "-p", json.dumps(patch))
        return self.plane.kubectl("-n", self.space, "get", "pod", name, "-o", "jsonpath={.metadata.uid}")

    def policy(self, name: str, spec: dict[str, Any]) -> None:
        self.apply(objects.policy(f"{self.space}/{name}", **spec), "networking.k8s.io/v1")

    def cni(self, command: str, name: str, address: str, uid: str = "", *, seconds: float = 8) -> float:
        """Call the plug-in as the runtime does; seconds it took."""
        result = {"cniVersion": "1.0.0", "ips": [{"address": f"{address}/16"}], "interfaces": []}
        configuration = {
            **cni_plugin(str(self.records), str(self.socket)),
            "cniVersion": "1.0.0",
            "name": "wecity",
            "prevResult": result,
            "seconds": seconds,
        }
        arguments = f"IgnoreUnknown=1;K8S_POD_NAMESPACE={self.space};K8S_POD_NAME={name};K8S_POD_UID={uid}"
        environment = {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": f"sandbox-{name}",
            "CNI_ARGS": arguments,
            "PATH": os.environ["PATH"],
        }
        began = time.monotonic()
        done = subprocess.run(
            self.enter(str(self.plugin)),
            input=json.dumps(configuration),
            env=environment,
            text=True,
            capture_output=True,
            timeout=30,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout == "" if command == "DEL" else json.loads(done.stdout) == result
        return time.monotonic() - began

    def run_pod(self, name: str, address: str, labels: dict[str, str]) -> None:
        """Its rules are there at the very moment the plug-in returns."""
        self.cni("ADD", name, address, self.pod(name, labels))
        self.world.node.run("nft", "get", "element", "inet", "wecity-netpol", "known", f"{{ {address} }}")

    def ask(self, question: str) -> str:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(str(self.socket))
            connection.sendall(question.encode() + b"\n")
            return connection.recv(1000).decode()

    def verdicts(self, *packets: Packet, expect: list[bool]) -> list[bool]:
        expected = dict(zip(packets, expect, strict=True))
        return list(traffic.attempt(self.world, packets, expected.__getitem__).values())

    def becomes(self, packet: Packet, allowed: bool) -> None:
        eventually(lambda: self.verdicts(packet, expect=[allowed]) == [allowed])

    def close(self) -> None:
        if self.process is not None:
            self.end()
        self.relay.close()
        self.plane.kubectl("delete", "namespace", self.space, "--wait=false")
        for kind in ("pods", "networkpolicies"):
            self.plane.kubectl("-n", self.space, "delete", kind, "--all", "--force", "--grace-period=0", "--wait=false")


class Relay:
    """Carries connections from a namespace's loopback to a port of the host's."""

    def __init__(self, place: Namespace, port: int) -> None:
        self._target = port
        self._listener = place.socket(socket.SOCK_STREAM)
        self._listener.setblocking(True)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen()
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near = self._listener.accept()[0]
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                near.close()
                continue
            for source, target in ((near, far), (far, near)):
                threading.Thread(target=_carry, args=(source, target), daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def _carry(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
    except OSError:
        pass
    finally:
        for each in (source, target):
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                each.close()


def eventually(holds: Any, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.05)


@pytest.fixture
def node(api_server: ControlPlane, tmp_path: Path) -> Iterator[Node]:
    with world(WEB, DB, OTHER) as made:
        found = Node(made, api_server, tmp_path)
        yield found
        found.close()


ALLOWED, DENIED, BACK = Packet(WEB, DB, "tcp", 5432), Packet(OTHER, DB, "tcp", 5432), Packet(DB, WEB, "tcp", 80)


def three_pods(node: Node) -> None:
    node.policy("deny", DENY)
    node.policy("to-db", TO_DB)
    node.policy("from-web", FROM_WEB)
    for name, address in (("web", WEB), ("db", DB), ("other", OTHER)):
        node.run_pod(name, address, {"app": name})


def test_pods_start_with_their_rules_and_policies_take_effect(node: Node) -> None:
    node.start()
    three_pods(node)
    assert node.verdicts(ALLOWED, DENIED, BACK, expect=[True, False, False]) == [True, False, False]
    told = json.loads(node.ask("state"))
    assert told["pods"] == 3 and told["policies"] >= 3
    assert node.ask("open sesame") == "no\n"
    node.plane.kubectl("-n", node.space, "delete", "networkpolicy", "to-db", "from-web", "deny")
    node.becomes(DENIED, True)
    node.policy("deny", DENY)
    node.becomes(ALLOWED, False)
    # A pod's new label is a new role.
    node.policy("to-db", TO_DB)
    node.policy("from-web", FROM_WEB)
    node.becomes(ALLOWED, True)
    node.plane.kubectl("-n", node.space, "label", "pod", "web", "app=else", "--overwrite")
    node.becomes(ALLOWED, False)


def test_the_plug_in_waits_until_the_agent_knows_the_pod(node: Node) -> None:
    """The runtime may be faster than the watch: a pod never starts without its rules while the agent is at work."""
    node.start()
    three_pods(node)
    new = "10.99.0.9"
    node.world.add(new)
    with ThreadPoolExecutor(1) as pool:
        adding = pool.submit(node.cni, "ADD", "swift", new)
        time.sleep(0.6)
        assert not adding.done()
        assert node.verdicts(Packet(new, DB, "tcp", 5432), expect=[False]) == [False]
        node.pod("swift", {"app": "web"})
        assert adding.result(20) < 8
    assert node.verdicts(Packet(new, DB, "tcp", 5432), expect=[True]) == [True]


def test_rules_survive_a_killed_agent_and_a_new_pod_stays_cut_off(node: Node) -> None:
    node.start()
    three_pods(node)
    assert node.end(signal.SIGKILL) == -signal.SIGKILL
    assert node.verdicts(ALLOWED, DENIED, BACK, expect=[True, False, False]) == [True, False, False]
    new = "10.99.0.9"
    node.world.add(new)
    uid = node.pod("late", {"app": "web"})
    assert node.cni("ADD", "late", new, uid, seconds=0.5) < 5
    late = Packet(new, DB, "tcp", 5432)
    assert node.verdicts(late, ALLOWED, expect=[False, True]) == [False, True]
    # The socket that the killed agent left is no obstacle, and the pod gets its rules without anybody asking again.
    node.start()
    assert node.verdicts(late, DENIED, expect=[True, False]) == [True, False]


def test_an_address_is_nobodys_after_its_pod(node: Node) -> None:
    node.start()
    three_pods(node)
    node.cni("DEL", "web", WEB)
    assert not (node.records / "sandbox-web").exists()
    assert node.verdicts(ALLOWED, expect=[False]) == [False]
    # The next rules know nothing of it either, and neither does the next agent.
    node.end()
    node.start()
    assert node.verdicts(ALLOWED, expect=[False]) == [False]
    # The next pod with that address is not the web, though the web's object is still there.
    node.run_pod("heir", WEB, {"app": "heir"})
    assert node.verdicts(ALLOWED, expect=[False]) == [False]
    assert node.cni("DEL", "web", WEB) < 5, "a second DEL is no error"


def test_an_address_is_cut_off_even_when_the_agent_is_dead(node: Node) -> None:
    node.start()
    three_pods(node)
    node.end(signal.SIGKILL)
    assert node.verdicts(ALLOWED, expect=[True]) == [True]
    node.cni("DEL", "web", WEB)
    assert node.verdicts(ALLOWED, expect=[False]) == [False]


def test_termination_leaves_the_rules_and_cleanup_removes_them(node: Node) -> None:
    node.start()
    three_pods(node)
    assert node.end(signal.SIGTERM) == 0
    assert not node.socket.exists()
    assert node.verdicts(ALLOWED, DENIED, expect=[True, False]) == [True, False]
    command = node.enter(sys.executable, "-m", "wecityctl.local.netpol", "--cleanup")
    for _ in range(2):
        subprocess.run(command, check=True, timeout=30)
    assert "wecity" not in node.world.node.run("nft", "list", "tables")


def test_a_table_that_somebody_removed_comes_back(node: Node) -> None:
    node.start("--check-seconds", "0.3")
    three_pods(node)
    node.world.node.run("nft", "delete", "table", "inet", "wecity-netpol")
    node.becomes(DENIED, False)


def test_without_the_plug_in_the_status_gives_the_address(node: Node) -> None:
    node.start(records=False)
    node.policy("deny", DENY)
    node.policy("to-db", TO_DB)
    node.policy("from-web", FROM_WEB)
    node.pod("db", {"app": "db"}, DB)
    node.pod("web", {"app": "web"})
    assert node.verdicts(ALLOWED, expect=[False]) == [False]
    node.pod("web", {"app": "web"}, WEB)
    node.becomes(ALLOWED, True)
    node.plane.kubectl("-n", node.space, "delete", "pod", "web", "--force", "--grace-period=0")
    node.becomes(ALLOWED, False)


def test_an_api_server_that_restarts_changes_nothing_until_it_speaks(tmp_path: Path) -> None:
    with control_plane(tmp_path / "plane") as plane, world(WEB, DB, OTHER) as made:
        node = Node(made, plane, tmp_path)
        node.start()
        three_pods(node)
        plane.stop("kube-apiserver", kill=True)
        time.sleep(1.5)
        assert node.verdicts(ALLOWED, DENIED, BACK, expect=[True, False, False]) == [True, False, False]
        assert node.ready()
        plane.start_again("kube-apiserver")
        plane.wait_until_ready()
        assert node.verdicts(ALLOWED, DENIED, expect=[True, False]) == [True, False]
        node.plane.kubectl("-n", node.space, "delete", "networkpolicy", "to-db", "from-web", "deny")
        node.becomes(DENIED, True)
        node.close()
