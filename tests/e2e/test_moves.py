"""A city over two simulated clouds: what stands stays, what must move says so, and moves when somebody said yes.

Apps move, and so does the gateway. The tests follow each other in this order; every one begins with the city as the
one before left it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.files import SIMULATED, CityFiles, app, document, tenant
from tests.e2e.machine import Cluster, Machine

pytestmark = pytest.mark.cluster

NAME = "ferry"
NAMESPACE = "parks-internet"


@dataclass(slots=True)
class Ferry:
    """The city; `east` is cheaper than `west` in the beginning."""

    home: Machine
    files: CityFiles
    east: Cluster
    west: Cluster

    def deployments(self, cluster: Cluster) -> set[str]:
        return set(cluster.kubectl("get", "deployments", "-n", NAMESPACE, "-o", "name").split())

    def price(self, cloud: str, price: str) -> None:
        self.files.one("Cloud", cloud)["spec"]["prices"] = {"currency": "CNY", "cpuHour": price}
        self.files.save()

    def placed(self, *arguments: str) -> dict[str, str]:
        found = self.home.run("place", self.files, "-o", "json", *arguments).json()
        return {item["subject"]: item["cloud"] for item in found["decisions"]}


def city(directory: Path) -> CityFiles:
    """One department with two apps that may be on either cloud."""
    apps = [app("benches", "parks"), app("trees", "parks")]
    for each in apps:
        del each["spec"]["route"]
    whole = {
        "domain": f"{NAME}.gov.example",
        "zones": [{"name": "internet", "kind": "internet"}],
        "images": {"source": "built", "architectures": ["amd64"]},
    }
    clouds = [document("Cloud", name, {**SIMULATED, "zones": ["internet"]}) for name in ("east", "west")]
    files = {"city.yaml": [document("City", NAME, whole), *clouds], "parks.yaml": [tenant("parks"), *apps]}
    return CityFiles(directory, files).save()


@pytest.fixture(scope="module")
def ferry(home: Machine) -> Ferry:
    east, west = (Cluster(home.state / "clouds" / f"{NAME}-{name}" / "kubeconfig") for name in ("east", "west"))
    made = Ferry(home, city(home.root / "city"), east, west)
    made.price("east", "0.10")
    made.price("west", "0.20")
    home.run("up", made.files, "--yes")
    return made


def test_a_new_city_goes_where_it_is_cheapest(ferry: Ferry) -> None:
    assert ferry.deployments(ferry.east) == {"deployment.apps/benches-web", "deployment.apps/trees-web"}
    assert ferry.placed() == {"app parks/benches": "east", "app parks/trees": "east"}


def test_what_stands_stays_although_prices_change(ferry: Ferry) -> None:
    ferry.price("west", "0.05")
    assert set(ferry.placed("--offline").values()) == {"west"}
    assert set(ferry.placed().values()) == {"east"}
    assert "stands there" in ferry.home.run("place", ferry.files).out
    done = ferry.home.run("preview", ferry.files, "-o", "json")
    assert done.result()["notes"] == []
    assert not any("Deployment" in change for change in done.changes())


def test_a_new_app_goes_where_it_is_cheapest_now_and_moves_nothing(ferry: Ferry) -> None:
    lamps = app("lamps", "parks")
    del lamps["spec"]["route"]
    ferry.files.add("parks.yaml", lamps)
    ferry.files.save()
    ferry.home.run("up", ferry.files, "--yes")
    assert ferry.deployments(ferry.east) == {"deployment.apps/benches-web", "deployment.apps/trees-web"}
    assert ferry.deployments(ferry.west) == {"deployment.apps/lamps-web"}


def test_a_move_is_told_and_refused_until_it_is_confirmed(ferry: Ferry) -> None:
    ferry.files.one("App", "trees")["spec"]["cloud"] = "west"
    ferry.files.save()
    told = "app parks/trees moves from cloud east to cloud west"
    assert told in ferry.home.run("place", ferry.files).out
    preview = ferry.home.run("preview", ferry.files)
    assert told in preview.out
    assert "on east it is deleted" in preview.out
    refused = ferry.home.run("up", ferry.files, "--yes", code=2)
    assert told in refused.err
    assert f"--confirm={NAME}" in refused.err
    assert ferry.deployments(ferry.west) == {"deployment.apps/lamps-web"}
    done = ferry.home.run("up", ferry.files, "--yes", f"--confirm={NAME}")
    assert told in done.out
    assert ferry.deployments(ferry.east) == {"deployment.apps/benches-web"}
    assert ferry.deployments(ferry.west) == {"deployment.apps/lamps-web", "deployment.apps/trees-web"}


def test_what_has_moved_stands_there_without_its_pin(ferry: Ferry) -> None:
    del ferry.files.one("App", "trees")["spec"]["cloud"]
    ferry.files.save()
    assert ferry.placed()["app parks/trees"] == "west"
    done = ferry.home.run("up", ferry.files, "--yes", "-o", "json")
    assert not any("Deployment" in change for change in done.changes())


def test_nothing_of_the_entry_stays_on_its_old_cloud(ferry: Ferry) -> None:
    # The platform's namespace stays, with the policy that closes it.
    looked_for = ("services,secrets,configmaps,jobs", "-n", "platform-application", "-o", "name", "--ignore-not-found")
    gateway = {"name": "gateway", "cloud": "east"}
    ferry.files.add("city.yaml", document("Platform", "application", {"capabilities": [gateway]}))
    ferry.home.run("up", ferry.files.save(), "--yes")
    assert "service/entry" in ferry.east.kubectl("get", *looked_for)
    gateway["cloud"] = "west"
    done = ferry.home.run("up", ferry.files.save(), "--yes", f"--confirm={NAME}")
    assert "forgotten" not in done.out + done.err
    assert "service/entry" in ferry.west.kubectl("get", *looked_for)
    left = ferry.east.kubectl("get", *looked_for).split()
    assert [name for name in left if name != "configmap/kube-root-ca.crt"] == []
    again = ferry.home.run("up", ferry.files, "--yes", "-o", "json")
    assert again.changes() == set()


def test_the_last_app_of_a_tenant_on_a_cloud_takes_its_stack_with_it(ferry: Ferry) -> None:
    ferry.files.one("App", "benches")["spec"]["cloud"] = "west"
    ferry.files.save()
    ferry.home.run("up", ferry.files, "--yes", code=2)
    ferry.home.run("up", ferry.files, "--yes", f"--confirm={NAME}")
    assert len(ferry.deployments(ferry.west)) == 3
    assert NAMESPACE not in ferry.east.kubectl("get", "namespaces", "-o", "name")
    assert "nothing to change" in ferry.home.run("preview", ferry.files).out
