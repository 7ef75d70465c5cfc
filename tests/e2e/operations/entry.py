"""Requests at the city's entry point, from outside the cluster."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections import Counter

from tests.e2e.files import CityFiles
from tests.e2e.machine import Machine
from tests.e2e.operations.conftest import NAME, Node


def ask(home: Machine, city: CityFiles, node: Node, app: str, count: int, path: str = "/") -> Counter[tuple[str, int]]:
    """Bodies and statuses of the answers to requests to an app, over one connection."""
    host = f"{app}.{next(city.documents('City'))['spec']['domain']}"
    entry = home.run("outputs", city, "--stack", "entry", "-o", "json").json()["outputs"][f"{NAME}.entry"]
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPConnection(host, entry["node_port"], timeout=5)
    plain = socket.create_connection((node.address, entry["node_port"]), timeout=5)
    connection.sock = context.wrap_socket(plain, server_hostname=host)
    found: Counter[tuple[str, int]] = Counter()
    try:
        for _ in range(count):
            connection.request("GET", path, headers={"Host": host})
            answer = connection.getresponse()
            found[answer.read().decode(), answer.status] += 1
    finally:
        connection.close()
    return found
