"""Data services on a real node: an app publishes a table, one of another tenant reads what it is granted, and one
without the right is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.e2e.county.apps import SPACE
from tests.e2e.files import CityFiles
from tests.e2e.machine import Cluster, Machine, eventually

pytestmark = pytest.mark.node

# What apps do with their bindings, with what is in the sample's image: statements to their database, and requests
# `METHOD PATH BODY`, whose answers are code and JSON.
CLIENT = """
import base64, json, os, ssl, sys, urllib.error, urllib.request
def binding(alias):
    root = os.environ["SERVICE_BINDING_ROOT"] + f"/{alias}/"
    return {name: open(root + name).read() for name in os.listdir(root) if not name.startswith(".")}
def trusting(b):
    return ssl.create_default_context(cadata=b["ca.crt"])
def run(statement):
    import pg8000.native
    b = binding("db")
    names = {"user": b["username"], "password": b["password"], "database": b["database"]}
    database = pg8000.native.Connection(**names, host=b["host"], port=int(b["port"]), ssl_context=trusting(b))
    database.run(statement)
    database.close()
def ask(method, path, *body):
    b = binding("data")
    secret = base64.b64encode(f"{b['username']}:{b['password']}".encode()).decode()
    text = body[0].encode() if body else None
    request = urllib.request.Request(b["uri"] + path, text, {"Authorization": "Basic " + secret}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20, context=trusting(b)) as answer:
            return [answer.status, json.loads(answer.read())]
    except urllib.error.HTTPError as error:
        return [error.code, json.loads(error.read())]
found = []
for word in sys.argv[1:]:
    is_request = word.split()[0] in ("GET", "PUT")
    found.append(ask(*word.split(" ", 2)) if is_request else run(word))
print(json.dumps(found))
"""
TREES = "parks/gardens/trees"
DOCUMENT = {
    "kind": "table",
    "title": "古树名木",
    "sharing": "conditional",
    "columns": [
        {"name": "id", "class": "open"},
        {"name": "name", "class": "open"},
        {"name": "keeper", "class": "personal"},
    ],
    "table": {"database": "parks_gardens_db", "schema": "public", "name": "trees", "key": ["id"]},
    "grants": [{"tenant": "library", "app": "loans", "columns": ["id", "name"]}],
}


def send(cluster: Cluster, app: str, *words: str, space: str = SPACE) -> list[Any]:
    """What comes of each statement or request of an app."""
    command = ("exec", "-n", space, f"deploy/{app}-web", "--", "python3", "-c", CLIENT, *words)
    found: list[Any] = json.loads(cluster.kubectl(*command))
    return found


@pytest.mark.proves("data-services", "ran", "used", "refused")
def test_an_app_of_another_tenant_reads_what_it_is_granted(home: Machine, city: CityFiles, cluster: Cluster) -> None:
    ((code, me),) = send(cluster, "gardens", "GET /me")
    assert (code, me["tenant"], me["app"]) == (200, "parks", "gardens")
    *_, (code, made) = send(
        cluster,
        "gardens",
        "CREATE TABLE trees (id int PRIMARY KEY, name text, keeper text)",
        "INSERT INTO trees VALUES (1, '银杏', 'ann'), (2, '香樟', 'bob')",
        f"COMMENT ON TABLE trees IS 'data asset {TREES}'",
        f"GRANT CONNECT ON DATABASE parks_gardens_db TO {me['reader']}",
        f"GRANT SELECT (id, name) ON trees TO {me['reader']}",
        f"PUT /assets/{TREES} {json.dumps(DOCUMENT)}",
    )
    assert (code, made) == (200, {"asset": TREES, "version": 1})
    (_, page), (refused, why) = send(
        cluster, "loans", f"GET /data/{TREES}", f"GET /data/{TREES}?columns=keeper", space="library-internet"
    )
    assert page["rows"] == [[1, "银杏"], [2, "香樟"]]
    assert (refused, why) == (403, {"reason": 'column "keeper" is not granted'})
    # Of the owner's own tenant, without a grant.
    assert send(cluster, "albums", f"GET /data/{TREES}")[0][0] == 403
    home.run("preview", city, "--detailed-exitcode")


def test_assets_outlive_the_pod(cluster: Cluster) -> None:
    cluster.kubectl("delete", "pod", "data-services-0", "-n", "platform-data")
    eventually(lambda: _ready(cluster))
    eventually(lambda: send(cluster, "loans", f"GET /data/{TREES}", space="library-internet")[0][0] == 200)


def _ready(cluster: Cluster) -> bool:
    return bool(cluster.get("statefulset", "data-services", "-n", "platform-data")["status"].get("readyReplicas"))
