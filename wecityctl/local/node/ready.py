"""Detects when a real node is ready: the node's own report, from this run and not a previous one, and working DNS."""

from __future__ import annotations

import calendar
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from wecityctl import cancellation
from wecityctl.errors import DeploymentError, TimedOutError
from wecityctl.local.api import Api, ApiError
from wecityctl.local.node.configure import Node
from wecityctl.local.node.layout import NODE_NAME

Object = dict[str, Any]

NODE_PATH = f"/api/v1/nodes/{NODE_NAME}"
_DNS_NAME = "kubernetes.default.svc.cluster.local"


def started(node: Node) -> float:
    """The time when the node's namespaces were created, in seconds since the epoch."""
    try:
        return node.layout.hold_state.stat().st_mtime
    except FileNotFoundError as error:
        raise DeploymentError("the node is not running", details=str(node.layout.hold_state)) from error


def node_is_ready(node: Mapping[str, Any], since: float) -> bool:
    """Whether the Node object reports ready after `since`.

    The object outlives the node, so older reports are ignored.
    """
    conditions = {each["type"]: each for each in node.get("status", {}).get("conditions", ())}
    ready = conditions.get("Ready", {})
    return bool(ready.get("status") == "True" and _seconds(ready.get("lastHeartbeatTime")) >= int(since))


def stale_pods(pods: list[Object], since: float) -> tuple[str, ...]:
    """Pods that still show a container of a previous run as running, because the kubelet has not updated them yet."""
    return tuple(
        f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
        for pod in pods
        if any(_seconds(begun) < int(since) for begun in _running_since(pod))
    )


def pods_on_node(api: Api) -> list[Object]:
    """All pods that are scheduled to the node."""
    found: list[Object] = api.get("/api/v1/pods", fieldSelector=f"spec.nodeName={NODE_NAME}")["items"]
    return found


def dns_answers(address: str, timeout: float = 1.0) -> bool:
    """Whether the cluster's DNS, queried from the host at its cluster IP, resolves the API server's name."""
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
    """Whether a process answers a line on a Unix socket.

    Accepting alone proves nothing: a stopped process accepts too.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(1.0)
        try:
            connection.connect(str(path))
            connection.sendall(question.encode() + b"\n")
            return bool(connection.recv(1))
        except OSError:
            return False


def wait(what: str, done: Callable[[], bool], timeout: float) -> None:
    """Poll `done` until it is true; `timeout` in seconds. Raises `TimedOutError`."""
    deadline = time.monotonic() + timeout
    problem = ""
    while time.monotonic() < deadline:
        try:
            if done():
                return
            problem = ""
        except ApiError as error:
            problem = error.message
        cancellation.check()
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
    """Parse an RFC 3339 timestamp in UTC, as the API writes it; 0 for `None`."""
    return calendar.timegm(time.strptime(timestamp, "%Y-%m-%dT%H:%M:%SZ")) if timestamp else 0.0
