"""A city that the release before brought up on a real node is taken over: no object is remade, no row is lost.

What this release does to it is listed: mended scripts and limits are updates, new checks are additions.

The release before runs here as its users have it: the content of its wheel, with the dependencies of today.
"""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Mapping

import pytest

from tests.e2e import released
from tests.e2e.files import CityFiles, app, document, tenant
from tests.e2e.machine import Cluster, Machine, eventually, object_id
from tests.support.real_node import require_real_node

pytestmark = pytest.mark.node

NAME = "kept"
PSQL = "/usr/lib/postgresql/15/bin/psql"
DATABASE = "parks_trees_db"
# What this release mends in place in a city of the release before.
MENDED = frozenset(
    {
        # The guard counts users that are locked.
        "update StatefulSet platform-application/cache",
        # PostgreSQL rejects accounts that end, and gets verifiers in place of passwords.
        "update StatefulSet platform-application/postgresql",
        "update Secret provision-parks-trees-cache-credentials",
        "update Secret provision-parks-trees-db-credentials",
        # The tenants' quotas bound what is used and how many objects there are.
        "update ResourceQuota parks-internet/quota",
        "update LimitRange parks-internet/defaults",
        # The gateway removes more headers, and its redirect names the server.
        "update ConfigMap platform-application/gateway-configuration",
        "update Deployment platform-application/gateway",
        "update ConfigMap routes",
        # Services with a certificate say when it ends.
        *(f"update Service platform-application/{name}" for name in ("cache", "entry", "gateway", "postgresql")),
        # The sample app serves metrics.
        "update Deployment parks-internet/trees-web",
    }
)
# What controllers write by themselves while nobody changes anything.
RESTLESS = ("Endpoints", "EndpointSlice", "Event", "Lease")


@pytest.fixture(scope="module")
def city(home: Machine) -> CityFiles:
    require_real_node()
    spec = {
        "domain": f"{NAME}.gov.example",
        "zones": [{"name": "internet", "kind": "internet"}],
        "images": {"source": "built", "architectures": ["amd64"]},
    }
    capabilities = [{"name": "gateway"}, {"name": "postgresql"}, {"name": "cache"}]
    # Today's files; the word for a tenant's area was another one.
    department = tenant("parks")
    documents = [
        document("City", NAME, spec),
        document("Cloud", "main", {"provider": "local", "zones": ["internet"], "local": {"nodes": "real"}}),
        document("Platform", "application", {"capabilities": capabilities}),
        department,
        app("trees", "parks", uses=({"capability": "postgresql", "as": "db"}, {"capability": "cache", "as": "cache"})),
    ]
    return CityFiles(home.root / "city", {"city.yaml": documents}).save()


@pytest.fixture(scope="module")
def cluster(home: Machine) -> Cluster:
    return Cluster(home.state / "clouds" / f"{NAME}-main" / "kubeconfig")


@pytest.fixture(scope="module")
def before(home: Machine, city: CityFiles, cluster: Cluster) -> Mapping[str, tuple[str, int]]:
    """Bring the city up by the release before and write rows; return each object's uid and generation."""
    program = released.install(home.root / "released")
    department = city.one("Tenant", "parks")["spec"]
    area = department.pop("area")
    department["domain"] = area
    city.save()
    command = [*program, "up", str(city), "--yes"]
    done = subprocess.run(command, env=home.environment(), capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    home.run("migrate", city)
    assert "area" in (city.directory / "city.yaml").read_text()
    sql(cluster, "CREATE TABLE oaks AS SELECT generate_series(1, 1000) AS number")
    return objects(cluster)


def sql(cluster: Cluster, query: str) -> str:
    secret = cluster.get("secret", "postgresql-admin", "-n", "platform-application")
    password = base64.b64decode(secret["data"]["password"]).decode()
    inside = ("exec", "-n", "platform-application", "postgresql-0", "-c", "postgresql", "--")
    call = ("env", f"PGPASSWORD={password}", PSQL, "-h", "127.0.0.1", "-U", "postgres", "-d", DATABASE, "-Atc", query)
    return cluster.kubectl(*inside, *call).strip()


def objects(cluster: Cluster) -> dict[str, tuple[str, int]]:
    kinds = ",".join(cluster.kubectl("api-resources", "--verbs=list", "-o", "name").split())
    items = json.loads(cluster.kubectl("get", kinds, "-A", "-o", "json"))["items"]
    return {
        object_id(item["kind"], item["metadata"]): (item["metadata"]["uid"], item["metadata"].get("generation", 0))
        for item in items
        # What is computed for each request, such as the metrics of pods, has no uid.
        if item["kind"] not in RESTLESS and "uid" in item["metadata"]
    }


def test_a_preview_names_what_this_release_does_and_nothing_else(
    home: Machine, city: CityFiles, before: Mapping[str, tuple[str, int]]
) -> None:
    changes = home.run("preview", city, "-o", "json").changes()
    # Jobs are named by what they do: a mended script is another Job.
    lasting = {change for change in changes if " Job " not in change and not change.startswith("create ")}
    assert lasting <= MENDED


def test_an_up_leaves_every_object_and_row(
    home: Machine, city: CityFiles, cluster: Cluster, before: Mapping[str, tuple[str, int]]
) -> None:
    assert len(before) > 100
    home.run("up", city, "--yes", "--no-skip")
    after = objects(cluster)
    passing = ("Job ", "Pod ", "ReplicaSet ", "ControllerRevision ", "CiliumEndpoint ")
    remade = {name for name, (uid, _) in before.items() if after.get(name, ("", 0))[0] != uid}
    assert {name for name in remade if not name.startswith(passing)} == set()
    assert sql(cluster, "SELECT count(*), sum(number) FROM oaks") == "1000|500500"
    home.run("status", city)
    assert home.run("preview", city, "--detailed-exitcode", "-o", "json").changes() == set()


def test_a_change_in_the_files_is_made_where_it_is(
    home: Machine, city: CityFiles, cluster: Cluster, before: Mapping[str, tuple[str, int]]
) -> None:
    city.one("Tenant", "parks")["spec"]["area"] = city.one("Tenant", "parks")["spec"].pop("domain")
    city.component("trees")["replicas"] = 2
    city.save()
    done = home.run("up", city, "--yes", "-o", "json")
    added = "create PodDisruptionBudget parks-internet/trees-web"
    assert done.changes() == {"update Deployment parks-internet/trees-web", added}
    eventually(lambda: cluster.get("deployment", "trees-web", "-n", "parks-internet")["status"]["readyReplicas"] == 2)
    assert sql(cluster, "SELECT count(*) FROM oaks") == "1000"
