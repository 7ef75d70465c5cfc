"""Defines the node's processes as supervised services: how they enter the namespaces, dependencies, readiness."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from wecityctl.local.driver import Context
from wecityctl.local.node.configure import METRICS_PORT, RECORDS, STOP_GRACE, Node
from wecityctl.local.node.layout import INSIDE_RUN, NODE_NAME
from wecityctl.local.service import Probe, Service
from wecityctl.toolchain import locate

HOLD = "node-hold"
_API = "kube-apiserver"
# nsenter has to fork for the PID namespace. It must survive the stop signal to the process group, or its child would be
# an orphan that nobody waits for. The child receives the signal itself, and is signalled if nsenter is killed.
_ENTER = (
    'trap "" TERM; read -r pid <"$0" && exec nsenter --target "$pid" --net --mount --pid --'
    ' env --default-signal=TERM setpriv --pdeathsig TERM "$@"'
)
# containerd runs in its own session, out of reach of the stop signal, because containers have to end first. When
# containerd crashes, containers keep running, and the restarted containerd finds them.
_CONTAINERD = (
    'end=$0; trap "stop=1" TERM; setsid setpriv --pdeathsig KILL "$@" & '
    'wait $!; code=$?; [ -z "$stop" ] || { sh -c "$end"; kill -TERM $!; wait $!; code=$?; }; exit $code'
)
# The start of a gRPC connection with empty settings (RFC 9113, 3.4); the server responds with its own at once.
_HTTP2_PREFACE = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + "\0\0\0\4\0\0\0\0\0"
_WAIT = 'until [ -e "$0" ]; do sleep 0.2; done; exec "$@"'


def build(ctx: Context, node: Node) -> tuple[Service, ...]:
    """All services of the node. Equal input gives equal services."""
    return (
        _hold(node),
        _containerd(node),
        _kubelet(node),
        _kube_proxy(node),
        _policy_agent(node),
        _metrics_server(node),
    )


def entered(node: Node, *command: str) -> tuple[str, ...]:
    """`command` to be run inside the node's namespaces."""
    return ("/bin/sh", "-c", _ENTER, str(node.layout.pid_file), *command)


def _hold(node: Node) -> Service:
    return Service(
        HOLD,
        (sys.executable, "-m", "wecityctl.local.node.namespaces", str(node.layout.hold_spec)),
        # The dependency is for stopping: pods end while the API server still serves them.
        after=(_API,),
        ready=Probe("file", target=str(node.layout.hold_state), interval=0.05),
        alive=Probe("process", target=str(node.layout.pid_file)),
        ready_timeout=20,
        stop_timeout=STOP_GRACE + 10,
    )


def _containerd(node: Node) -> Service:
    binary = locate("containerd")
    end = (sys.executable, "-m", "wecityctl.local.node.endpods", node.cgroup, str(STOP_GRACE))
    return Service(
        "containerd",
        entered(
            node,
            *("/bin/sh", "-c", _CONTAINERD, shlex.join(end)),
            *(str(binary), "--config", node.layout.inside("etc", "containerd.toml")),
        ),
        env=_path(binary, locate("runc"), locate("nft")),
        bound_to=(HOLD,),
        ready=Probe("socket", target=str(node.layout.containerd_socket), say=_HTTP2_PREFACE, interval=0.05),
        ready_timeout=30,
        stop_timeout=STOP_GRACE + 10,
    )


def _kubelet(node: Node) -> Service:
    binary = locate("kubelet")
    return Service(
        "kubelet",
        entered(
            node,
            str(binary),
            f"--config={node.layout.inside('etc', 'kubelet.json')}",
            f"--kubeconfig={node.layout.inside('etc', 'kubelet.kubeconfig')}",
            f"--root-dir={node.layout.inside('kubelet')}",
            f"--cert-dir={node.layout.inside('kubelet', 'pki')}",
            f"--hostname-override={NODE_NAME}",
            f"--node-ip={node.block.node_ip}",
        ),
        env=_path(binary, locate("nft")),
        after=(_API,),
        bound_to=("containerd",),
        # Unauthenticated requests get a response too, namely that they are not authorised.
        ready=_https(node, 10250, "healthz"),
        ready_timeout=60,
    )


def _kube_proxy(node: Node) -> Service:
    binary = locate("kube-proxy")
    return Service(
        "kube-proxy",
        entered(node, str(binary), f"--config={node.layout.inside('etc', 'kube-proxy.json')}"),
        env=_path(locate("nft")),
        after=(_API,),
        bound_to=(HOLD,),
        ready=Probe("http", target=f"http://{node.block.node_ip}:10256/livez", any_status=True),
        ready_timeout=60,
    )


def _policy_agent(node: Node) -> Service:
    arguments = {
        "--kubeconfig": node.layout.inside("etc", "netpol.kubeconfig"),
        "--pod-cidr": node.block.pod_cidr,
        "--records": RECORDS,
        "--socket": str(INSIDE_RUN / node.layout.POLICY_SOCKET),
    }
    command = (sys.executable, "-m", "wecityctl.local.netpol", *(each for pair in arguments.items() for each in pair))
    return Service(
        "netpol",
        entered(node, *command),
        env=_path(locate("nft")),
        after=(_API,),
        bound_to=(HOLD,),
        # Ready when running: in a new cloud its role is created later; the driver waits for its socket.
        ready=None,
        alive=Probe("socket", target=str(node.layout.policy_socket), say="state\n"),
    )


def _metrics_server(node: Node) -> Service:
    etc = node.layout.inside("etc")
    kubeconfig = f"{etc}/metrics-server.kubeconfig"
    return Service(
        "metrics-server",
        entered(
            node,
            *_once_roles_are_made(node),
            str(locate("metrics-server")),
            f"--bind-address={node.block.node_ip}",
            f"--secure-port={METRICS_PORT}",
            f"--tls-cert-file={etc}/metrics-server.crt",
            f"--tls-private-key-file={etc}/metrics-server.key",
            f"--kubeconfig={kubeconfig}",
            f"--authentication-kubeconfig={kubeconfig}",
            f"--authorization-kubeconfig={kubeconfig}",
            "--kubelet-preferred-address-types=InternalIP",
            f"--kubelet-certificate-authority={etc}/ca.crt",
            "--metric-resolution=15s",
        ),
        after=(_API,),
        bound_to=(HOLD,),
        ready=_https(node, METRICS_PORT, "livez"),
        ready_timeout=300,
        # Metrics for autoscalers and `top`; the cloud works without them.
        required=False,
    )


def _https(node: Node, port: int, path: str) -> Probe:
    """A probe that requires an HTTP response with any status, because the port of a stopped process still accepts."""
    ca = str(node.layout.etc / "ca.crt")
    return Probe("http", target=f"https://{node.block.node_ip}:{port}/{path}", ca=ca, any_status=True)


def _once_roles_are_made(node: Node) -> tuple[str, ...]:
    """A command prefix that waits for the roles, for programs that exit if the API server rejects them."""
    return ("/bin/sh", "-c", _WAIT, node.layout.inside(node.layout.roles_made.name))


def _path(*binaries: Path) -> dict[str, str]:
    """A PATH with the helpers of a service: shims, runc, nft, mount."""
    system = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
    return {"PATH": ":".join(dict.fromkeys((*(str(binary.parent) for binary in binaries), *system)))}
