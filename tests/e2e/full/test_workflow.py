"""An approval by people of two tenants in a real cluster, by the bindings of their apps; another app is refused."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from tests.attack.workflow import SAMPLE, answers, multipart
from tests.e2e.machine import Cluster

pytestmark = pytest.mark.node

# What an app does with its binding, with nothing but Python: method, path, and on standard input a body.
ASK = """
import base64, http.client, os, ssl, sys, urllib.parse
root = os.environ["SERVICE_BINDING_ROOT"] + "/flow/"
b = {name: open(root + name).read() for name in os.listdir(root) if not name.startswith(".")}
uri, (method, path, kind) = urllib.parse.urlsplit(b["uri"]), sys.argv[1:]
context = ssl.create_default_context(cadata=b["ca.crt"])
server = http.client.HTTPSConnection(uri.hostname, uri.port, timeout=60, context=context)
signed = base64.b64encode(f"{b['username']}:{b['password']}".encode()).decode()
headers = {"Authorization": "Basic " + signed, "Content-Type": kind}
server.request(method, path if path.startswith("/shared") else uri.path + "/" + path, sys.stdin.buffer.read(), headers)
answer = server.getresponse()
print(answer.status, answer.read().decode())
"""


@dataclass(frozen=True)
class App:
    """An app, as far as it asks the workflow engine from its pod."""

    cluster: Cluster
    namespace: str
    workload: str

    def ask(self, path: str, body: Any = None, method: str = "") -> tuple[int, Any]:
        """Status and content of an answer."""
        if isinstance(body, bytes):
            kind, text = "multipart/form-data; boundary=part", body.decode()
        else:
            kind, text = "application/json", json.dumps(body) if body else ""
        command = ("exec", "-i", "-n", self.namespace, f"deploy/{self.workload}", "--", "python3", "-c", ASK)
        said = self.cluster.kubectl(*command, method or ("POST" if body else "GET"), path, kind, stdin=text)
        status, _, content = said.partition(" ")
        return int(status), json.loads(content) if content.strip() else None

    def one(self, path: str) -> dict[str, Any]:
        """The only entry of a list."""
        status, found = self.ask(path)
        assert (status, len(found["data"])) == (200, 1), (path, found)
        entry: dict[str, Any] = found["data"][0]
        return entry


@pytest.mark.proves("workflow", "ran", "used", "refused")
def test_an_approval_by_people_of_two_tenants(cluster: Cluster) -> None:
    """The process of the page: the health commission asks the transport bureau for the closing of a street."""
    health = App(cluster, "health-commission-internet", "health-code-web")
    roads = App(cluster, "transport-bureau-internet", "roads-web")
    assert health.ask("repository/deployments", multipart(SAMPLE, "permit.bpmn20.xml"))[0] == 201
    street = [{"name": "street", "value": "Renmin Road"}, {"name": "patients", "value": "nobody's business"}]
    status, begun = health.ask("runtime/process-instances", {"processDefinitionKey": "permit", "variables": street})
    assert status == 201, begun
    instance = begun["id"]

    # The other tenant sees the task and its form, and nothing of the instance.
    task = roads.one("/shared/tasks")
    assert task["from"] == "health-commission/health-code"
    form = roads.ask(f"/shared/tasks/{task['id']}")[1]
    assert "Renmin Road" in str(form)
    assert "business" not in str(form)
    for path in (f"runtime/process-instances/{instance}", f"runtime/tasks/{task['id']}"):
        assert roads.ask(path)[0] == 404, path
    assert roads.ask("repository/process-definitions")[1]["total"] == 0
    decided = {"by": "li", "properties": answers({"approved": True, "reason": "no roadworks"})}
    assert roads.ask(f"/shared/tasks/{task['id']}", decided)[0] == 204

    approved = health.one(f"history/historic-task-instances?processInstanceId={instance}&finished=true")
    assert approved["assignee"] == "transport-bureau/roads/li"
    publish = health.one(f"runtime/tasks?processInstanceId={instance}")
    assert publish["name"] == "Publish the closing"
    assert health.ask(f"runtime/tasks/{publish['id']}", {"action": "complete"})[0] == 200
    assert health.ask(f"history/historic-process-instances/{instance}")[1]["endActivityId"] == "closed"
