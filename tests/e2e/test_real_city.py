"""The example city on a real node: what citizens see, what apps may reach, and what is left when it stops.

The tests follow each other in this order; every one begins with a city that is up.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from stacks.catalogue import load_catalogue
from stacks.pem import certificates_of, key_of
from tests.attack.ports import of_run
from tests.e2e.files import CityFiles, app, example
from tests.e2e.machine import Cluster, Done, Machine, eventually
from tests.stacks import cities
from tests.support.real_node import require_real_node
from wecityctl.engine.secrets.certificates import renewed
from wecityctl.plan import make_plan

pytestmark = pytest.mark.node

NAME = "real"
DOMAIN = "xingcheng.gov.example"
APPLICATION = "platform-application"
HEALTH, EXTRANET, TRANSPORT = "health-commission-internet", "health-commission-extranet", "transport-bureau-internet"
HEALTH_CODE, VACCINATION = (HEALTH, "deploy/health-code-web"), (EXTRANET, "deploy/vaccination-web")
OUTSIDE = "e2e-outside"
DIAL = """
import json, socket, sys
from concurrent.futures import ThreadPoolExecutor

def dial(target):
    host, port = target.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), 2).close()
    except OSError as error:
        return type(error).__name__
    return "connected"

with ThreadPoolExecutor(len(sys.argv)) as pool:
    print(json.dumps(dict(zip(sys.argv[1:], pool.map(dial, sys.argv[1:])))))
"""
PSQL = "/usr/lib/postgresql/15/bin/psql"


@dataclass(slots=True)
class RealCity:
    """The city, its machine and its cluster; `address` and `ports` (by host) are the entry points', `authority` the
    file with the certificates that they are checked with."""

    home: Machine
    files: CityFiles
    cluster: Cluster
    address: str = ""
    ports: dict[str, int] = field(default_factory=dict)
    authority: str = ""

    def up(self, *arguments: str) -> Done:
        done = self.home.run("up", self.files, "--yes", *arguments)
        entries = re.findall(r"curl --cacert (\S+) --resolve ([^:\s]+):(\d+):([0-9.]+) https://", done.out)
        assert entries, done
        self.authority, self.address = entries[0][0], entries[0][3]
        self.ports = {host: int(port) for _, host, port, _ in entries}
        return done

    @property
    def port(self) -> int:
        """The node port of the internet's entry point."""
        return self.ports[f"health-code.{DOMAIN}"]

    @property
    def inner_port(self) -> int:
        """The node port of the extranet's entry point."""
        return self.ports[f"vaccination.{DOMAIN}"]

    def get(self, host: str, path: str = "/", timeout: float = 10, port: int = 0) -> tuple[int, str]:
        """Status and body of a request to the entry point of the host, over a connection of its own.

        A host that no entry point serves is asked for at the internet's, unless `port` says otherwise.
        """
        context = ssl.create_default_context(cafile=self.authority)
        # Any name below the domain is in the certificate; what no certificate has is asked for all the same.
        context.check_hostname = host.endswith(DOMAIN)
        plain = socket.create_connection((self.address, port or self.ports.get(host, self.port)), timeout=timeout)
        connection = http.client.HTTPConnection(self.address, self.port, timeout=timeout)
        connection.sock = plain
        try:
            connection.sock = context.wrap_socket(plain, server_hostname=host)
            connection.request("GET", path, headers={"Host": host})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def state_of(self, app: str) -> dict[str, Any]:
        status, body = self.get(f"{app}.{DOMAIN}", "/api/state")
        assert status == 200, body
        found: dict[str, Any] = json.loads(body)
        return found

    def check(self, place: tuple[str, str], *arguments: str) -> dict[str, Any]:
        """A look at the network from inside a pod."""
        namespace, pod = place
        words = ("exec", "-n", namespace, pod, "--", "python3", "-m", "sample_app.check", *arguments)
        answer = self.cluster.kubectl(*words, code=None)
        lines = [line for line in answer.splitlines() if line.startswith("{")]
        assert lines, answer
        found: dict[str, Any] = json.loads(lines[-1])
        return found

    def dials(self, place: tuple[str, str], targets: list[str]) -> dict[str, str]:
        """What became of TCP connections from inside a pod to each `host:port`: `connected`, or the error's name."""
        namespace, pod = place
        words = ("exec", "-n", namespace, pod, "--", "python3", "-c", DIAL, *targets)
        found: dict[str, str] = json.loads(self.cluster.kubectl(*words))
        return found

    def sql(self, database: str, query: str) -> str:
        """A query as PostgreSQL's administrator, inside its own pod."""
        secret = self.cluster.get("secret", "postgresql-admin", "-n", APPLICATION)
        password = base64.b64decode(secret["data"]["password"]).decode()
        inside = ("exec", "-n", APPLICATION, "postgresql-0", "-c", "postgresql", "--", "env", f"PGPASSWORD={password}")
        call = (PSQL, "-h", "127.0.0.1", "-U", "postgres", "-d", database, "-Atc", query)
        return self.cluster.kubectl(*inside, *call).strip()

    def binding(self, alias: str) -> dict[str, str]:
        """What the bus app's Secret of a binding holds."""
        data = self.cluster.get("secret", f"bus-arrival-binding-{alias}", "-n", TRANSPORT)["data"]
        return {key: base64.b64decode(value).decode() for key, value in data.items()}

    def pod_address(self, name: str) -> str:
        return str(self.cluster.get("pod", name, "-n", APPLICATION)["status"]["podIP"])

    def service_address(self, name: str) -> str:
        return str(self.cluster.get("service", name, "-n", APPLICATION)["spec"]["clusterIP"])


@pytest.fixture(scope="module")
def real(home: Machine) -> RealCity:
    require_real_node()
    files = example(home.root / "city", NAME, "real")
    made = RealCity(home, files, Cluster(home.state / "clouds" / f"{NAME}-main" / "kubeconfig"))
    made.up()
    return made


def stranger(name: str, namespace: str, image: str) -> dict[str, Any]:
    """A pod with the sample app's image and nobody's labels, that only waits to be entered."""
    container = {
        "name": "main",
        "image": image,
        "command": ["python3", "-m", "sample_app.check", "pause", "900"],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    security = {"runAsNonRoot": True, "runAsUser": 1234, "seccompProfile": {"type": "RuntimeDefault"}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "securityContext": security,
            "containers": [container],
        },
    }


@pytest.fixture(scope="module")
def strangers(real: RealCity) -> Iterator[tuple[tuple[str, str], ...]]:
    """Two pods without a binding: in a tenant's namespace, and in one that no policy fences."""
    image = real.cluster.get("deployment", "health-code-web", "-n", HEALTH)["spec"]["template"]["spec"]["containers"][0]
    places = (HEALTH, OUTSIDE)
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": OUTSIDE}}
    real.cluster.apply(space, *(stranger("stranger", place, image["image"]) for place in places))
    try:
        for place in places:
            real.cluster.kubectl("wait", "--for=condition=Ready", "pod/stranger", "-n", place, "--timeout=80s")
        yield tuple((place, "stranger") for place in places)
    finally:
        # With the cloud, which the last test takes down, they are gone too.
        if real.cluster.kubeconfig.exists():
            real.cluster.kubectl("delete", "pod/stranger", "-n", HEALTH, "--wait=false", "--ignore-not-found")
            real.cluster.kubectl("delete", "namespace", OUTSIDE)


@pytest.mark.parametrize(
    ("host", "app", "tenant", "title"),
    [
        ("health-code", "health-code", "health-commission", "健康码"),
        ("vaccination", "vaccination", "health-commission", "疫苗接种预约"),
        ("bus", "bus-arrival", "transport-bureau", "公交到站"),
    ],
)
@pytest.mark.proves("gateway", "ran", "used")
def test_the_entry_point_serves_each_apps_page_with_what_it_read_from_its_own_database(
    real: RealCity, host: str, app: str, tenant: str, title: str
) -> None:
    status, page = real.get(f"{host}.{DOMAIN}")
    assert status == 200
    assert f'<strong id="app">{app}</strong>' in page
    assert f'<strong id="tenant">{tenant}</strong>' in page
    assert title in page
    # The extranet's app has no database: it would share one with apps of the internet.
    database = f'<dd id="database-database">{tenant}_{app}_db'.replace("-", "_")
    for row in (f"{title}: {app} / {tenant}".replace("-", "_"), database):
        assert (row in page.replace("-", "_")) == (app != "vaccination")
    status, index = real.get(DOMAIN, port=real.ports[f"{host}.{DOMAIN}"])
    assert status == 200
    assert f"//{host}.{DOMAIN}/" in index


def test_the_internets_entry_point_knows_nothing_of_the_extranet(real: RealCity) -> None:
    assert real.inner_port != real.port
    assert real.get(f"vaccination.{DOMAIN}", port=real.port)[0] == 404
    assert "vaccination" not in real.get(DOMAIN)[1]
    assert real.get(f"health-code.{DOMAIN}", port=real.inner_port)[0] == 404
    assert "health-code" not in real.get(DOMAIN, port=real.inner_port)[1]
    # Nor would a route that somebody smuggled in: the network lets the gateway reach no pod of another zone.
    gateway = (APPLICATION, "deploy/gateway", "nginx")
    for namespace, service, answers in ((HEALTH, "health-code-web", True), (EXTRANET, "vaccination-web", False)):
        address = real.cluster.get("service", service, "-n", namespace)["spec"]["clusterIP"]
        line = f"timeout 3 bash -c '</dev/tcp/{address}/8080' && echo reached || echo away"
        words = ("exec", "-n", gateway[0], gateway[1], "-c", gateway[2], "--", "bash", "-c", line)
        assert ("reached" in real.cluster.kubectl(*words)) == answers


def test_the_entry_point_logs_the_callers_address(real: RealCity) -> None:
    assert real.get(f"health-code.{DOMAIN}", "/?seen=once")[0] == 200

    def line() -> dict[str, Any] | None:
        text = real.cluster.kubectl("logs", "deploy/gateway", "-c", "nginx", "-n", APPLICATION, "--tail=200")
        found = [item for item in text.splitlines() if "seen=once" in item]
        return json.loads(found[-1]) if found else None

    with socket.create_connection((real.address, real.port), timeout=10) as connection:
        own = connection.getsockname()[0]
    assert eventually(line)["client"] == own


def test_plain_http_is_sent_to_https(real: RealCity) -> None:
    connection = http.client.HTTPConnection(real.address, real.port, timeout=10)
    host = f"health-code.{DOMAIN}:{real.port}"
    connection.request("GET", "/a", headers={"Host": host})
    answer = connection.getresponse()
    assert (answer.status, answer.getheader("Location")) == (308, f"https://{host}/a")
    connection.close()


def test_an_unknown_host_is_not_found(real: RealCity) -> None:
    assert real.get("nobody.example")[0] == 404
    assert real.get(f"nobody.{DOMAIN}")[0] == 404


@pytest.mark.proves("postgresql", "ran", "used")
def test_the_row_on_the_page_is_the_row_in_the_database(real: RealCity) -> None:
    shown = real.state_of("health-code")["database"]
    database = "health_commission_health_code_db"
    assert shown["database"] == shown["role"] == database
    query = "SELECT note, to_char(created AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') FROM sample_app"
    assert real.sql(database, query) == f"{shown['note']}|{shown['created']}"


@pytest.mark.proves("cache", "ran", "used")
def test_the_cache_counts_from_one_visit_to_the_next(real: RealCity) -> None:
    first, second = (real.state_of("bus")["cache"]["visits"] for _ in range(2))
    assert second == first + 1


def test_a_bound_pod_reaches_its_capabilities(real: RealCity) -> None:
    assert real.check(HEALTH_CODE, "postgresql", "SELECT 41 + 1")["rows"] == [[42]]
    assert real.check(HEALTH_CODE, "cache", "PING")["ok"]


def test_apps_speak_tls_to_their_capabilities_and_nothing_else(real: RealCity) -> None:
    query = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
    assert real.check(HEALTH_CODE, "postgresql", query)["rows"] == [[True]]
    for kind, told in (("postgresql", "no encryption"), ("cache", "onnection")):
        seen = real.check(HEALTH_CODE, kind, "--plain")
        assert not seen["ok"]
        assert told in seen["message"], seen
        # The certificate is for the Service's names.
        seen = real.check(HEALTH_CODE, kind, "--host", real.service_address(kind))
        assert "certificate verify failed" in seen["message"], seen


def test_a_server_takes_over_another_certificate_without_a_restart_and_apps_refuse_a_strangers(real: RealCity) -> None:
    where, pod = ("secret", "postgresql-tls", "-n", APPLICATION), ("pod", "postgresql-0", "-n", APPLICATION)
    kept = real.cluster.get(*where)["data"]
    before = real.cluster.get(*pod)
    strange = renewed(make_plan(cities.city(cities.app("code")), load_catalogue()), {}, datetime.now(UTC))[
        "service/postgresql/tls"
    ]
    texts = {"tls.crt": certificates_of(strange), "tls.key": key_of(strange)}
    other = {name: base64.b64encode(text.encode()).decode() for name, text in texts.items()}
    for number, data in enumerate((other, {name: kept[name] for name in other})):
        real.cluster.kubectl("patch", *where, "--type=merge", "-p", json.dumps({"data": data}))
        # The kubelet looks at a pod that was changed at once, at others about every minute.
        real.cluster.kubectl("annotate", *pod, f"e2e={number}", "--overwrite")

        def served(wanted: bool = number == 1) -> bool | None:
            seen = real.check(HEALTH_CODE, "postgresql")
            return True if seen["ok"] == wanted else None

        eventually(served, 150)
        seen = real.check(HEALTH_CODE, "postgresql")
        assert seen["ok"] or "certificate verify failed" in seen["message"], seen
    real.cluster.kubectl("annotate", *pod, "e2e-")
    after = real.cluster.get(*pod)
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert [item["restartCount"] for item in after["status"]["containerStatuses"]] == [0, 0]


@pytest.mark.parametrize(("service", "pod", "port"), [("postgresql", "postgresql-0", 5432), ("cache", "cache-0", 6379)])
def test_a_pod_without_a_binding_cannot_connect_at_all(
    real: RealCity, strangers: tuple[tuple[str, str], ...], service: str, pod: str, port: int
) -> None:
    targets = (real.service_address(service), real.pod_address(pod))
    for target in targets:
        assert real.check(HEALTH_CODE, "tcp", target, str(port))["ok"]
        for place in strangers:
            seen = real.check(place, "--timeout", "2", "tcp", target, str(port))
            assert not seen["ok"]
            assert seen["error"] == "TimeoutError", seen


def test_the_unfenced_stranger_has_a_network_otherwise(real: RealCity, strangers: tuple[tuple[str, str], ...]) -> None:
    """What the tests above rely on: it is the database's own fence that stops this pod."""
    server = real.cluster.get("service", "kubernetes")["spec"]["clusterIP"]
    assert real.check(strangers[1], "tcp", server, "443")["ok"]


@contextlib.contextmanager
def standing_still(processes: list[int]) -> Iterator[None]:
    """The processes do nothing meanwhile; those that have ended are passed over."""

    def send(number: signal.Signals) -> None:
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, number)

    send(signal.SIGSTOP)
    try:
        yield
    finally:
        send(signal.SIGCONT)


def test_no_pod_reaches_a_port_of_a_run(real: RealCity, strangers: tuple[tuple[str, str], ...]) -> None:
    """From a fenced pod, an open one, and one in the node's own network, at every address that the machine has."""
    image = real.cluster.get("pod", "stranger", "-n", OUTSIDE)["spec"]["containers"][0]["image"]
    on_node = stranger("on-node", OUTSIDE, image)
    on_node["spec"]["hostNetwork"] = True
    # In none of the city's namespaces, whoever asks: pods are judged by their namespace's level, what makes pods by the
    # city's own line. Elsewhere it is a matter of the cluster's administrator, who is trusted.
    labels = {"app": "on-node"}
    template = {"metadata": {"labels": labels}, "spec": on_node["spec"]}
    making = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "on-node", "namespace": HEALTH},
        "spec": {"selector": {"matchLabels": labels}, "template": template},
    }
    inside = {**on_node, "metadata": {"name": "on-node", "namespace": HEALTH}}
    for item, why in ((inside, "hostNetwork=true"), (making, "red line privileged-pods")):
        assert why in real.cluster.kubectl("create", "-f", "-", stdin=json.dumps(item), code=1)
    real.cluster.apply(on_node)
    real.cluster.kubectl("wait", "--for=condition=Ready", "pod/on-node", "-n", OUTSIDE, "--timeout=80s")
    pods = real.cluster.get("pod", "stranger", "-n", OUTSIDE)["status"]["podIP"]
    gateway = next(IPv4Network(f"{pods}/23", strict=False).hosts())
    shown = subprocess.run(["ip", "-o", "-4", "address"], capture_output=True, text=True, check=True).stdout
    addresses = {real.address, str(gateway), *(line.split()[3].partition("/")[0] for line in shown.splitlines())}
    assert "127.0.0.1" in addresses
    places = (*strangers, (OUTSIDE, "on-node"))
    server = real.cluster.kubectl("config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}")
    open_one = server.removeprefix("https://")
    with real.home.running("up", real.files, "--yes", "--no-skip", "-o", "json") as up:
        ports: dict[int, int] = {}
        found: dict[tuple[str, str], dict[str, str]] = {}
        while not found and up.poll() is None:
            if not of_run(real.home.processes()):
                time.sleep(0.05)
                continue
            # A process that stands still keeps its ports, and the kernel answers there for it.
            with standing_still(list(real.home.processes())):
                if ports := of_run(real.home.processes()):
                    for port in ports:
                        socket.create_connection(("127.0.0.1", port), 5).close()
                    targets = [open_one, *(f"{address}:{port}" for address in sorted(addresses) for port in ports)]
                    with ThreadPoolExecutor(len(places)) as pool:
                        seen_by = pool.map(partial(real.dials, targets=targets), places)
                        found = dict(zip(places, seen_by, strict=True))
        assert found, "the run's ports were not seen"
        out, _ = up.communicate(timeout=200)
    for place, seen in found.items():
        # A port of the machine that pods may reach shows that packets arrive.
        assert seen.pop(open_one) == ("TimeoutError" if place == strangers[0] else "connected"), place
        assert len(seen) == len(addresses) * len(ports)
        assert "connected" not in seen.values(), (place, seen)
    assert up.returncode == 0, out


def test_an_app_cannot_connect_to_a_capability_it_has_no_use_for(real: RealCity) -> None:
    for service, port in (("cache", "6379"), ("postgresql", "5432")):
        seen = real.check(VACCINATION, "--timeout", "2", "tcp", real.service_address(service), port)
        assert seen["error"] == "TimeoutError", seen


def test_a_bound_pod_reaches_the_databases_port_alone(real: RealCity) -> None:
    """A port where nobody listens would refuse: that it times out shows that the packets do not arrive."""
    for port in ("5433", "22"):
        seen = real.check(HEALTH_CODE, "--timeout", "2", "tcp", real.pod_address("postgresql-0"), port)
        assert seen["error"] == "TimeoutError", seen


@pytest.mark.parametrize("database", ["transport_bureau_bus_arrival_db", "postgres", "template1"])
@pytest.mark.proves("postgresql", "refused")
def test_an_apps_credentials_are_refused_on_any_other_database(real: RealCity, database: str) -> None:
    seen = real.check(HEALTH_CODE, "postgresql", "--database", database)
    assert not seen["ok"]
    assert "permission denied for database" in seen["message"], seen


def test_one_apps_password_does_not_open_another_apps_role(real: RealCity) -> None:
    role = "transport_bureau_bus_arrival_db"
    seen = real.check(HEALTH_CODE, "postgresql", "--database", role, "--username", role)
    assert not seen["ok"]
    assert "password authentication failed" in seen["message"], seen


@pytest.mark.proves("cache", "refused")
def test_an_apps_cache_user_is_refused_outside_its_own_prefix(real: RealCity) -> None:
    assert real.check(HEALTH_CODE, "cache", "SET", "health-commission.health-code.cache:season", "spring")["ok"]
    for command in (
        ("SET", "transport-bureau.bus-arrival.arrivals:visits", "1000000"),
        ("GET", "transport-bureau.bus-arrival.arrivals:visits"),
        ("FLUSHALL",),
        ("SCAN", "0"),
        ("EVAL", "return 1", "0"),
        ("ACL", "LIST"),
        ("CONFIG", "GET", "*"),
    ):
        seen = real.check(HEALTH_CODE, "cache", *command)
        assert not seen["ok"]
        assert "permission" in seen["message"].lower(), seen


def test_servers_answer_their_probes_and_their_guards_hold_what_the_files_say(real: RealCity) -> None:
    for name in ("postgresql-0", "cache-0"):
        statuses = real.cluster.get("pod", name, "-n", APPLICATION)["status"]["containerStatuses"]
        assert {item["name"] for item in statuses} == {name.removesuffix("-0"), "guard"}
        assert all(item["ready"] and item["restartCount"] == 0 for item in statuses), statuses
    limits = real.sql("postgres", "SELECT role, connections, state FROM wecity.limits ORDER BY role").splitlines()
    assert "health_commission_health_code_db|20|open" in limits
    statement = "SELECT rolconnlimit FROM pg_roles WHERE rolname = 'health_commission_health_code_db'"
    assert real.sql("postgres", statement) == "20"


def test_logs_come_from_every_pod_of_the_app(real: RealCity) -> None:
    real.get(f"health-code.{DOMAIN}")
    lines = real.home.run("logs", real.files, "health-commission/health-code").out.splitlines()
    pods = {line.partition(" | ")[0] for line in lines}
    assert len(pods) == 2
    assert all(pod.startswith("health-code-web-") for pod in pods)
    assert any('"listening"' in line or "listening" in line for line in lines)


def test_status_has_every_workload_ready_on_real_nodes(real: RealCity) -> None:
    # A pod that nobody declared would be told.
    real.cluster.kubectl("delete", "pod/stranger", "-n", HEALTH, "--ignore-not-found")
    workloads = real.home.run("status", real.files, "-o", "json").json()["workloads"]
    assert len(workloads) >= 10
    assert all(item["state"] == "ready" and not item["simulated"] for item in workloads)


def test_probes_tell_what_capabilities_do(real: RealCity) -> None:
    def probes(*flags: str, code: int = 0) -> dict[str, tuple[str, str]]:
        found = real.home.run("status", real.files, *flags, "-o", "json", code=code).json()["probes"]
        assert {item["run_by"] for item in found} == {"status" if flags else "up"}
        assert all(item["at"] for item in found if item["result"] in ("passed", "failed"))
        return {item["capability"]: (item["result"], item["message"]) for item in found}

    own = {name: result for name, (result, _) in probes().items() if name in ("gateway", "postgresql", "cache")}
    assert own == dict.fromkeys(own, "passed")
    assert len(own) == 3
    assert probes("--probe")["postgresql"] == ("passed", "a row was committed, read and removed")
    # Its pod stays ready: nothing but a write tells.
    [base] = (real.home.state / "clouds").glob("*/node/volumes/*/pgdata/base")
    directory = base / real.sql("postgres", "SELECT oid FROM pg_database WHERE datname = 'postgres'")
    directory.chmod(0o500)
    try:
        found = probes("--probe", code=4)
    finally:
        directory.chmod(0o700)
    assert found["postgresql"][0] == "failed"
    assert "Permission denied" in found["postgresql"][1]
    assert found["cache"][0] == found["gateway"][0] == "passed"


def test_the_second_up_changes_nothing_and_the_preview_agrees(real: RealCity) -> None:
    assert f"nothing to change: {NAME} is as its files say" in real.up().out
    real.home.run("preview", real.files, "--detailed-exitcode")


def test_the_autoscaler_has_a_current_metric(real: RealCity) -> None:
    def measured() -> bool:
        found = real.cluster.get("hpa", "bus-arrival-web", "-n", TRANSPORT)["status"].get("currentMetrics") or []
        return any("averageUtilization" in item.get("resource", {}).get("current", {}) for item in found)

    eventually(measured, 150)
    assert "bus-arrival-web" in real.cluster.kubectl("top", "pods", "-n", TRANSPORT)


def test_a_new_route_is_loaded_without_a_failed_request(real: RealCity) -> None:
    load = Hammer(real, f"health-code.{DOMAIN}")
    real.files.add("parking.yaml", app("parking", "transport-bureau"))
    real.files.save()
    with load:
        real.up()
        eventually(lambda: real.get(f"parking.{DOMAIN}")[0] == 200)
    assert len(load.statuses) > 30
    assert set(load.statuses) == {200}, load.statuses


@dataclass(slots=True)
class Hammer:
    """Requests one after the other, from the beginning of a block to its end."""

    city: RealCity
    host: str
    statuses: list[int | str] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Hammer:
        self._thread = threading.Thread(target=self._go, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        assert self._thread is not None
        self._thread.join(30)

    def _go(self) -> None:
        while not self._over.wait(0.05):
            try:
                self.statuses.append(self.city.get(self.host)[0])
            except (OSError, http.client.HTTPException) as error:
                self.statuses.append(repr(error))


def test_deleted_pods_come_back_and_find_their_data(real: RealCity) -> None:
    before = real.state_of("health-code")["database"]
    old = real.cluster.get("pod", "postgresql-0", "-n", APPLICATION)["metadata"]["uid"]
    real.cluster.kubectl("delete", "pod", "postgresql-0", "-n", APPLICATION)
    real.cluster.kubectl("delete", "pods", "-n", HEALTH, "-l", "app.kubernetes.io/name=health-code", "--wait=false")
    real.cluster.kubectl("rollout", "status", "statefulset/postgresql", "-n", APPLICATION, "--timeout=80s")
    assert real.cluster.get("pod", "postgresql-0", "-n", APPLICATION)["metadata"]["uid"] != old
    assert eventually(lambda: real.state_of("health-code"), 60)["database"] == before


def test_a_new_password_reaches_server_and_app(real: RealCity) -> None:
    before, old = real.state_of("bus")["database"], real.binding("db")
    real.home.run("secrets", "rotate", real.files, "--app", "transport-bureau/bus-arrival")
    assert real.binding("db") == old
    real.up()
    assert real.binding("db")["password"] != old["password"]
    assert eventually(lambda: real.state_of("bus"), 60)["database"] == before


def test_an_app_that_leaves_is_locked_out_at_once_and_finds_its_data_when_it_is_back(real: RealCity) -> None:
    before, old = real.state_of("bus")["database"], real.binding("db")
    gone = real.files.remove("App", "bus-arrival")
    real.files.save()
    done = real.home.run("up", real.files, "--yes", f"--confirm={NAME}", "-o", "json")
    told = " ".join(done.result()["notes"])
    assert "locked in postgresql: transport-bureau/bus-arrival/db" in told
    assert "locked in cache: transport-bureau/bus-arrival/arrivals" in told
    role = "transport_bureau_bus_arrival_db"
    assert (
        real.sql("postgres", f"SELECT rolcanlogin, rolpassword IS NULL FROM pg_authid WHERE rolname = '{role}'")
        == "f|t"
    )

    listed = json.loads(real.home.run("leftovers", "list", real.files, "-o", "json").out)
    found = {item["name"]: item for item in listed["leftovers"]}
    assert set(found) == {f"postgresql/{role}", "cache/transport-bureau.bus-arrival.arrivals"}
    database = found[f"postgresql/{role}"]
    assert (database["owner"], database["locked"]) == ("transport-bureau/bus-arrival/db", True)
    assert database["bytes"] > 1_000_000
    assert database["since"] > "2026"
    # Nothing of it is left in the cluster, and the next run has nothing to do.
    jobs = real.cluster.get("job", "-n", APPLICATION)["items"]
    assert not [item for item in jobs if "accounts" in item["metadata"]["name"]]

    real.files.add("transport-bureau.yaml", gone)
    real.files.save()
    real.up()
    assert eventually(lambda: real.state_of("bus"), 60)["database"] == before
    assert real.binding("db")["password"] != old["password"]
    assert json.loads(real.home.run("leftovers", "list", real.files, "-o", "json").out)["leftovers"] == []

    real.files.remove("App", "bus-arrival")
    real.files.save()
    real.home.run("up", real.files, "--yes", f"--confirm={NAME}")
    real.home.run("leftovers", "delete", real.files, *found, f"--confirm={NAME}")
    assert real.sql("postgres", f"SELECT count(*) FROM pg_database WHERE datname = '{role}'") == "0"
    assert json.loads(real.home.run("leftovers", "list", real.files, "-o", "json").out)["leftovers"] == []
    real.files.add("transport-bureau.yaml", gone)
    real.files.save()
    real.up()


def test_stop_leaves_nothing_behind_and_up_goes_on_with_the_data(real: RealCity) -> None:
    before = {name: real.state_of(name)["database"] for name in ("health-code", "bus")}
    visits = real.state_of("bus")["cache"]["visits"]
    trace = Trace.of(real.home.state / "clouds" / f"{NAME}-main")
    assert trace.left(), "the node is there while it runs"
    real.home.run("local", "stop", "-n", f"{NAME}-main")
    assert trace.left() == []
    real.up()
    for name, row in before.items():
        assert eventually(partial(real.state_of, name), 60)["database"] == row
    assert real.state_of("bus")["cache"]["visits"] > visits
    assert "nothing to change" in real.up().out


@dataclass(frozen=True, slots=True)
class Trace:
    """How a node is recognised on the host: by its cloud's directory and by the eight digits in its names."""

    directory: Path
    cloud: str

    @classmethod
    def of(cls, directory: Path) -> Trace:
        held = json.loads((directory / "node" / "hold.json").read_text())
        return cls(directory, str(held["cgroup"]).removeprefix("wecity-"))

    def left(self) -> list[str]:
        """Processes, mounts, interfaces, routes, firewall tables, cgroups and network namespaces of the node."""
        commands = (
            ("ip", "-o", "link"),
            ("ip", "route", "show", "table", "all"),
            ("ip", "netns"),
            ("nft", "list", "ruleset"),
        )
        found = []
        for command in commands:
            with contextlib.suppress(FileNotFoundError):
                text = subprocess.run(command, capture_output=True, text=True, check=False).stdout
                found += [line for line in text.splitlines() if self.cloud in line]
        found += [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(self.directory) in line]
        found += [str(path) for path in Path("/sys/fs/cgroup").glob(f"**/wecity-{self.cloud}")]
        return found + [f"{pid} {words}" for pid, words in self._processes()]

    def _processes(self) -> Iterator[tuple[int, str]]:
        own = Path("/proc/self/ns/pid").readlink()
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                elsewhere = (entry / "ns/pid").readlink() != own
                if str(self.directory) in words or (
                    elsewhere and str(self.directory) in (entry / "mountinfo").read_text()
                ):
                    yield int(entry.name), words[:120]


def test_destroy_and_reset_leave_nothing(real: RealCity) -> None:
    directory = real.home.state / "clouds" / f"{NAME}-main"
    trace = Trace.of(directory)
    real.home.run("destroy", real.files, f"--confirm={NAME}", "--delete-data")
    assert real.cluster.objects_of(NAME) == set()
    real.home.run("local", "reset", "-n", f"{NAME}-main", "--confirm", f"{NAME}-main")
    assert trace.left() == []
    assert not directory.exists()
    assert not real.home.processes()
