"""Defines etcd, API server, controller manager and scheduler as supervised services: configuration files and flags.

The reasons for the flags are in docs/decisions. The supervisor starts and watches the services.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from pathlib import Path

from wecityctl.local.driver import Context, Network
from wecityctl.local.pki import FRONT_PROXY_CA, KeyPair
from wecityctl.local.service import Probe, Service
from wecityctl.paths import write_private
from wecityctl.toolchain import locate

APISERVER, CONTROLLERS, SCHEDULER, ETCD = "kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd"
LOOPBACK = "127.0.0.1"
# Nobody connects to simulated pods, so their addresses only have to be unique.
SIMULATED_NETWORK = Network(api_address=LOOPBACK, service_cidr="10.96.0.0/16", pod_cidr="10.128.0.0/9")
CLUSTER_DOMAIN = "cluster.local"

# Simulated nodes report every ten minutes (see stages.yaml), so that 600 of them are cheap; two reports may be missed.
_SIMULATED_GRACE = "35m"
_REAL_GRACE = "40s"
# Checks the types in each admission policy against the API server's whole description, for a warning in the policy's
# status that nothing here reads: two thirds of the controllers' CPU time in a first `up`. Policies hold without it.
_TYPE_CHECKER = "validatingadmissionpolicy-status-controller"


def port_addresses(network: Network) -> dict[str, str]:
    """The ports that a control plane needs, by name, with the address on which each must be free."""
    return {
        APISERVER: network.api_address,
        CONTROLLERS: LOOPBACK,
        SCHEDULER: LOOPBACK,
    }


def services(ctx: Context, ports: Mapping[str, int]) -> tuple[Service, ...]:
    """The four services. Writes all files that they read."""
    return (_etcd(ctx), _apiserver(ctx, ports), _controllers(ctx, ports), _scheduler(ctx, ports))


def _etcd(ctx: Context) -> Service:
    # Unix sockets in a private directory need neither port nor TLS. etcd requires URLs with ports, but a cluster with a
    # single member never connects to them.
    peer = "http://127.0.0.1:2380"
    data = ctx.directory / "etcd"
    argv = (
        str(locate("etcd")),
        "--name=default",
        f"--data-dir={data}",
        f"--listen-client-urls=unix://{ctx.run}/etcd.sock",
        "--advertise-client-urls=http://127.0.0.1:2379",
        # Relative to cwd: from an absolute path, etcd would create an abstract socket, which every user can connect to.
        "--listen-peer-urls=unix://etcd-peer.sock",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--log-level=warn",
        # Large enough for a very large city, and a limit for the disk.
        f"--quota-backend-bytes={4 * 1024**3}",
    )
    # A response is required, because the socket of a stopped etcd also accepts connections.
    ready = Probe("socket", f"{ctx.run}/etcd.sock", say="GET /version HTTP/1.0\r\n\r\n", interval=0.05)
    return Service(ETCD, argv, cwd=str(ctx.run), ready=ready)


def _apiserver(ctx: Context, ports: Mapping[str, int]) -> Service:
    pki, network = ctx.pki, ctx.network
    real = not ctx.spec.simulated
    service_ip = str(ipaddress.ip_network(network.service_cidr)[1])
    names = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", f"kubernetes.default.svc.{CLUSTER_DOMAIN}")
    hosts = (*names, "localhost", LOOPBACK, network.api_address, service_ip)
    serving = pki.server("apiserver", APISERVER, hosts)
    kubelet = pki.client("apiserver-kubelet-client", "kube-apiserver-kubelet-client", ("system:masters",))
    front_proxy = pki.client("front-proxy-client", "front-proxy-client", authority=FRONT_PROXY_CA)
    authority = pki.authority().certificate
    key = pki.service_account_key()
    flags = {
        "etcd-servers": f"unix://{ctx.run}/etcd.sock",
        "bind-address": network.api_address,
        "secure-port": str(ports[APISERVER]),
        "advertise-address": network.api_address,
        # A loopback address cannot be an endpoint of the kubernetes Service, and simulated pods do not need it.
        "endpoint-reconciler-type": "lease" if real else "none",
        "service-cluster-ip-range": network.service_cidr,
        "allow-privileged": "true",
        "authorization-mode": "Node,RBAC",
        "enable-admission-plugins": "NodeRestriction",
        "authentication-config": str(_authentication(ctx)),
        "client-ca-file": str(authority),
        **_tls(serving),
        "service-account-issuer": f"https://kubernetes.default.svc.{CLUSTER_DOMAIN}",
        "service-account-key-file": str(key),
        "service-account-signing-key-file": str(key),
        "encryption-provider-config": str(pki.encryption_config()),
        "kubelet-certificate-authority": str(authority),
        "kubelet-client-certificate": str(kubelet.certificate),
        "kubelet-client-key": str(kubelet.key),
        "kubelet-preferred-address-types": "InternalIP",
        "requestheader-client-ca-file": str(pki.authority(FRONT_PROXY_CA).certificate),
        "requestheader-allowed-names": "front-proxy-client",
        "requestheader-extra-headers-prefix": "X-Remote-Extra-",
        "requestheader-group-headers": "X-Remote-Group",
        "requestheader-username-headers": "X-Remote-User",
        "proxy-client-cert-file": str(front_proxy.certificate),
        "proxy-client-key-file": str(front_proxy.key),
        "enable-aggregator-routing": "true",
        # With a single user, API priority and fairness would only cost start-up time and writes.
        "enable-priority-and-fairness": "false",
        "profiling": "false",
        # It would expose /var/log of this machine to everybody who may read the cluster's logs.
        "enable-logs-handler": "false",
    }
    if not real:
        # Simulated nodes are created ready, so the taint for unready nodes would only cost one more write per node.
        flags["disable-admission-plugins"] = "TaintNodesByCondition"
    probe = Probe("http", f"{ctx.server}/readyz", ca=str(authority))
    argv = (str(locate(APISERVER)), *_flags(flags))
    # etcd is ready in a tenth of a second; the dependency makes it stop last.
    return Service(APISERVER, argv, after=(ETCD,), ready=probe, stop_timeout=20.0)


def _controllers(ctx: Context, ports: Mapping[str, int]) -> Service:
    authority = ctx.pki.authority()
    serving = ctx.pki.server("controller-manager", CONTROLLERS, (LOOPBACK, "localhost"))
    flags = {
        "kubeconfig": str(ctx.kubeconfig_for(f"system:{CONTROLLERS}")),
        "bind-address": LOOPBACK,
        "secure-port": str(ports[CONTROLLERS]),
        **_tls(serving),
        "leader-elect": "false",
        "use-service-account-credentials": "true",
        "service-account-private-key-file": str(ctx.pki.service_account_key()),
        "root-ca-file": str(authority.certificate),
        "cluster-signing-cert-file": str(authority.certificate),
        "cluster-signing-key-file": str(authority.key),
        "controllers": f"*,-{_TYPE_CHECKER}",
        "allocate-node-cidrs": "false",
        "node-monitor-grace-period": _SIMULATED_GRACE if ctx.spec.simulated else _REAL_GRACE,
        # The default rate limits are for shared control planes and would slow down the roll-out of a city.
        "kube-api-qps": "1000",
        "kube-api-burst": "2000",
        "concurrent-namespace-syncs": "20",
        "concurrent-resource-quota-syncs": "10",
        "profiling": "false",
    }
    probe = Probe("http", f"https://{LOOPBACK}:{ports[CONTROLLERS]}/healthz", ca=str(authority.certificate))
    return Service(CONTROLLERS, (str(locate(CONTROLLERS)), *_flags(flags)), after=(APISERVER,), ready=probe)


def _scheduler(ctx: Context, ports: Mapping[str, int]) -> Service:
    serving = ctx.pki.server("scheduler", SCHEDULER, (LOOPBACK, "localhost"))
    config = {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "clientConnection": {
            "kubeconfig": str(ctx.kubeconfig_for(f"system:{SCHEDULER}")),
            "qps": 1000,
            "burst": 2000,
        },
        "leaderElection": {"leaderElect": False},
    }
    path = _write(ctx.directory / "conf" / "scheduler.json", config)
    flags = {
        "config": str(path),
        "bind-address": LOOPBACK,
        "secure-port": str(ports[SCHEDULER]),
        **_tls(serving),
        "profiling": "false",
    }
    ca = str(ctx.pki.authority().certificate)
    probe = Probe("http", f"https://{LOOPBACK}:{ports[SCHEDULER]}/readyz", ca=ca)
    return Service(SCHEDULER, (str(locate(SCHEDULER)), *_flags(flags)), after=(APISERVER,), ready=probe)


def _authentication(ctx: Context) -> Path:
    # Anonymous requests are allowed only for the health endpoints that the supervisor probes.
    config = {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthenticationConfiguration",
        "anonymous": {"enabled": True, "conditions": [{"path": path} for path in ("/livez", "/readyz", "/healthz")]},
    }
    return _write(ctx.directory / "conf" / "authentication.json", config)


def _tls(pair: KeyPair) -> dict[str, str]:
    return {"tls-cert-file": str(pair.certificate), "tls-private-key-file": str(pair.key)}


def _flags(flags: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(f"--{name}={value}" for name, value in flags.items())


def _write(path: Path, value: Mapping[str, object]) -> Path:
    data = json.dumps(value, indent=2).encode()
    if not (path.exists() and path.read_bytes() == data):
        write_private(path, data)
    return path
