"""The workflow engine as the stacks declare it, served on the loopback interface, and a client for its interface."""

from __future__ import annotations

import http.client
import json
import ssl
import time
import urllib.request
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from stacks.platforms import tls
from stacks.platforms.application.workflow.access import PATH
from stacks.platforms.application.workflow.provision import PROVISIONER
from tests.attack.databases import bind_database
from tests.attack.served import ADMIN, Attacked, Served, wait_until
from tests.attack.served import PASSWORD as DATABASE_PASSWORD
from tests.docs.blocks import ROOT, blocks_of
from tests.images.rootfs import RootFilesystem, free_port

DATABASE = "capability_workflow_db"
PASSWORD = "password-of-an-app"
# The sample process, as the page shows it.
(SAMPLE,) = (
    block.text for block in blocks_of(ROOT / "docs/how-to/ask-for-approvals.md") if block.file == "permit.bpmn20.xml"
)
# A server that lives for a minute gains nothing from Java's second compiler, which takes half of its time.
_JAVA = "-XX:TieredStopAtLevel=1 -Djava.net.preferIPv4Stack=true"
Answer = tuple[int, Any]
LISTS = (
    "repository/deployments",
    "repository/process-definitions",
    "runtime/process-instances",
    "runtime/tasks",
    "history/historic-process-instances",
    "history/historic-task-instances",
)
# Queries for pages that there are not.
PAGES = ("size=1&size=2", "size=100000", "size=-1", "start=x")
WHOLE_ENGINE = (
    "/process-api/management/engine",
    "/process-api/management/jobs",
    "/process-api/management/tables/ACT_RU_TASK/data",
    "/process-api/identity/users",
    "/process-api/runtime/executions",
    "/process-api/runtime/signals",
    "/process-api/event-registry-repository/deployments",
    "/process-api/repository/models",
    "/process-api/history/historic-detail",
    "/process-api/repository/deployments/1/resources",
    "/actuator",
    "/actuator/env",
    "/actuator/prometheus",
    "/external-job-api/jobs",
    "/idm-api/users",
    "/",
)
# Which another reader might take for other paths.
DOUBTFUL = (
    "runtime/tasks/..%2F..%2Factuator%2Fenv",
    "runtime/tasks/%2e%2e%2f1",
    "runtime/tasks/1;a=b",
    "runtime/tasks/1%00",
    "runtime/tasks/../../actuator/env",
    "runtime//tasks/1",
    "runtime/tasks/1%3FtenantId=x",
)


@dataclass(frozen=True)
class Flowable:
    """A server on `port`, with its port of administration and that of the engine itself, behind it."""

    served: Served
    port: int
    admin: int
    engine: int

    @property
    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cadata=self.served.authority)

    def send(
        self, account: str, path: str, body: Any = None, method: str = "", password: str = "", port: int = 0
    ) -> Answer:
        """What the server answers to an account, whose path is sent as it is: status and JSON."""
        known = ADMIN if account == "admin" else PASSWORD
        signed = b64encode(f"{account}:{password or known}".encode()).decode()
        headers = {"Authorization": f"Basic {signed}"} if account else {}
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        if isinstance(body, bytes):
            headers["Content-Type"] = "multipart/form-data; boundary=part"
        elif body is not None:
            headers["Content-Type"] = "application/json"
        return self._ask(port or self.port, method or ("GET" if body is None else "POST"), path, content, headers)

    def _ask(self, port: int, method: str, path: str, content: bytes | None, headers: Mapping[str, str]) -> Answer:
        plain = port == self.engine
        connection = (
            http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            if plain
            else http.client.HTTPSConnection("127.0.0.1", port, timeout=60, context=self.context)
        )
        try:
            connection.request(method, path, content, dict(headers))
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        is_json = "json" in (answer.getheader("Content-Type") or "")
        return answer.status, json.loads(text) if is_json and text else text.decode()

    def api(self, account: str, path: str, body: Any = None, method: str = "") -> Answer:
        return self.send(account, f"{PATH}/{path}", body, method)

    def deploy(self, account: str, text: str, name: str = "permit.bpmn20.xml") -> Answer:
        return self.api(account, "repository/deployments", multipart(text, name))

    def begin(self, account: str, key: str, **variables: Any) -> str:
        """The id of a new instance."""
        given = [{"name": name, "value": value} for name, value in variables.items()]
        status, found = self.api(
            account, "runtime/process-instances", {"processDefinitionKey": key, "variables": given}
        )
        assert status == 201, found
        return str(found["id"])

    def tasks(self, account: str, instance: str) -> list[dict[str, Any]]:
        status, found = self.api(account, f"runtime/tasks?processInstanceId={instance}")
        assert status == 200, found
        return list(found["data"])

    def shared(self, account: str) -> list[dict[str, Any]]:
        """The tasks that others have addressed to an account's app."""
        status, found = self.send(account, "/shared/tasks")
        assert status == 200, found
        return list(found["data"])

    def variables(self, account: str, instance: str) -> dict[str, Any]:
        """Those of an instance, which may have ended."""
        status, found = self.api(account, f"history/historic-variable-instances?processInstanceId={instance}&size=200")
        assert status == 200, found
        return {item["variable"]["name"]: item["variable"]["value"] for item in found["data"]}

    def run(self, script: str, *accounts: str, code: int = 0, **values: str) -> str:
        """What one of the capability's scripts prints; `accounts` are the lines that it is given."""
        for old, new in self.served.replacing:
            script = script.replace(old, new)
        where = {"HOST": "127.0.0.1", "PORT": str(self.port), "ADMIN_PASSWORD": ADMIN, "AUTHORITY": tls.AUTHORITY}
        env: dict[str, Any] = {**where, "ACCOUNTS": "\n".join(accounts), **values}
        done = self.served.image.run("/bin/sh", "-c", script, **env)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def inventory(self) -> dict[str, list[str]]:
        """Owner, bytes, state and since of each account."""
        lines = [line.split() for line in self.run(PROVISIONER.inventory).splitlines()]
        assert all(words[0] == "account" and len(words) == 6 for words in lines), lines
        return {words[1]: words[2:] for words in lines}

    def metrics(self) -> str:
        return str(self.send("", "/metrics", port=self.admin)[1])

    @contextmanager
    def another(self) -> Iterator[Flowable]:
        """A second server over the same database, as the pod that follows this one."""
        found = Flowable(self.served, free_port(), free_port(), free_port())
        with found.running("another", (f":{self.port} ", f":{found.port} "), (f":{self.admin}", f":{found.admin}")):
            yield found

    @contextmanager
    def running(self, name: str, *replacing: tuple[str, str]) -> Iterator[None]:
        command = self.served.command(
            "workflow", *replacing, ("exec workflow", f"exec workflow -engine-port {self.engine}")
        )
        with self.served.running(name, command, ADMIN_PASSWORD=ADMIN, JAVA_TOOL_OPTIONS=_JAVA):
            try:
                wait_until(self.is_ready, 360, period=1)
                yield
            except BaseException:
                print("\n".join(self.served.log[-40:]))
                raise

    def is_ready(self) -> bool:
        """As the kubelet asks."""
        path = self.served.container("workflow")["readinessProbe"]["httpGet"]["path"]
        url = f"https://127.0.0.1:{self.port}{path}"
        try:
            urllib.request.urlopen(url, timeout=10, context=self.context).close()
        except OSError:
            return False
        return True


@contextmanager
def workflow_server(city: Attacked, image: RootFilesystem, database: Served) -> Iterator[Flowable]:
    """The workflow engine of `city` over the `database` of the same city, where it has been provisioned."""
    served = Served(city, "workflow", image)
    admin = free_port()
    served.replacing = ((":8080", f":{served.port}"), (":8081", f":{admin}"))
    served.certify()
    bind_database(image, database, DATABASE, DATABASE_PASSWORD)
    found = Flowable(served, served.port, admin, free_port())
    began = time.monotonic()
    with found.running("workflow"):
        print(f"the workflow engine is ready after {time.monotonic() - began:.0f} s")
        yield found


def multipart(text: str, name: str) -> bytes:
    """A body with one file."""
    head = f'--part\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
    return f"{head}{text}\r\n--part--\r\n".encode()


def process(steps: str, key: str = "hostile") -> str:
    """A definition that goes from its start to `task`, with these steps on its second line."""
    spaces = {"": "http://www.omg.org/spec/BPMN/20100524/MODEL", ":flowable": "http://flowable.org/bpmn"}
    named = "".join(f' xmlns{prefix}="{space}"' for prefix, space in spaces.items())
    start = '<startEvent id="begin"/><sequenceFlow id="first" sourceRef="begin" targetRef="task"/>'
    head = f'<definitions{named} targetNamespace="test"><process id="{key}" isExecutable="true">'
    return f"{head}{start}\n{steps}</process></definitions>"


def line(account: str) -> str:
    """An account and its owner, as scripts are given them."""
    return f"{account} {account.replace('.', '/')}"


def answers(properties: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return [{"id": name, "value": value} for name, value in properties.items()]
