"""A city over two clouds with real nodes side by side: an app and a capability on one, their database on the other, a
flow between them.

The tests follow each other in this order; every one begins with a city that is up.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.files import CityFiles, app, document, tenant
from tests.e2e.machine import Cluster, Done, Machine, eventually
from tests.stacks.partner import write_partner
from tests.support.real_node import require_real_node
from wecityctl.local.store import run_path
from wecityctl.model.variables import BINDING_ROOT

pytestmark = pytest.mark.node

NAME = "delta"
DOMAIN = f"{NAME}.gov.example"
HARBOUR, QUIET = "deploy/harbour-web", "deploy/quiet-web"
PORTS = "port-authority-internet"
DATABASE = "platform-application-exchange"
PSQL = "/usr/lib/postgresql/15/bin/psql"
FLOWS = (
    {"from": "internet", "to": "exchange", "ports": [5432], "approvedBy": "data-bureau", "reason": "berth records"},
    {"from": "internet", "to": "internet", "ports": [8080], "approvedBy": "data-bureau", "reason": "one entry point"},
)


@dataclass(slots=True)
class TwoClouds:
    """The city; `north` has the gateway and the apps, `south` the database and one app."""

    home: Machine
    files: CityFiles
    north: Cluster
    south: Cluster
    address: str = ""
    port: int = 0

    def up(self, *arguments: str) -> Done:
        done = self.home.run("up", self.files, "--yes", *arguments)
        entry = re.search(r"http://([0-9.]+):(\d+)/", done.out)
        assert entry, done
        self.address, self.port = entry[1], int(entry[2])
        return done

    def get(self, host: str, path: str = "/") -> tuple[int, str]:
        connection = http.client.HTTPConnection(self.address, self.port, timeout=10)
        try:
            connection.request("GET", path, headers={"Host": f"{host}.{DOMAIN}"})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def check(self, cluster: Cluster, namespace: str, pod: str, *arguments: str) -> dict[str, Any]:
        """A look at the network from inside a pod."""
        words = ("exec", "-n", namespace, pod, "--", "python3", "-m", "sample_app.check", *arguments)
        answer = cluster.kubectl(*words, code=None)
        lines = [line for line in answer.splitlines() if line.startswith("{")]
        assert lines, answer
        found: dict[str, Any] = json.loads(lines[-1])
        return found

    def binding(self, alias: str = "db") -> dict[str, str]:
        data = self.north.get("secret", f"harbour-binding-{alias}", "-n", PORTS)["data"]
        return {key: base64.b64decode(value).decode() for key, value in data.items()}


def city(directory: Path) -> CityFiles:
    """An authority with two apps on the northern cloud and one on the southern, where the database is."""

    def cloud(name: str, *zones: str) -> dict[str, Any]:
        return document("Cloud", name, {"provider": "local", "local": {"nodes": "real"}, "zones": list(zones)})

    uses = ({"app": "waterways/tide", "as": "tide"}, {"capability": "postgresql", "as": "db"})
    harbour = app("harbour", "port-authority", uses=uses)
    quiet, tide = app("quiet", "port-authority"), app("tide", "waterways")
    for each, place in ((harbour, "north"), (quiet, "north"), (tide, "south")):
        each["spec"]["cloud"] = place
    tide["spec"]["provides"] = [{"name": "berths", "to": ["port-authority/harbour"]}]
    capabilities = [
        {"name": "gateway", "cloud": "north"},
        {"name": "notices", "cloud": "north", "zone": "internet"},
        {"name": "postgresql", "cloud": "south", "zone": "exchange", "storage": "1Gi"},
    ]
    whole = {
        "domain": DOMAIN,
        "zones": [{"name": "internet", "kind": "internet"}, {"name": "exchange", "kind": "data-exchange"}],
        "flows": list(FLOWS),
        # The example is tested with HTTPS, this city with plain HTTP.
        "entry": {"tls": {"enabled": False}},
        "images": {"source": "built", "architectures": ["amd64"]},
    }
    files = {
        "city.yaml": [
            document("City", NAME, whole),
            cloud("north", "internet"),
            cloud("south", "internet", "exchange"),
            document("Platform", "application", {"capabilities": capabilities}),
        ],
        "port-authority.yaml": [tenant("port-authority"), harbour, quiet],
        "waterways.yaml": [tenant("waterways"), tide],
    }
    return CityFiles(directory, files).save()


@pytest.fixture(scope="module")
def partner(home: Machine) -> Iterator[None]:
    """The environment in which a partner's package is installed, whose capability keeps its rows in PostgreSQL."""
    home.anew = True
    directory = home.root / "site-packages"
    write_partner(directory, "notices")
    package = directory / "wecity_notices"
    # PostgreSQL's image has a client, and is there.
    for name, old, new in (
        ("__init__.py", 'images=("notices",)', 'images=("postgresql",)'),
        ("program.py", 'images["notices"]', 'images["postgresql"]'),
        ("program.py", "psql ", f"{PSQL} "),
    ):
        text = (package / name).read_text()
        assert text.count(old) == 1
        (package / name).write_text(text.replace(old, new))
    (package / "image" / "image.yaml").unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(directory))
        yield


@pytest.fixture(scope="module")
def two(home: Machine, partner: None) -> TwoClouds:
    require_real_node()
    files = city(home.root / "city")
    north, south = (Cluster(home.state / "clouds" / f"{NAME}-{name}" / "kubeconfig") for name in ("north", "south"))
    made = TwoClouds(home, files, north, south)
    made.up()
    return made


@pytest.fixture(scope="module")
def host_before() -> tuple[str, str]:
    return forwarding(), filters()


def forwarding() -> str:
    return Path("/proc/sys/net/ipv4/ip_forward").read_text()


def filters() -> str:
    return subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=False).stdout


def test_without_the_flow_the_city_is_refused_and_told_which_one_is_missing(home: Machine, partner: None) -> None:
    files = city(home.root / "closed")
    next(files.documents("City"))["spec"]["flows"] = [FLOWS[1]]
    files.save()
    # Of several uses that need it, one is named.
    for command in (("validate",), ("preview",), ("up", "--yes")):
        done = home.run(*command, files, code=2)
        assert "capability notices uses capability postgresql" in done.err
        assert "from: internet, to: exchange, ports: [5432]" in done.err
    capabilities = files.one("Platform", "application")["spec"]["capabilities"]
    capabilities[:] = [item for item in capabilities if item["name"] != "notices"]
    files.save()
    assert "app port-authority/harbour uses capability postgresql" in home.run("validate", files, code=2).err


def test_the_page_is_served_from_a_database_on_the_other_cloud(host_before: tuple[str, str], two: TwoClouds) -> None:
    status, page = two.get("harbour")
    assert status == 200
    assert '<dd id="database-database">port_authority_harbour_db' in page
    shown = json.loads(two.get("harbour", "/api/state")[1])["database"]
    secret = two.south.get("secret", "postgresql-admin", "-n", DATABASE)
    password = base64.b64decode(secret["data"]["password"]).decode()
    inside = ("exec", "-n", DATABASE, "postgresql-0", "-c", "postgresql", "--", "env", f"PGPASSWORD={password}")
    psql = (PSQL, "-h", "127.0.0.1", "-U", "postgres", "-d", "port_authority_harbour_db")
    assert two.south.kubectl(*inside, *psql, "-Atc", "SELECT note FROM sample_app").strip() == shown["note"]
    # The host has neither forwarded nor filtered a packet of it.
    assert (forwarding(), filters()) == host_before


def test_the_binding_is_an_address_and_the_administrators_secret_stays(two: TwoClouds) -> None:
    binding = two.binding()
    node = two.south.get("node", "real-0")["status"]["addresses"]
    assert binding["host"] in [item["address"] for item in node]
    service = two.south.get("service", "postgresql-crossing", "-n", DATABASE)["spec"]
    assert [str(item["nodePort"]) for item in service["ports"]] == [binding["port"]]
    assert f"@{binding['host']}:{binding['port']}/" in binding["uri"]
    # The address is in the server's certificate, so that the app checks who answers there.
    assert binding["sslmode"] == "verify-full"
    query = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
    assert two.check(two.north, PORTS, HARBOUR, "postgresql", query)["rows"] == [[True]]
    held = two.north.get("secrets", "-A")["items"]
    assert not [item for item in held if item["metadata"]["name"] == "postgresql-admin"]
    jobs = [item["metadata"]["name"] for item in two.south.get("jobs", "-n", DATABASE)["items"]]
    provisioning = sorted(name.rpartition("-")[0] for name in jobs if not name.startswith("postgresql-probe"))
    assert provisioning == ["crossing-capability-notices-db", "crossing-port-authority-harbour-db"]
    assert not two.north.get("jobs", "-n", PORTS)["items"]


def test_a_capability_keeps_its_rows_in_a_database_on_the_other_cloud(two: TwoClouds) -> None:
    uri = f"$(cat {BINDING_ROOT}/db/uri)"
    query = "SELECT current_database(), ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
    words = ("exec", "-n", "platform-application-internet", "deploy/notices", "--", "/bin/sh", "-c")
    said = two.north.kubectl(*words, f"{PSQL} \"{uri}\" -Atc '{query}'")
    assert said.strip() == "capability_notices_db|t"
    binding = two.north.get("secret", "notices-binding-db", "-n", "platform-application-internet")["data"]
    assert base64.b64decode(binding["port"]).decode() == two.binding()["port"]
    assert not two.north.get("jobs", "-n", "platform-application-internet")["items"]


def test_an_app_without_the_use_does_not_get_across(two: TwoClouds) -> None:
    host, port = two.binding()["host"], two.binding()["port"]
    assert two.check(two.north, PORTS, HARBOUR, "tcp", host, port)["ok"]
    seen = two.check(two.north, PORTS, QUIET, "--timeout", "2", "tcp", host, port)
    assert seen["error"] == "TimeoutError", seen


def test_an_app_reaches_the_app_that_it_uses_on_the_other_cloud(two: TwoClouds) -> None:
    binding = two.binding("tide")
    assert binding["uri"] == f"http://{binding['host']}:{binding['port']}"
    (port,) = two.south.get("service", "tide-web-berths-crossing", "-n", "waterways-internet")["spec"]["ports"]
    assert str(port["nodePort"]) == binding["port"]
    read = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=5).status)"
    inside = ("exec", "-n", PORTS, HARBOUR, "--", "python3", "-c", read, f"{binding['uri']}/healthz")
    assert two.north.kubectl(*inside).strip() == "200"
    seen = two.check(two.north, PORTS, QUIET, "--timeout", "2", "tcp", binding["host"], binding["port"])
    assert seen["error"] == "TimeoutError", seen


@pytest.mark.parametrize("port", ["10250", "22", "30086"])
def test_the_app_reaches_nothing_else_over_there(two: TwoClouds, port: str) -> None:
    seen = two.check(two.north, PORTS, HARBOUR, "--timeout", "2", "tcp", two.binding()["host"], port)
    assert not seen["ok"]


@pytest.fixture(scope="module")
def unfenced(two: TwoClouds) -> Iterator[str]:
    """A pod on the northern cloud in a namespace that no policy fences."""
    image = two.north.get("deployment", "quiet-web", "-n", PORTS)["spec"]["template"]["spec"]["containers"][0]["image"]
    security = {"runAsNonRoot": True, "runAsUser": 1234, "seccompProfile": {"type": "RuntimeDefault"}}
    container = {
        "name": "main",
        "image": image,
        "command": ["python3", "-m", "sample_app.check", "pause", "900"],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    spec = {"terminationGracePeriodSeconds": 0, "securityContext": security, "containers": [container]}
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "outside"}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "stranger", "namespace": "outside"}, "spec": spec}
    two.north.apply(space, pod)
    two.north.kubectl("wait", "--for=condition=Ready", "pod/stranger", "-n", "outside", "--timeout=80s")
    yield "stranger"
    two.north.kubectl("delete", "namespace", "outside")


def test_even_an_unfenced_pod_reaches_no_more_than_the_declared_node_port(two: TwoClouds, unfenced: str) -> None:
    """Whoever may make pods outside the city's namespaces is the cluster's administrator; the node's filter holds."""
    host = two.binding()["host"]
    pods = two.south.get("pod", "postgresql-0", "-n", DATABASE)["status"]["podIP"]
    for target, port in ((host, "10250"), (host, "30086"), (pods, "5432")):
        assert not two.check(two.north, "outside", unfenced, "--timeout", "2", "tcp", target, port)["ok"]


def test_the_gateway_leads_to_an_app_on_the_other_cloud(two: TwoClouds) -> None:
    status, page = two.get("tide")
    assert status == 200
    assert '<strong id="app">tide</strong>' in page
    harbour_to_tide = two.south.get("service", "tide-web-crossing", "-n", "waterways-internet")["spec"]["ports"][0]
    address = two.binding()["host"]
    seen = two.check(two.north, PORTS, HARBOUR, "--timeout", "2", "tcp", address, str(harbour_to_tide["nodePort"]))
    assert seen["error"] == "TimeoutError", seen


def test_the_second_up_changes_nothing(two: TwoClouds) -> None:
    assert f"nothing to change: {NAME} is as its files say" in two.up().out
    two.home.run("preview", two.files, "--detailed-exitcode")


def test_a_cloud_that_was_stopped_joins_its_neighbour_again(two: TwoClouds) -> None:
    two.home.run("local", "stop", "--name", f"{NAME}-south")
    two.up()
    assert eventually(lambda: two.get("harbour", "/api/state")[0] == 200, 90)


def test_a_node_that_dies_joins_its_neighbour_again_by_itself(two: TwoClouds) -> None:
    """Its supervisor starts it anew; nobody runs `up`."""
    first = run_path(two.home.state / "clouds" / f"{NAME}-south") / "node.pid"
    before = first.read_text()
    os.kill(int(before), signal.SIGKILL)
    assert eventually(lambda: first.read_text() != before, 60)
    assert eventually(lambda: two.get("harbour", "/api/state")[0] == 200, 150)


def test_what_crosses_no_longer_has_no_way(two: TwoClouds) -> None:
    """The use leaves the files: its policy goes on both sides, and with the last interconnect use the port."""
    host, port = two.binding()["host"], two.binding()["port"]
    two.files.one("App", "harbour")["spec"]["uses"] = []
    capabilities = two.files.one("Platform", "application")["spec"]["capabilities"]
    capabilities[:] = [item for item in capabilities if item["name"] != "notices"]
    two.files.save()
    two.up(f"--confirm={NAME}")
    # The node itself refuses it now: no flow is left that would open this port.
    seen = two.check(two.north, PORTS, HARBOUR, "--timeout", "2", "tcp", host, port)
    assert "No route to host" in seen["message"], seen
    assert "NotFound" in two.south.kubectl("get", "service", "postgresql-crossing", "-n", DATABASE, code=1)


def test_destroy_leaves_nothing_of_the_city_on_either_cloud(two: TwoClouds) -> None:
    two.home.run("destroy", two.files, f"--confirm={NAME}", "--delete-data")
    assert two.north.objects_of(NAME) == two.south.objects_of(NAME) == set()
