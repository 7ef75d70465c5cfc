"""An app's volume outlives its pods, its suspension and the app itself."""

from __future__ import annotations

import shlex
import subprocess

import pytest

from tests.e2e.county.apps import NAME, SPACE
from tests.e2e.files import CityFiles
from tests.e2e.machine import Cluster, Machine, eventually

pytestmark = [pytest.mark.node, pytest.mark.usefixtures("city")]


def uploads(cluster: Cluster, statement: str) -> str:
    return cluster.kubectl("exec", "-n", SPACE, "gardens-files-0", "--", "python3", "-c", statement).strip()


def test_an_upload_outlives_its_pod(cluster: Cluster) -> None:
    uploads(cluster, "open('/data/oak', 'w').write('an oak')")
    cluster.kubectl("delete", "pod", "gardens-files-0", "-n", SPACE)
    assert eventually(lambda: uploads(cluster, "print(open('/data/oak').read())")) == "an oak"


def test_a_suspended_app_says_so_and_comes_back_with_its_data(home: Machine, city: CityFiles, cluster: Cluster) -> None:
    def asked() -> str:
        curl = shlex.split(home.run("open", city, "gardens", "-o", "json").json()["curl"])
        return subprocess.run(
            [*curl, "-s", "-w", "%{http_code}"], capture_output=True, text=True, timeout=30, check=True
        ).stdout

    gardens = city.one("App", "gardens")["spec"]
    gardens["stage"] = "suspended"
    home.run("up", city.save(), "--yes")
    page = asked()
    assert page.endswith("503")
    assert "该服务已暂停" in page
    # Deployments end; what has a volume keeps it.
    assert cluster.get("deployment", "gardens-web", "-n", SPACE)["spec"]["replicas"] == 0
    gardens["stage"] = "published"
    home.run("up", city.save(), "--yes")
    assert asked().endswith("200")
    assert uploads(cluster, "print(open('/data/oak').read())") == "an oak"


def test_a_volume_does_not_shrink_and_stays_when_the_app_goes(home: Machine, city: CityFiles, cluster: Cluster) -> None:
    volume = city.one("App", "gardens")["spec"]["components"][3]["volumes"][0]
    volume["size"] = "32Mi"
    city.save()
    done = home.run("preview", city, code=2)
    assert "the volume 'uploads' has 64Mi, and no volume can be made smaller" in done.text
    assert "spec.components[3].volumes[0].size" in done.text
    volume["size"] = "64Mi"
    gone = city.remove("App", "gardens")
    city.save()
    home.run("up", city, "--yes", f"--confirm={NAME}")
    assert not cluster.get("statefulsets", "-n", SPACE)["items"]
    (claim,) = cluster.get("pvc", "-n", SPACE)["items"]
    city.add("parks.yaml", gone)
    city.save()
    home.run("up", city, "--yes")
    (again,) = cluster.get("pvc", "-n", SPACE)["items"]
    assert again["metadata"]["uid"] == claim["metadata"]["uid"]
    assert eventually(lambda: uploads(cluster, "print(open('/data/oak').read())")) == "an oak"
