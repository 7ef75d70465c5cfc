"""An app calls the app that it uses, and what either side does not state is refused."""

from __future__ import annotations

import json

import pytest

from tests.e2e.county.apps import NAME, SPACE
from tests.e2e.files import CityFiles
from tests.e2e.machine import Cluster, Machine, eventually

pytestmark = pytest.mark.node

CALL = """
import os, sys, urllib.request
address = sys.argv[1] if len(sys.argv) > 1 else os.environ["LOANS"]
print(urllib.request.urlopen(f"{address}/healthz", timeout=3).status)
"""


def call(cluster: Cluster, app: str, *address: str, namespace: str = SPACE) -> str:
    """What a pod of the app gets from the address, by default that of its binding."""
    pod = ("exec", "-n", namespace, f"deploy/{app}-web")
    return cluster.kubectl(*pod, "--", "python3", "-c", CALL, *address).strip()


def test_an_app_calls_the_app_that_it_uses_and_a_foreign_one_does_not(
    home: Machine, city: CityFiles, cluster: Cluster
) -> None:
    assert call(cluster, "gardens") == "200"
    address = "http://loans-web.library-internet.svc.cluster.local:8080"
    read = ("exec", "-n", SPACE, "deploy/gardens-web", "--", "cat", "/bindings/loans/uri")
    assert cluster.kubectl(*read) == address
    # Of the same tenant and namespace, allowed by the provider, and without a use; and the way back.
    for other, namespace, to in (
        ("ponds", SPACE, address),
        ("loans", "library-internet", f"http://gardens-web.{SPACE}.svc.cluster.local:8080"),
    ):
        with pytest.raises(AssertionError, match="timed out"):
            call(cluster, other, to, namespace=namespace)
    addresses = home.run("status", city, "-o", "json", code=None).json()["addresses"]
    found = {(item["app"], item["way"], item["name"]): item["address"] for item in addresses}
    assert found[("parks/gardens", "uses", "loans")] == address.removeprefix("http://")
    assert found[("library/loans", "provides", "api")] == address.removeprefix("http://")
    assert found[("parks/gardens", "route", "")] == f"gardens.{NAME}.gov.example/"


def test_one_side_alone_opens_nothing(cluster: Cluster) -> None:
    """Without the provider's policy the user's does not help, nor the reverse."""
    for namespace, name in (("library-internet", "loans-provides-api"), (SPACE, "gardens-to-loans")):
        spec = cluster.get("networkpolicy", name, "-n", namespace)["spec"]
        patch(cluster, namespace, name, {**spec, "ingress": [], "egress": []})
        eventually(lambda: is_refused(cluster))
        patch(cluster, namespace, name, spec)
        eventually(lambda: not is_refused(cluster))


def patch(cluster: Cluster, namespace: str, name: str, spec: dict[str, object]) -> None:
    """Give a network policy another specification."""
    text = json.dumps([{"op": "replace", "path": "/spec", "value": spec}])
    cluster.kubectl("patch", "networkpolicy", name, "-n", namespace, "--type=json", "-p", text)


def is_refused(cluster: Cluster) -> bool:
    """Whether the app does not reach the one that it uses."""
    try:
        return call(cluster, "gardens") != "200"
    except AssertionError:
        return True
