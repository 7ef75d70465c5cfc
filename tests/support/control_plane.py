"""A control plane for tests: etcd and kube-apiserver, and on demand the controllers, the scheduler and simulated nodes.

Loopback only, on free ports, in a directory of its own; every process is ended by its id.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import random
import re
import shutil
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.pki import Authority, Pair, make_key
from tests.support.processes import ENDING_WITH_PARENT

PARTS = Path(os.environ.get("WECITYCTL_TEST_PARTS") or Path("~").expanduser() / ".cache/wecityctl/parts")
STAGES = Path(__file__).with_name("stages.yaml")


def binary(name: str) -> Path:
    """A built part's program; skips the test, saying so, when it is not in the parts cache."""
    found = sorted(PARTS.glob(f"*/*/bin/{name}"), key=lambda p: [int(n) for n in re.findall(r"\d+", p.parts[-3])])
    if not found:
        pytest.skip(f"{name} is not in the parts cache ({PARTS}); run `wecityctl engine install`")
    return found[-1]


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, below those that the kernel gives to connections: a server that is started again
    on its port must not find somebody's connection there."""
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    sockets: list[socket.socket] = []
    try:
        while len(sockets) < count:
            opened = socket.socket()
            try:
                opened.bind(("127.0.0.1", random.randrange(lowest // 2, lowest)))
            except OSError:
                opened.close()
                continue
            sockets.append(opened)
        return [opened.getsockname()[1] for opened in sockets]
    finally:
        for opened in sockets:
            opened.close()


@dataclass
class ControlPlane:
    """A running control plane. `kubeconfig` is an administrator's, `token` a plain user's without any rights."""

    directory: Path
    server: str
    authority: Authority
    admin: Pair
    token: str
    kubeconfig: Path
    port: int
    etcd_port: int
    peer_port: int
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    commands: dict[str, list[str]] = field(default_factory=dict)

    @property
    def kubeconfig_text(self) -> str:
        """The administrator's kubeconfig, as a provider gets it."""
        return self.kubeconfig.read_text()

    def run(self, name: str, *arguments: str) -> None:
        """Start a program, its output in `<name>.log`."""
        command = [str(binary(name)), *arguments]
        self.commands[name] = command
        with (self.directory / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [*ENDING_WITH_PARENT, *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.directory
            )

    def stop(self, name: str, *, kill: bool = False) -> None:
        """End one of the programs."""
        process = self.processes.pop(name)
        process.kill() if kill else process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def start_again(self, name: str) -> None:
        """Start a program again as it was started before; does not wait until it serves."""
        self.run(name, *self.commands[name][1:])

    def wait_until_ready(self, seconds: float = 60.0) -> None:
        """Block until the API server's /readyz says ok."""
        context = ssl.create_default_context(cadata=self.authority.cert.decode())
        context.load_cert_chain(self.directory / "admin.crt", self.directory / "admin.key")
        deadline = time.monotonic() + seconds
        while True:
            try:
                with urllib.request.urlopen(f"{self.server}/readyz", context=context, timeout=5) as answer:
                    if answer.status == 200:
                        return
            except (urllib.error.URLError, OSError):
                pass
            for name, process in self.processes.items():
                if process.poll() is not None:
                    raise RuntimeError(f"{name} ended: {self.log(name)}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"the API server is not ready: {self.log('kube-apiserver')}")
            time.sleep(0.1)

    def log(self, name: str) -> str:
        """The end of a program's output."""
        return (self.directory / f"{name}.log").read_text(errors="replace")[-3000:]

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl as administrator; what it prints."""
        result = subprocess.run(
            [str(binary("kubectl")), "--kubeconfig", str(self.kubeconfig), *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if result.returncode != 0:
            raise RuntimeError(f"kubectl {' '.join(arguments)}: {result.stderr}")
        return result.stdout

    def start_controllers(self) -> None:
        """Start kube-controller-manager, kube-scheduler and, for simulated nodes, kwok."""
        config = str(self.kubeconfig)
        (port_c, port_s, port_k) = free_ports(3)
        self.run(
            "kube-controller-manager",
            f"--kubeconfig={config}",
            f"--secure-port={port_c}",
            "--bind-address=127.0.0.1",
            "--leader-elect=false",
            f"--root-ca-file={self.directory / 'ca.crt'}",
            f"--service-account-private-key-file={self.directory / 'sa.key'}",
            "--use-service-account-credentials=true",
            "--kube-api-qps=200",
            "--kube-api-burst=400",
        )
        self.run(
            "kube-scheduler",
            f"--kubeconfig={config}",
            f"--secure-port={port_s}",
            "--bind-address=127.0.0.1",
            "--leader-elect=false",
        )
        self.run(
            "kwok",
            f"--kubeconfig={config}",
            f"--config={STAGES}",
            "--manage-all-nodes=false",
            "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
            f"--server-address=127.0.0.1:{port_k}",
            "--node-lease-duration-seconds=40",
        )

    def close(self) -> None:
        """End everything, the API server's clients first."""
        for name in reversed(list(self.processes)):
            self.stop(name, kill=True)


@contextlib.contextmanager
def control_plane(directory: Path, *, controllers: bool = False) -> Iterator[ControlPlane]:
    """A control plane in `directory`, ready to be used; with `controllers` also what makes workloads live."""
    plane = _serving(directory)
    try:
        if controllers:
            plane.start_controllers()
        yield plane
    finally:
        plane.close()


def _serving(directory: Path) -> ControlPlane:
    """A control plane that serves. Another process may take one of its ports before it does: then on other ports."""
    for _ in range(5):
        plane = _prepare(directory)
        try:
            _start_server(plane)
            plane.wait_until_ready()
            return plane
        except BaseException as error:
            plane.close()
            if "address already in use" not in str(error):
                raise
            shutil.rmtree(directory)
    raise RuntimeError("five times, another process took a port that had been free")


def _prepare(directory: Path) -> ControlPlane:
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    authority = Authority()
    admin = authority.client("admin", ["system:masters"])
    port, etcd_port, peer_port = free_ports(3)
    server = f"https://127.0.0.1:{port}"
    serving = authority.server(["localhost", "kubernetes.default.svc"])
    accounts = make_key()
    for name, data in {
        "ca.crt": authority.cert,
        "server.crt": serving.cert,
        "server.key": serving.key,
        "admin.crt": admin.cert,
        "admin.key": admin.key,
        "sa.key": accounts.key,
        "sa.pub": accounts.cert,
        "tokens.csv": b"plain-token,plain,plain\nroot-token,root,root,system:masters\n",
    }.items():
        (directory / name).write_bytes(data)
        (directory / name).chmod(0o600)
    kubeconfig = directory / "kubeconfig"
    kubeconfig.write_text(json.dumps(make_kubeconfig(server, authority.cert, _certificate_user(admin)), indent=1))
    kubeconfig.chmod(0o600)
    return ControlPlane(directory, server, authority, admin, "plain-token", kubeconfig, port, etcd_port, peer_port)


def make_kubeconfig(server: str, ca: bytes | None, user: dict[str, object]) -> dict[str, object]:
    """A kubeconfig with one context named `test`."""
    cluster: dict[str, object] = {"server": server}
    if ca:
        cluster["certificate-authority-data"] = base64.b64encode(ca).decode()
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": "test", "user": user}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "current-context": "test",
    }


def _certificate_user(pair: Pair) -> dict[str, object]:
    return {
        "client-certificate-data": base64.b64encode(pair.cert).decode(),
        "client-key-data": base64.b64encode(pair.key).decode(),
    }


def _start_server(plane: ControlPlane) -> None:
    here = plane.directory
    etcd = f"http://127.0.0.1:{plane.etcd_port}"
    plane.run(
        "etcd",
        f"--data-dir={here / 'etcd'}",
        f"--listen-client-urls={etcd}",
        f"--advertise-client-urls={etcd}",
        f"--listen-peer-urls=http://127.0.0.1:{plane.peer_port}",
        f"--initial-advertise-peer-urls=http://127.0.0.1:{plane.peer_port}",
        f"--initial-cluster=default=http://127.0.0.1:{plane.peer_port}",
        "--unsafe-no-fsync",
        "--log-level=error",
    )
    plane.run(
        "kube-apiserver",
        f"--etcd-servers={etcd}",
        f"--secure-port={plane.port}",
        "--bind-address=127.0.0.1",
        f"--cert-dir={here / 'certs'}",
        f"--tls-cert-file={here / 'server.crt'}",
        f"--tls-private-key-file={here / 'server.key'}",
        f"--client-ca-file={here / 'ca.crt'}",
        f"--token-auth-file={here / 'tokens.csv'}",
        f"--service-account-key-file={here / 'sa.pub'}",
        f"--service-account-signing-key-file={here / 'sa.key'}",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--service-cluster-ip-range=10.96.0.0/16",
        "--authorization-mode=RBAC",
        # As clusters have it: what refuses privileged pods is not a flag.
        "--allow-privileged=true",
        "--endpoint-reconciler-type=none",
        "--profiling=false",
    )
