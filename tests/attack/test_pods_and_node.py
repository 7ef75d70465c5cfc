"""A pod that wants at the node: its programs, the host behind it, with and without network policies."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from tests.support.node_cloud import NodeCloud, eventually, pod
from wecityctl.local import cloud
from wecityctl.local.node import cgroups, machine
from wecityctl.local.node.configure import METRICS_PORT
from wecityctl.local.node.kubelet import POD_PROCESSES
from wecityctl.local.node.network import Block
from wecityctl.local.store import Store

pytestmark = pytest.mark.node

KUBELET, KUBE_PROXY = 10250, 10256
POLICIES = {
    "default-deny": {"podSelector": {"matchLabels": {"fenced": "yes"}}, "policyTypes": ["Ingress", "Egress"]},
    "scrape": {
        "podSelector": {"matchLabels": {"app": "scraper"}},
        "policyTypes": ["Egress"],
        "egress": [{"to": [{"ipBlock": {"cidr": "{node}/32"}}], "ports": [{"port": KUBELET}]}],
    },
}


@pytest.fixture(scope="module")
def attacked(node: NodeCloud) -> Iterator[NodeCloud]:
    """An open pod, one behind default-deny, one that may scrape the kubelet; all of them probed by it."""
    policies = [
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": name},
            "spec": _filled(spec, node.address),
        }
        for name, spec in POLICIES.items()
    ]
    probed = {"readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1}}
    pods = [
        pod("stranger", "serve", ":8080", container={**probed, "ports": [{"containerPort": 8080, "hostPort": 8098}]}),
        *(pod(name, "serve", ":8080", container=probed) for name in ("fenced", "scraper")),
    ]
    for each in pods[1:]:
        each["metadata"]["labels"]["fenced"] = "yes"
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "stranger"},
        "spec": {"type": "NodePort", "selector": {"app": "stranger"}, "ports": [{"port": 8080, "nodePort": 30098}]},
    }
    node.apply(*policies, *pods, service)
    # Their readiness is the node's own probes, which pass both ways.
    node.ready("stranger", "fenced", "scraper")
    yield node
    node.kubectl("delete", "pod,service,networkpolicy", *("stranger", "fenced", "scraper", *POLICIES), check=False)


def _filled(spec: object, address: str) -> object:
    if isinstance(spec, dict):
        return {key: _filled(value, address) for key, value in spec.items()}
    if isinstance(spec, list):
        return [_filled(item, address) for item in spec]
    return spec.replace("{node}", address) if isinstance(spec, str) else spec


def _block(cloud: NodeCloud) -> Block:
    return next(
        block
        for network in Block.parse("198.18.0.0/21").network.supernet(new_prefix=15).subnets(new_prefix=21)
        if (block := Block(network)).node_ip == cloud.address
    )


@pytest.mark.parametrize("who", ["stranger", "fenced", "scraper"])
def test_a_pod_reaches_no_program_of_the_node(attacked: NodeCloud, who: str) -> None:
    """The node's address and the pods' own gateway, which is the node too; TCP and ICMP."""
    block = _block(attacked)
    gateway = str(next(_network(block.pod_cidr)))
    ports = {KUBELET, KUBE_PROXY, METRICS_PORT} - ({KUBELET} if who == "scraper" else set())
    for address in (block.node_ip, gateway):
        for port in ports | ({KUBELET} if address == gateway else set()):
            assert "timeout" in attacked.execute(who, "dial", f"{address}:{port}", check=False), (address, port)
        assert "timeout" in attacked.execute(who, "ping", address, check=False), address
    metrics = attacked.get("service", "metrics-server", "-n", "kube-system")["spec"]["clusterIP"]
    assert "timeout" in attacked.execute(who, "dial", f"{metrics}:443", check=False)


def _network(cidr: str) -> Iterator[IPv4Address]:
    return IPv4Network(cidr).hosts()


def test_a_declared_flow_to_a_port_of_the_node_passes(attacked: NodeCloud) -> None:
    assert "connected" in attacked.execute("scraper", "dial", f"{attacked.address}:{KUBELET}")


def test_a_node_port_leads_nowhere_that_its_pod_does_not(attacked: NodeCloud) -> None:
    """The way over the node's address is judged by the pods at its ends."""
    served = f"{attacked.address}:30098"
    other = pod("visitor", "pause")
    attacked.apply(other)
    try:
        attacked.ready("visitor")
        assert "connected" in attacked.execute("visitor", "dial", served)
        for who in ("fenced", "scraper"):
            assert "timeout" in attacked.execute(who, "dial", served, check=False)
    finally:
        attacked.kubectl("delete", "pod", "visitor", "--wait=false")


def test_a_pod_reaches_no_address_of_the_host(attacked: NodeCloud) -> None:
    """Its own addresses, other clouds' bridges among them, and link-local ones; nothing over IPv6."""
    found = subprocess.run(["ip", "-o", "-4", "address", "show"], capture_output=True, text=True, check=True).stdout
    own = {line.split()[3].partition("/")[0] for line in found.splitlines()} - {"127.0.0.1"}
    assert _block(attacked).bridge_ip in own
    for address in (*sorted(own), "169.254.169.254"):
        answer = attacked.execute("stranger", "dial", f"{address}:22", check=False)
        assert "no route to host" in answer or "timeout" in answer, address
    assert "answered" not in attacked.execute("stranger", "ping", _block(attacked).bridge_ip, check=False)
    answer = attacked.execute("stranger", "dial", "[fe80::1%eth0]:10250", check=False)
    assert "connected" not in answer and "refused" not in answer


def test_a_pod_takes_no_more_processes_than_its_part_and_all_of_them_not_the_machines(attacked: NodeCloud) -> None:
    answer = attacked.execute("stranger", "spawn", check=False)
    found = re.search(r"failed to create new OS thread \(have (\d+) already", answer)
    assert found is not None, answer[-2000:]
    assert POD_PROCESSES - 200 < int(found[1]) <= POD_PROCESSES
    attacked.ready("fenced")
    # The cloud's own group, whatever the kubelet does below it.
    kernel = Path("/proc/sys/kernel")
    most = min(int((kernel / name).read_text()) for name in ("pid_max", "threads-max"))
    state = Store.of(attacked.spec.name).load()
    assert state is not None
    groups = cgroups.detect().groups(f"wecity-{state.cloud_id}")
    limits = [path.read_text().strip() for each in groups if (path := each / "pids.max").exists()]
    assert limits == [str(most // 2)]


def test_a_pod_takes_its_own_users_inotify_instances_and_not_roots(attacked: NodeCloud) -> None:
    """In a user namespace it would take root's too (docs/decisions/0055)."""
    watcher = pod("watcher", "watch", securityContext={"runAsUser": 64999, "runAsNonRoot": True})
    attacked.apply(watcher)
    try:
        attacked.ready("watcher")
        said = eventually(lambda: attacked.kubectl("logs", "watcher"))
        assert int(said.split()[1]) > 0 and "too many open files" in said, said
        assert machine.free_watches(1) == 1
    finally:
        attacked.kubectl("delete", "pod", "watcher", "--wait=false")


def test_the_filter_is_the_kernels_own_and_stands_without_the_agent(attacked: NodeCloud) -> None:
    """What is in force for an agent that does not run: pods without known policies reach nothing of the node."""
    (agent,) = (each for each in cloud.status(attacked.spec.name).services if each.name == "netpol")
    os.killpg(agent.pid, 9)
    assert "timeout" in attacked.execute("fenced", "dial", f"{attacked.address}:{KUBELET}", check=False)
    attacked.ready("fenced")
