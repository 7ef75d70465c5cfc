"""When a real node is ready: what it reports itself, of this run and not of a former one, and that its DNS answers."""

from __future__ import annotations

import calendar
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from wecityctl.errors import DeploymentError, TimedOutError
from wecityctl.local.api import Api, ApiError
from wecityctl.local.node.configure import Node
from wecityctl.local.node.layout import NODE_NAME

Object = dict[str, Any]

NODE_PATH = f"/api/v1/nodes/{NODE_NAME}"
_DNS_NAME = "kubernetes.default.svc.cluster.local"


def started(node: Node) -> float:
    """When the node's namespaces were made, in seconds since the epoch."""
    try:
        return node.layout.hold_state.stat().st_mtime
    except FileNotFoundError as error:
        raise DeploymentError("the node is not running", details=str(node.layout.hold_state)) from error


def node_is_ready(node: Mapping[str, Any], since: float) -> bool:
    """Whether the Node object says so; it outlives the node, and what a former run reported does not count."""
    conditions = {each["type"]: each for each in node.get("status", {}).get("conditions", ())}
    ready = conditions.get("Ready", {})
    return bool(ready.get("status") == "True" and _seconds(ready.get("lastHeartbeatTime")) >= int(since))


def stale_pods(pods: list[Object], since: float) -> tuple[str, ...]:
    """Pods that still show a container of a former run as running: the kubelet has not looked at them yet."""
    return tuple(
        f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
        for pod in pods
        if any(_seconds(begun) < int(since) for begun in _running_since(pod))
    )


def pods_on_node(api: Api) -> list[Object]:
    """Every pod that the node has been given."""
    found: list[Object] = api.get("/api/v1/pods", fieldSelector=f"spec.nodeName={NODE_NAME}")["items"]
    return found


def dns_answers(address: str, timeout: float = 1.0) -> bool:
    """Whether the cluster's DNS, asked from the host at its cluster IP, knows the API server's name."""
    identifier = os.urandom(2)
    labels = b"".join(bytes([len(part)]) + part.encode() for part in _DNS_NAME.split("."))
    # RFC 1035: one question, recursion desired, type A, class IN.
    query = identifier + b"\x01\x00" + b"\x00\x01" + b"\x00\x00" * 3 + labels + b"\x00" + b"\x00\x01\x00\x01"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection:
        connection.settimeout(timeout)
        try:
            connection.connect((address, 53))
            connection.send(query)
            answer = connection.recv(512)
        except OSError:
            return False
    response_code, answers = answer[3] & 0x0F, int.from_bytes(answer[6:8], "big")
    return answer[:2] == identifier and response_code == 0 and answers > 0


def answers(path: Path, question: str) -> bool:
    """Whether somebody answers a line on a Unix socket; it also accepts for a process that has been stopped."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(1.0)
        try:
            connection.connect(str(path))
            connection.sendall(question.encode() + b"\n")
            return bool(connection.recv(1))
        except OSError:
            return False


def wait(what: str, done: Callable[[], bool], timeout: float) -> None:
    """Ask until the answer is yes; raises `TimedOutError`."""
    deadline = time.monotonic() + timeout
    problem = ""
    while time.monotonic() < deadline:
        try:
            if done():
                return
            problem = ""
        except ApiError as error:
            problem = error.message
        time.sleep(0.1)
    raise TimedOutError(
        f"{what} did not come in {timeout:.0f} s", details=problem, resolution="wecityctl local status says more"
    )


def _running_since(pod: Object) -> Iterator[str]:
    status = pod.get("status", {})
    for container in (*status.get("containerStatuses", ()), *status.get("initContainerStatuses", ())):
        running = container.get("state", {}).get("running")
        if running:
            yield running.get("startedAt") or ""


def _seconds(timestamp: str | None) -> float:
    """RFC 3339 in UTC, as the API writes it; 0 for none."""
    return calendar.timegm(time.strptime(timestamp, "%Y-%m-%dT%H:%M:%SZ")) if timestamp else 0.0
