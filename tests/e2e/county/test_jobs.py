"""An app's components on a real node: jobs at set times and before a release, volumes that stay, private registries."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import shlex
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT, blocks_of, matches, steps_of
from tests.e2e.files import CityFiles, app, document, tenant
from tests.e2e.machine import PROGRAM, Cluster, Machine, eventually
from tests.support import registry
from tests.support.real_node import require_real_node
from wecityctl.local.node.layout import Held
from wecityctl.oci.store import Store

pytestmark = pytest.mark.node

NAME = "parts"
SPACE = "parks-internet"
# What the migration leaves: a line for each version, in a table of the app's database.
MIGRATE = """
import os, sys, urllib.parse
print("migrating to", os.environ["VERSION"], "in", urllib.parse.urlsplit(os.environ["DATABASE_URL"]).path, flush=True)
sys.exit(int(os.environ["CODE"]))
"""
# Ends when it is told to, as the first process of a container does not by itself.
SLOW = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(1)); time.sleep(60)"
TIDY = "import time; print('tidying'); time.sleep(4); print('tidied')"


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
    # Due once a year: run by hand only.
    by_hand = {**job, "schedule": "0 0 1 1 *"}
    trees["spec"]["components"] += [
        {**by_hand, "name": "tidy", "command": ["python3", "-uc", TIDY]},
        {**by_hand, "name": "slow", "timeout": "2s", "command": ["python3", "-c", SLOW]},
    ]
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
    (run,) = home.run("events", city, "trees/migrate", "-o", "json").json()["runs"]
    assert (run["result"], set(run["exit_codes"])) == ("failed", {3})
    assert home.run("logs", city, "trees/migrate").out.count("| migrating to 2 in /parks_trees_db") >= 2


def test_a_mended_migration_releases(home: Machine, city: CityFiles, cluster: Cluster) -> None:
    release(city, "2")
    home.run("up", city, "--yes")
    eventually(lambda: version(cluster) == "2 postgresql://")


def test_the_report_ran_at_its_time(cluster: Cluster) -> None:
    found = eventually(lambda: [item for item in jobs(cluster, "trees-report") if _has_succeeded(item)], 90)
    told = cluster.kubectl("logs", "-n", SPACE, f"job/{found[0]['metadata']['name']}")
    assert told.startswith("reported in "), json.dumps(found[0])


def test_logs_of_components_jobs_and_earlier_runs(home: Machine, city: CityFiles) -> None:
    done = home.run("logs", city, "trees/migrate")
    assert "| migrating to 2 in /parks_trees_db" in done.out
    both = home.run("logs", city, "parks/trees", "-c", "migrate", "-c", "report", "--since", "1h")
    assert {line.partition("-")[2].partition("-")[0] for line in both.out.splitlines()} == {"migrate", "report"}
    assert "has not run yet" in home.run("logs", city, "trees/tidy", code=6).err
    assert (
        "no container of parks/trees/files has ended" in home.run("logs", city, "trees/files", "--previous", code=6).err
    )
    assert "no lines in that time" in home.run("logs", city, "trees/migrate", "--since", "1s").err


def test_a_job_runs_by_hand(home: Machine, city: CityFiles, cluster: Cluster) -> None:
    started = home.run("run", city, "trees/tidy", "--no-wait")
    name = started.out.strip()
    refused = home.run("run", city, "parks/trees/tidy", code=1)
    assert f"parks/trees/tidy runs already, as {name}" in refused.err
    eventually(lambda: _has_succeeded(cluster.get("job", name, "-n", SPACE)))
    done = home.run("run", city, "trees/tidy", "-o", "json")
    ran = done.json()["run"]
    assert (ran["result"], ran["exit_code"], ran["component"]) == ("succeeded", 0, "tidy")
    assert "| tidying\n" in done.err and "| tidied\n" in done.err
    owner = cluster.get("job", ran["name"], "-n", SPACE)["metadata"]["ownerReferences"][0]
    assert (owner["kind"], owner["name"], owner["controller"]) == ("CronJob", "trees-tidy", True)
    assert "goes on after 1 s" in home.run("run", city, "trees/tidy", "--timeout", "1s", code=9).err
    late = home.run("run", city, "trees/slow", code=4)
    assert "timed out" in late.err
    shown = home.run("logs", city, "trees/tidy", "--previous").out
    assert shown.startswith(f"{ran['name']}-")
    assert "| tidied\n" in shown
    # Nothing of it is undeclared or in the way of a run.
    home.run("preview", city, "--detailed-exitcode")
    home.run("status", city)
    assert "is no job" in home.run("run", city, "trees/web", code=2).err


def test_events_tell_what_happened_and_how_jobs_ended(home: Machine, city: CityFiles) -> None:
    found = home.run("events", city, "trees", "-o", "json").json()
    assert {"migrate", "report", "tidy", "slow"} <= {item["component"] for item in found["runs"]}
    (late,) = (item for item in found["runs"] if item["component"] == "slow")
    assert (late["result"], " on " in late["started_by"]) == ("timed-out", True)
    times = [datetime.fromisoformat(item["last"]) for item in found["events"]]
    assert times == sorted(times)
    assert any(item["reason"] == "Started" and item["component"] == "web" for item in found["events"])
    warned = home.run("events", city, "trees/migrate", "--warnings", "-o", "json").json()["events"]
    assert warned and {item["type"] for item in warned} == {"Warning"}
    assert {item["component"] for item in warned} == {"migrate"}
    shown = home.run("events", city, "trees/migrate", "--since", "1h").out
    assert "EXIT CODE" in shown and "BackoffLimitExceeded" in shown
    with home.running("events", city, "trees/web", "--follow", "-o", "json") as following:
        assert following.stdout is not None
        assert json.loads(following.stdout.readline())["component"] == "web"


def test_a_command_in_a_container_is_noted(home: Machine, city: CityFiles) -> None:
    told = "import sys; print('here'); print('there', file=sys.stderr); sys.exit(7)"
    done = home.run("exec", city, "trees", "--", "python3", "-c", told, code=7)
    assert (done.out, "there" in done.err, "is lost when the pod ends" in done.err) == ("here\n", True, True)
    upper = "import sys; sys.stdout.write(sys.stdin.read().upper())"
    assert home.run("exec", city, "trees/web", "-i", "--", "python3", "-c", upper, stdin="oak" * 50_000).out == (
        "OAK" * 50_000
    )
    assert home.run("exec", city, "trees/files", "--", "no-such-program", code=None).code not in (0, 2)
    assert (
        "did you mean 'trees-files-0'"
        in home.run("exec", city, "trees/files", "--pod", "tree-files", "--", "ls", code=2).err
    )
    updates = home.run("history", city, "-n", "100", "-o", "json").json()["updates"]
    noted = [item for item in updates if item["operation"] == "exec"]
    assert [item["result"] for item in reversed(noted)][:2] == ["exit code 7", "exit code 0"]
    assert noted[-1]["access"].startswith("parks/trees/web, pod trees-web-")
    assert "sys.exit(7)" in noted[-1]["access"]
    assert " as " in noted[-1]["who"]


def test_a_command_has_a_terminal_where_there_is_one(home: Machine, city: CityFiles) -> None:
    told = "import os; print('terminal', os.isatty(0), input().upper()); raise SystemExit(5)"
    process, terminal = pty.fork()
    if not process:
        os.environ.update(home.environment())
        os.execv(PROGRAM, [str(PROGRAM), "exec", str(city), "trees", "--", "python3", "-c", told])
    os.write(terminal, b"oak\n")
    seen = b""
    with contextlib.suppress(OSError):
        while select.select([terminal], [], [], 60)[0]:
            seen += os.read(terminal, 4096)
    # Ends a program that hangs.
    os.close(terminal)
    _, status = os.waitpid(process, 0)
    assert b"terminal True OAK" in seen, seen
    assert os.waitstatus_to_exitcode(status) == 5


def test_an_app_is_opened(home: Machine, city: CityFiles) -> None:
    found = home.run("open", city, "trees", "-o", "json").json()
    assert found["host"] == f"trees.{NAME}.gov.example"
    reached = subprocess.run(
        [*shlex.split(found["curl"]), "-s", "-o", "/dev/null", "-w", "%{http_code}"],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert reached.stdout == "200"


def test_a_port_is_forwarded_to_its_own_user_alone(home: Machine, city: CityFiles) -> None:
    with home.running("open", city, "trees/files", "--forward", "--for", "1m", "-o", "json") as forwarding:
        assert forwarding.stdout is not None
        told = json.loads(forwarding.stdout.readline())
        assert told["pod"] == "trees-files-0"
        for _ in range(3):
            with urllib.request.urlopen(told["url"], timeout=20) as answer:
                assert answer.status == 200
        ask = f"import urllib.request; urllib.request.urlopen({told['url']!r}, timeout=20)"
        foreign = subprocess.run(
            ["/usr/bin/python3", "-c", ask], user=65534, group=65534, capture_output=True, text=True, check=False
        )
        assert foreign.returncode
        assert "reset" in foreign.stderr or "closed" in foreign.stderr, foreign.stderr
        forwarding.send_signal(signal.SIGINT)
        assert forwarding.wait(30) == 8
    noted = home.run("history", city, "-n", "100", "-o", "json").json()["updates"]
    assert [item["result"] for item in noted if item["operation"] == "forward"] == ["interrupted"]


def test_the_page_about_it_is_true(home: Machine, city: CityFiles) -> None:
    """Every command of the page that is for this city, in its directory."""
    page = ROOT / "docs" / "how-to" / "look-into-an-app.md"
    steps = [step for block in blocks_of(page) if block.need == "components" for step in steps_of(block)]
    assert len(steps) > 8
    path = f"{PROGRAM.parent}:{os.environ['PATH']}"
    for step in steps:
        done = subprocess.run(
            ["bash", "-c", f"set -eu -o pipefail\n{step.command}"],
            cwd=city.directory,
            env=home.environment(PATH=path),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{step.command}\n{done.stdout}"
        assert not step.expected or matches(step.expected, done.stdout), f"{step.command}\n{done.stdout}"


def uploads(cluster: Cluster, statement: str) -> str:
    return cluster.kubectl("exec", "-n", SPACE, "trees-files-0", "--", "python3", "-c", statement).strip()


def test_an_upload_outlives_its_pod(cluster: Cluster) -> None:
    uploads(cluster, "open('/data/oak', 'w').write('an oak')")
    cluster.kubectl("delete", "pod", "trees-files-0", "-n", SPACE)
    assert eventually(lambda: uploads(cluster, "print(open('/data/oak').read())")) == "an oak"


def test_a_suspended_app_says_so_and_comes_back_with_its_data(home: Machine, city: CityFiles, cluster: Cluster) -> None:
    def asked() -> str:
        curl = shlex.split(home.run("open", city, "trees", "-o", "json").json()["curl"])
        return subprocess.run(
            [*curl, "-s", "-w", "%{http_code}"], capture_output=True, text=True, timeout=30, check=True
        ).stdout

    trees = city.one("App", "trees")["spec"]
    trees["stage"] = "suspended"
    home.run("up", city.save(), "--yes")
    page = asked()
    assert page.endswith("503")
    assert "该服务已暂停" in page
    # Deployments end; what has a volume keeps it.
    assert cluster.get("deployment", "trees-web", "-n", SPACE)["spec"]["replicas"] == 0
    trees["stage"] = "published"
    home.run("up", city.save(), "--yes")
    assert asked().endswith("200")
    assert uploads(cluster, "print(open('/data/oak').read())") == "an oak"


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


HOST = "127.0.0.1:5999"
PULL = "pull.127.0.0.1.5999"


@pytest.fixture(scope="module")
def private(home: Machine) -> Iterator[subprocess.Popen[str]]:
    """A registry in the node's network namespace that asks for a password; a line on its stdin changes that."""
    spec = json.loads((home.state / "clouds" / f"{NAME}-main" / "node" / "hold.json").read_text())
    held = Held.load(Path(spec["run"]) / "node.json")
    assert held is not None
    images = Store(home.root / "k" / "wecityctl" / "images" / "store").all()
    archive = next(item.archive for item in images if item.name == "sample-app")
    command = [sys.executable, registry.__file__, HOST.partition(":")[2], "parks:first", str(archive)]
    with subprocess.Popen(
        ["nsenter", f"--net=/proc/{held.pid}/ns/net", *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None and process.stdin is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.stdin.close()
        process.wait(10)


def waiting(cluster: Cluster, app: str) -> str:
    """Why the container of an app's newest pod does not run; empty if it does."""
    items = cluster.get("pods", "-n", SPACE, "-l", f"app.kubernetes.io/name={app}")["items"]
    state = items[-1]["status"]["containerStatuses"][0]["state"]
    return str(state.get("waiting", {}).get("reason", ""))


def test_a_private_image_starts_with_the_citys_credential_alone(
    home: Machine, city: CityFiles, cluster: Cluster, private: subprocess.Popen[str]
) -> None:
    spec = next(city.documents("City"))["spec"]
    spec["images"]["credentials"] = {HOST: "harbor"}
    owls = app("owls", "parks")
    owls["spec"]["components"][0]["image"] = f"{HOST}/parks/owls:1"
    city.add("owls.yaml", owls)
    city.one("Tenant", "parks")["spec"] |= {"admins": ["ann@parks.example"], "deployers": ["ci@parks.example"]}
    city.save()
    assert "harbor" in home.run("preview", city, code=2).err
    home.run("secrets", "set", city, "harbor", stdin="no colon", code=2)
    home.run("secrets", "set", city, "harbor", stdin="parks:first")
    home.run("up", city, "--yes")
    assert not waiting(cluster, "owls")
    pod = cluster.get("pods", "-n", SPACE, "-l", "app.kubernetes.io/name=owls")["items"][0]["spec"]
    assert pod["imagePullSecrets"] == [{"name": PULL}]
    trees = cluster.get("pods", "-n", SPACE, "-l", "app.kubernetes.io/name=trees")["items"]
    assert not any("imagePullSecrets" in item["spec"] for item in trees)
    # The same image in a pod that does not name the secret; the node asks the registry whether the pod may have it.
    pod = {key: pod[key] for key in ("containers", "securityContext", "automountServiceAccountToken")}
    container = {**pod["containers"][0], "image": f"{HOST}/parks/owls:2", "volumeMounts": [], "env": []}
    labels = {"app.kubernetes.io/name": "bare"}
    cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "bare", "namespace": SPACE, "labels": labels},
            "spec": {**pod, "containers": [container]},
        }
    )
    eventually(lambda: waiting(cluster, "bare") in ("ErrImagePull", "ImagePullBackOff"), 60)
    cluster.kubectl("delete", "pod", "bare", "-n", SPACE, "--wait=false")


def test_the_tenants_people_do_not_read_the_credential(cluster: Cluster) -> None:
    for who in ("ann@parks.example", "ci@parks.example"):
        told = cluster.kubectl("get", "secret", PULL, "-n", SPACE, f"--as={who}", code=1)
        assert "Forbidden" in told, told
        assert "Forbidden" in cluster.kubectl("get", "secrets", "-n", SPACE, f"--as={who}", code=1)
        for verb in ("get", "list", "watch", "patch"):
            asked = cluster.kubectl("auth", "can-i", verb, f"secrets/{PULL}", "-n", SPACE, f"--as={who}", code=None)
            assert asked.startswith("no"), (who, verb, asked)
    # The deployer goes on reading what its own apps have.
    cluster.kubectl("get", "secret", "trees-binding-db", "-n", SPACE, "--as=ci@parks.example")


def test_a_changed_credential_is_pulled_with(
    home: Machine, city: CityFiles, cluster: Cluster, private: subprocess.Popen[str]
) -> None:
    assert private.stdin is not None and private.stdout is not None
    private.stdin.write("parks:second\n")
    private.stdin.flush()
    assert private.stdout.readline() == "changed\n"
    home.run("secrets", "set", city, "harbor", stdin="parks:second")
    city.component("owls")["image"] = f"{HOST}/parks/owls:3"
    city.save()
    done = home.run("up", city, "--yes", "--only", "parks", "-o", "json")
    assert f"update Secret {SPACE}/{PULL}" in done.changes()
    assert not waiting(cluster, "owls")


NEST = """
apiVersion: v1
kind: ConfigMap
metadata: {name: nest-rules}
data: {rules.txt: no cats}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: nest, labels: {team: owls}}
spec:
  selector: {matchLabels: {role: nest}}
  template:
    metadata: {labels: {role: nest}}
    spec:
      containers:
        - name: nest
          image: catalogue:sample-app
          env: [{name: PORT, value: "8080"}]
          ports: [{name: http, containerPort: 8080}]
          resources: {requests: {cpu: 20m, memory: 64Mi}}
          readinessProbe: {httpGet: {path: /healthz, port: http}}
          volumeMounts: [{name: rules, mountPath: /rules}, {name: tmp, mountPath: /tmp}]
      volumes: [{name: rules, configMap: {name: nest-rules}}, {name: tmp, emptyDir: {}}]
---
apiVersion: v1
kind: Service
metadata: {name: nest}
spec: {selector: {role: nest}, ports: [{name: http, port: 80, targetPort: http}]}
---
apiVersion: batch/v1
kind: Job
metadata: {name: hatch}
spec:
  template:
    spec:
      restartPolicy: Never
      containers: [{name: hatch, image: "catalogue:sample-app", command: [python3, -c, "print('hatched')"]}]
"""
OWN = ("deployment/nest", "service/nest", "configmap/nest-rules")


def calls(cluster: Cluster, app: str) -> str:
    """What a pod of an app gets from the Service of the app's own manifest."""
    read = (
        "import urllib.request as u\n"
        "try: print(u.urlopen('http://nest/healthz', timeout=3).status)\n"
        "except OSError as error: print('refused', error)"
    )
    return cluster.kubectl("exec", "-n", SPACE, f"deploy/{app}-web", "--", "python3", "-c", read).strip()


def test_a_manifest_runs_under_the_policies_of_its_app(home: Machine, city: CityFiles, cluster: Cluster) -> None:
    owls = city.one("App", "owls")["spec"]
    owls["manifests"] = ["own/nest.yaml"]
    owls["components"][0]["image"] = "catalogue:sample-app"
    (city.directory / "own").mkdir()
    (city.directory / "own" / "nest.yaml").write_text(NEST)
    city.save()
    home.run("up", city, "--yes", "--only", "parks")
    assert eventually(lambda: calls(cluster, "owls") == "200")
    assert calls(cluster, "trees").startswith("refused")
    read = ("exec", "-n", SPACE, "deploy/nest", "--", "cat", "/rules/rules.txt")
    assert cluster.kubectl(*read) == "no cats"
    (job,) = jobs(cluster, "hatch")
    assert _has_succeeded(job)
    home.run("preview", city, "--only", "parks", "--detailed-exitcode")


def test_a_changed_manifest_is_put_right_and_goes_with_its_file(
    home: Machine, city: CityFiles, cluster: Cluster
) -> None:
    cluster.kubectl("delete", "service", "nest", "-n", SPACE)
    done = home.run("up", city, "--yes", "--only", "parks", "-o", "json")
    assert f"create Service {SPACE}/nest" in done.changes()
    assert eventually(lambda: calls(cluster, "owls") == "200")
    del city.one("App", "owls")["spec"]["manifests"]
    (city.directory / "own" / "nest.yaml").unlink()
    city.save()
    home.run("up", city, "--yes", "--only", "parks", f"--confirm={NAME}")
    for name in OWN:
        assert "NotFound" in cluster.kubectl("get", name, "-n", SPACE, code=1)


def _has_succeeded(job: dict[str, object]) -> bool:
    status = job["status"]
    assert isinstance(status, dict)
    return status.get("succeeded") == 1
