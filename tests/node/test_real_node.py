"""What people use a real node for: pods, probes, logs, exec, Services, DNS, node ports, volumes, metrics."""

from __future__ import annotations

import time
import urllib.request

import pytest

from tests.support.node_cloud import NodeCloud, eventually, pod

pytestmark = pytest.mark.node


def _service(name: str, **spec: object) -> dict[str, object]:
    ports = [{"port": 80, "targetPort": 8080, **spec.pop("port", {})}]  # type: ignore[dict-item]
    body = {"selector": {"app": name}, "ports": ports, **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": body}


@pytest.fixture(scope="module")
def web(node: NodeCloud) -> NodeCloud:
    """A server with a readiness probe, as a user without privileges, and a client beside it."""
    server = {
        "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
        "ports": [{"containerPort": 8080, "hostPort": 8099}],
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "resources": {"limits": {"cpu": "500m", "memory": "64Mi"}},
    }
    node.apply(
        pod("web", "serve", ":8080", container=server),
        pod("client", "pause"),
        _service("web", type="NodePort", port={"nodePort": 30080}),
    )
    node.ready("web", "client")
    return node


def _host_get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=3) as answer:
        return str(answer.read().decode())


def test_node_says_what_it_is(node: NodeCloud) -> None:
    found = node.get("node", "real-0")
    labels = found["metadata"]["labels"]
    assert labels["wecity.dev/simulated"] == "false"
    assert labels["wecity.dev/zone.internet"] == labels["wecity.dev/zone.extranet"] == "true"
    assert not found["spec"].get("taints")
    assert {"address": node.address, "type": "InternalIP"} in found["status"]["addresses"]


def test_logs(web: NodeCloud) -> None:
    assert "serving on :8080" in web.kubectl("logs", "web")


def test_exec_tells_exit_code(web: NodeCloud) -> None:
    assert web.execute("client", "read", "/etc/hostname").strip() == "client"
    assert "exit code 1" in web.execute("client", "read", "/nowhere", check=False)


@pytest.mark.parametrize("host", ["web", "web.default", "web.default.svc.cluster.local"])
def test_service_by_name(web: NodeCloud, host: str) -> None:
    assert "pod=web" in eventually(lambda: web.execute("client", "get", f"http://{host}"))


def test_service_by_cluster_ip_keeps_source(web: NodeCloud) -> None:
    address = web.get("service", "web")["spec"]["clusterIP"]
    client = web.get("pod", "client")["status"]["podIP"]
    assert f"from={client} " in eventually(lambda: web.execute("client", "get", f"http://{address}"))


def test_pod_to_pod_keeps_source(web: NodeCloud) -> None:
    server, client = (web.get("pod", name)["status"]["podIP"] for name in ("web", "client"))
    assert f"from={client} " in web.execute("client", "get", f"http://{server}:8080")


def test_headless_service_resolves_to_pods(web: NodeCloud) -> None:
    headless = {**_service("web", clusterIP="None"), "metadata": {"name": "web-headless"}}
    web.apply(headless)
    address = web.get("pod", "web")["status"]["podIP"]
    assert eventually(lambda: web.execute("client", "resolve", "web-headless")).split() == [address]


def test_unknown_names_fail_at_once(web: NodeCloud) -> None:
    begun = time.monotonic()
    assert "no such host" in web.execute("client", "resolve", "www.example.com", check=False)
    assert time.monotonic() - begun < 3


def test_node_port_from_host(web: NodeCloud) -> None:
    assert "pod=web" in eventually(lambda: _host_get(f"http://{web.address}:30080"))


def test_node_port_with_host_header(web: NodeCloud) -> None:
    request = urllib.request.Request(f"http://{web.address}:30080", headers={"Host": "app.city.example"})
    with urllib.request.urlopen(request, timeout=3) as answer:
        assert "host=app.city.example" in answer.read().decode()


def test_host_port(web: NodeCloud) -> None:
    assert "pod=web" in eventually(lambda: _host_get(f"http://{web.address}:8099"))


def test_cluster_ip_from_host(web: NodeCloud) -> None:
    """Admission webhooks and aggregated APIs are called so."""
    address = web.get("service", "web")["spec"]["clusterIP"]
    assert "pod=web" in eventually(lambda: _host_get(f"http://{address}"))


def test_pods_reach_api_server_and_nothing_else_of_the_host(web: NodeCloud) -> None:
    assert web.running is not None
    api = web.running.server.removeprefix("https://")
    assert "connected" in web.execute("client", "dial", "kubernetes.default:443")
    assert "connected" in web.execute("client", "dial", api)
    host = api.rpartition(":")[0]
    assert "no route to host" in web.execute("client", "dial", f"{host}:22", check=False)
    assert "no route to host" in web.execute("client", "dial", "192.0.2.77:80", check=False)


def test_network_policy_cuts_off(web: NodeCloud) -> None:
    address = web.get("pod", "web")["status"]["podIP"]
    policy = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "closed"},
        "spec": {"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Ingress"]},
    }
    web.apply(policy)
    try:
        eventually(lambda: "timeout" in web.execute("client", "dial", f"{address}:8080", check=False))
    finally:
        web.kubectl("delete", "networkpolicy", "closed")
    assert "connected" in eventually(lambda: web.execute("client", "dial", f"{address}:8080"))


def test_top(web: NodeCloud) -> None:
    lines = eventually(lambda: web.kubectl("top", "pods", "--no-headers"), 60).splitlines()
    assert any(line.startswith("web ") for line in lines)
    assert "real-0" in web.kubectl("top", "nodes")


def test_autoscaler_reads_load(node: NodeCloud) -> None:
    container = {
        "name": "main",
        "image": "wecity.test/probe:1",
        "command": ["/bin/probe", "burn"],
        "resources": {"requests": {"cpu": "50m"}, "limits": {"cpu": "200m"}},
    }
    labels = {"app": "busy"}
    spec = {"terminationGracePeriodSeconds": 0, "containers": [container]}
    node.apply(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "busy"},
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": spec},
            },
        }
    )
    node.kubectl("autoscale", "deployment", "busy", "--min=1", "--max=2", "--cpu=50%")
    try:
        eventually(lambda: node.get("hpa", "busy")["status"].get("desiredReplicas") == 2, 90)
    finally:
        node.kubectl("delete", "hpa,deployment", "busy")


def test_restart_of_containerd_leaves_pods_running(web: NodeCloud) -> None:
    """A crash of the runtime is not a crash of what it runs."""
    from wecityctl.local import cloud

    before = web.get("pod", "web")["status"]["containerStatuses"][0]["containerID"]
    killed = _service_pid("containerd")
    import os
    import signal

    os.killpg(killed, signal.SIGKILL)
    eventually(lambda: _service_pid("containerd") not in (0, killed), 30)
    eventually(lambda: cloud.status("node-test").health == "healthy", 60)
    after = web.get("pod", "web")["status"]["containerStatuses"][0]
    assert after["containerID"] == before and after["restartCount"] == 0
    assert "pod=web" in eventually(lambda: web.execute("client", "get", "http://web"))


def _service_pid(name: str) -> int:
    from wecityctl.local import cloud

    services = {each.name: each for each in cloud.status("node-test").services}
    return services[name].pid
