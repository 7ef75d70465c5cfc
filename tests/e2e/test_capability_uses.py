"""Capabilities of a partner's package that use PostgreSQL, on simulated nodes, by the engine and the provider.

One is on PostgreSQL's own platform and comes before it in the files, the other on a platform of its own.
"""

from __future__ import annotations

import base64
import re
from pathlib import Path

import pytest

from tests.e2e.files import SIMULATED, CityFiles, app, document, tenant
from tests.e2e.machine import Cluster, Machine
from tests.stacks.partner import write_partner

pytestmark = pytest.mark.cluster

NAME = "uses"
APPLICATION = ("board", "postgresql", "gateway")


@pytest.fixture(scope="module")
def partner(home: Machine) -> dict[str, str]:
    """The environment in which the packages are installed."""
    home.anew = True
    directory = home.root / "site-packages"
    write_partner(directory, "board")
    write_partner(directory, "ledger", "data")
    return {"PYTHONPATH": str(directory)}


@pytest.fixture(scope="module")
def city(home: Machine) -> CityFiles:
    spec = {
        "domain": f"{NAME}.gov.example",
        "zones": [{"name": "internet", "kind": "internet"}],
        "images": {"source": "built", "architectures": ["amd64"]},
    }
    news = app("news", "sports", uses=("board",))
    news["spec"]["components"].append({**news["spec"]["components"][0], "name": "extra"})
    news["spec"]["route"]["component"] = "web"
    documents = [
        document("City", NAME, spec),
        document("Cloud", "main", {**SIMULATED, "zones": ["internet"]}),
        document("Platform", "data", {"capabilities": [{"name": "ledger"}]}),
        document(
            "Platform",
            "application",
            {"capabilities": [{"name": "board"}, {"name": "postgresql"}, {"name": "gateway"}]},
        ),
        tenant("parks"),
        app("rows", "parks", uses=({"capability": "postgresql", "as": "db"},)),
        tenant("sports"),
        news,
        app("table", "sports"),
    ]
    return CityFiles(home.root / "city", {"city.yaml": documents}).save()


@pytest.fixture(scope="module")
def cluster(home: Machine) -> Cluster:
    return Cluster(home.state / "clouds" / f"{NAME}-main" / "kubeconfig")


def test_a_city_comes_up_in_the_order_of_its_uses(
    home: Machine, city: CityFiles, cluster: Cluster, partner: dict[str, str]
) -> None:
    home.run("up", city, "--yes", env=partner)
    times: dict[str, str] = {}
    for kind, name, space in (
        ("statefulset", "postgresql", "platform-application"),
        ("deployment", "board", "platform-application"),
        ("deployment", "ledger", "platform-data"),
    ):
        found = cluster.get(kind, name, "-n", space)
        assert found["status"]["readyReplicas"] == found["spec"]["replicas"]
        times[name] = found["metadata"]["creationTimestamp"]
    assert times["postgresql"] <= min(times["board"], times["ledger"])
    jobs = cluster.get("jobs", "-n", "platform-application")["items"]
    ended = {item["metadata"]["name"].rpartition("-")[0]: item["status"]["succeeded"] for item in jobs}
    assert {name: count for name, count in ended.items() if name.startswith("provision-")} == {
        "provision-capability-board-db": 1,
        "provision-capability-ledger-db": 1,
        "provision-parks-rows-db": 1,
    }


def test_each_has_a_binding_of_its_own(home: Machine, cluster: Cluster, partner: dict[str, str]) -> None:
    passwords = set()
    for name, space in (("board", "platform-application"), ("ledger", "platform-data")):
        data = cluster.get("secret", f"{name}-binding-db", "-n", space)["data"]
        values = {key: base64.b64decode(value).decode() for key, value in data.items()}
        there = "postgresql.platform-application.svc.cluster.local"
        assert values["uri"].startswith(f"postgresql://capability_{name}_db:{values['password']}@{there}:5432/")
        assert "BEGIN CERTIFICATE" in values["ca.crt"]
        passwords.add(values["password"])
    assert len(passwords) == 2


def test_nothing_is_left_to_do(home: Machine, city: CityFiles, partner: dict[str, str]) -> None:
    home.run("preview", city, "--detailed-exitcode", env=partner)


def test_a_changed_program_of_a_partner_is_not_skipped(
    home: Machine, city: CityFiles, cluster: Cluster, partner: dict[str, str]
) -> None:
    program = Path(partner["PYTHONPATH"]) / "wecity_ledger" / "program.py"
    program.write_text(program.read_text().replace("sleep infinity", "sleep 1000"))
    home.run("up", city, "--yes", env=partner)
    pod = cluster.get("deployment", "ledger", "-n", "platform-data")["spec"]["template"]["spec"]
    assert pod["containers"][0]["command"][-1].endswith("sleep 1000")


def test_a_broken_capability_stops_only_what_needs_it(
    home: Machine, city: CityFiles, cluster: Cluster, partner: dict[str, str]
) -> None:
    """The API server refuses the board; an app of PostgreSQL changes all the same, and one of the board waits while
    another one of its tenant does not."""
    program = Path(partner["PYTHONPATH"]) / "wecity_board" / "program.py"
    whole = program.read_text()
    program.write_text(whole.replace('"replicas": context.workload().replicas', '"replicas": -1'))
    city.component("rows")["replicas"] = 2
    for name in ("news", "table"):
        city.component(name)["replicas"] = 2
    news = city.one("App", "news")["spec"]
    news["route"]["host"] = "new-news"
    del news["components"][1]
    city.save()
    done = home.run("up", city, "--yes", "-o", "json", code=4, env=partner)
    assert done.stack("platform.application.main")["outcome"] == "failed", done
    assert done.stack("tenant.parks.main")["outcome"] == "succeeded", done
    sports = done.stack("tenant.sports.main")
    assert sports["outcome"] == "failed", done
    assert sports["reason"] == "left as it is, since a capability that it needs did not come up: news"

    def replicas(name: str, tenant: str) -> int:
        return int(cluster.get("deployment", f"{name}-web", "-n", f"{tenant}-internet")["spec"]["replicas"])

    def hosts() -> set[str]:
        found = cluster.get("configmaps", "-n", "platform-application")["items"]
        (routes,) = [item["data"]["routes.conf"] for item in found if "routes.conf" in item.get("data", {})]
        return set(re.findall(r"server_name ([a-z-]+)\.", routes))

    assert (replicas("rows", "parks"), replicas("news", "sports"), replicas("table", "sports")) == (2, 1, 2)
    assert {"news", "table"} <= hosts()
    assert "new-news" not in hosts()
    assert cluster.get("deployment", "news-extra", "-n", "sports-internet")["status"]["readyReplicas"] == 1
    program.write_text(whole)
    home.run("up", city, "--yes", env=partner)
    assert replicas("news", "sports") == 2
    assert "new-news" in hosts()
    assert "NotFound" in cluster.kubectl("get", "deployment", "news-extra", "-n", "sports-internet", code=1)
    assert "news" not in hosts()
    home.run("preview", city, "--detailed-exitcode", env=partner)


def test_it_goes_in_reverse_order(home: Machine, city: CityFiles, partner: dict[str, str]) -> None:
    home.run("destroy", city, "--confirm", NAME, "--delete-data", env=partner)
