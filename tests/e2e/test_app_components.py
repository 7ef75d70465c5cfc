"""An app's components on a real node: jobs at set times, jobs before a release, and volumes that stay."""

from __future__ import annotations

import json

import pytest

from tests.e2e.files import CityFiles, app, document, tenant
from tests.e2e.machine import Cluster, Machine, eventually
from tests.support.real_node import require_real_node

pytestmark = pytest.mark.node

NAME = "parts"
SPACE = "parks-internet"
# What the migration leaves: a line for each version, in a table of the app's database.
MIGRATE = """
import os, sys, urllib.parse
print("migrating to", os.environ["VERSION"], "in", urllib.parse.urlsplit(os.environ["DATABASE_URL"]).path, flush=True)
sys.exit(int(os.environ["CODE"]))
"""


@pytest.fixture(scope="module")
def city(home: Machine) -> CityFiles:
    require_real_node()
    spec = {
        "domain": f"{NAME}.gov.example",
        "zones": [{"name": "internet", "kind": "internet"}],
        "images": {"source": "built", "architectures": ["amd64"]},
    }
    uses = ({"app": "library/shelves", "as": "shelves"}, {"capability": "postgresql", "as": "db"})
    trees = app("trees", "parks", uses=uses)
    web = trees["spec"]["components"][0]
    web["env"] = {"VERSION": "1", "DATABASE_URL": "${db.uri}", "SHELVES": "${shelves.uri}"}
    job = {"image": "catalogue:sample-app", "resources": {"cpu": "20m", "memory": "64Mi"}}
    trees["spec"]["components"] += [
        {
            **job,
            "name": "migrate",
            "run": "before-release",
            "timeout": "2m",
            "command": ["python3", "-c", MIGRATE],
            "env": {"VERSION": "1", "CODE": "0", "DATABASE_URL": "${db.uri}"},
        },
        {
            **job,
            "name": "report",
            "schedule": "* * * * *",
            "command": ["python3", "-c"],
            "args": ["import time; print('reported in', time.localtime().tm_zone)"],
        },
    ]
    trees["spec"]["route"]["component"] = "web"
    trees["spec"]["components"].append(
        {**job, "name": "files", "port": 8080, "volumes": [{"name": "uploads", "path": "/data", "size": "64Mi"}]}
    )
    shelves = app("shelves", "library")
    shelves["spec"]["provides"] = [{"name": "api", "to": ["parks/*"]}]
    for other in (shelves, ponds := app("ponds", "parks")):
        del other["spec"]["route"]
    documents = [
        document("City", NAME, spec),
        document("Cloud", "main", {"provider": "local", "zones": ["internet"], "local": {"nodes": "real"}}),
        document("Platform", "application", {"capabilities": [{"name": "gateway"}, {"name": "postgresql"}]}),
        tenant("parks"),
        tenant("library"),
        trees,
        ponds,
        shelves,
    ]
    return CityFiles(home.root / "city", {"city.yaml": documents}).save()


@pytest.fixture(scope="module")
def cluster(home: Machine) -> Cluster:
    return Cluster(home.state / "clouds" / f"{NAME}-main" / "kubeconfig")


def jobs(cluster: Cluster, name: str) -> list[dict[str, object]]:
    """The Jobs whose names begin with `name`, oldest first."""
    items = cluster.get("jobs", "-n", SPACE)["items"]
    found = [item for item in items if item["metadata"]["name"].startswith(name)]
    return sorted(found, key=lambda item: str(item["metadata"]["creationTimestamp"]))


def version(cluster: Cluster) -> str:
    """The version that the running pods have, by their environment."""
    read = "import os; print(os.environ['VERSION'], os.environ['DATABASE_URL'][:13])"
    return cluster.kubectl("exec", "-n", SPACE, "deploy/trees-web", "--", "python3", "-c", read).strip()


def release(city: CityFiles, number: str, code: str = "0") -> None:
    web, migrate = city.one("App", "trees")["spec"]["components"][:2]
    web["env"]["VERSION"] = number
    migrate["env"] |= {"VERSION": number, "CODE": code}
    city.save()


def test_the_migration_runs_before_the_first_version(home: Machine, city: CityFiles, cluster: Cluster) -> None:
    home.run("up", city, "--yes")
    assert version(cluster) == "1 postgresql://"
    (job,) = jobs(cluster, "trees-migrate")
    assert job["status"]["succeeded"] == 1  # type: ignore[index]
    told = cluster.kubectl("logs", "-n", SPACE, f"job/{job['metadata']['name']}")  # type: ignore[index]
    assert told.strip() == "migrating to 1 in /parks_trees_db"
    home.run("preview", city, "--detailed-exitcode")


CALL = """
import os, sys, urllib.request
address = sys.argv[1] if len(sys.argv) > 1 else os.environ["SHELVES"]
print(urllib.request.urlopen(f"{address}/healthz", timeout=3).status)
"""


def call(cluster: Cluster, app: str, *address: str, namespace: str = SPACE) -> str:
    """What a pod of the app gets from the address, by default that of its binding."""
    pod = ("exec", "-n", namespace, f"deploy/{app}-web")
    return cluster.kubectl(*pod, "--", "python3", "-c", CALL, *address).strip()


def test_an_app_calls_the_app_that_it_uses_and_a_foreign_one_does_not(
    home: Machine, city: CityFiles, cluster: Cluster
) -> None:
    assert call(cluster, "trees") == "200"
    address = "http://shelves-web.library-internet.svc.cluster.local:8080"
    read = ("exec", "-n", SPACE, "deploy/trees-web", "--", "cat", "/bindings/shelves/uri")
    assert cluster.kubectl(*read) == address
    # Of the same tenant and namespace, allowed by the provider, and without a use; and the way back.
    for other, namespace, to in (
        ("ponds", SPACE, address),
        ("shelves", "library-internet", f"http://trees-web.{SPACE}.svc.cluster.local:8080"),
    ):
        with pytest.raises(AssertionError, match="timed out"):
            call(cluster, other, to, namespace=namespace)
    addresses = home.run("status", city, "-o", "json").json()["addresses"]
    found = {(item["app"], item["way"], item["name"]): item["address"] for item in addresses}
    assert found[("parks/trees", "uses", "shelves")] == address.removeprefix("http://")
    assert found[("library/shelves", "provides", "api")] == address.removeprefix("http://")
    assert found[("parks/trees", "route", "")] == f"trees.{NAME}.gov.example/"


def test_one_side_alone_opens_nothing(cluster: Cluster) -> None:
    """Without the provider's policy the user's does not help, nor the reverse."""
    for namespace, name in (("library-internet", "shelves-provides-api"), (SPACE, "trees-to-shelves")):
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
        return call(cluster, "trees") != "200"
    except AssertionError:
        return True


def test_a_failing_migration_leaves_the_version_serving(home: Machine, city: CityFiles, cluster: Cluster) -> None:
    release(city, "2", code="3")
    done = home.run("up", city, "--yes", code=None)
    assert done.code not in (0, 1), done
    assert "trees-migrate" in done.text, done
    assert version(cluster) == "1 postgresql://"
    assert cluster.get("deployment", "trees-web", "-n", SPACE)["status"]["readyReplicas"] == 1


def test_a_mended_migration_releases(home: Machine, city: CityFiles, cluster: Cluster) -> None:
    release(city, "2")
    home.run("up", city, "--yes")
    eventually(lambda: version(cluster) == "2 postgresql://")


def test_the_report_ran_at_its_time(cluster: Cluster) -> None:
    found = eventually(lambda: [item for item in jobs(cluster, "trees-report") if _has_succeeded(item)], 90)
    told = cluster.kubectl("logs", "-n", SPACE, f"job/{found[0]['metadata']['name']}")
    assert told.startswith("reported in "), json.dumps(found[0])


def uploads(cluster: Cluster, statement: str) -> str:
    return cluster.kubectl("exec", "-n", SPACE, "trees-files-0", "--", "python3", "-c", statement).strip()


def test_an_upload_outlives_its_pod(cluster: Cluster) -> None:
    uploads(cluster, "open('/data/oak', 'w').write('an oak')")
    cluster.kubectl("delete", "pod", "trees-files-0", "-n", SPACE)
    assert eventually(lambda: uploads(cluster, "print(open('/data/oak').read())")) == "an oak"


def test_a_volume_does_not_shrink_and_stays_when_the_app_goes(home: Machine, city: CityFiles, cluster: Cluster) -> None:
    volume = city.one("App", "trees")["spec"]["components"][3]["volumes"][0]
    volume["size"] = "32Mi"
    city.save()
    done = home.run("preview", city, code=2)
    assert "the volume 'uploads' has 64Mi, and no volume can be made smaller" in done.text
    assert "spec.components[3].volumes[0].size" in done.text
    volume["size"] = "64Mi"
    gone = city.remove("App", "trees")
    city.save()
    home.run("up", city, "--yes", f"--confirm={NAME}")
    assert not cluster.get("statefulsets", "-n", SPACE)["items"]
    (claim,) = cluster.get("pvc", "-n", SPACE)["items"]
    city.files["city.yaml"].append(gone)
    city.save()
    home.run("up", city, "--yes")
    (again,) = cluster.get("pvc", "-n", SPACE)["items"]
    assert again["metadata"]["uid"] == claim["metadata"]["uid"]
    assert eventually(lambda: uploads(cluster, "print(open('/data/oak').read())")) == "an oak"


def _has_succeeded(job: dict[str, object]) -> bool:
    status = job["status"]
    assert isinstance(status, dict)
    return status.get("succeeded") == 1
