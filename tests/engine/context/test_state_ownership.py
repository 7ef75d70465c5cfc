"""A state that somebody else may write gives him no rights of whoever runs it next."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from tests.engine.drive import files_of, go, make_city, plan_of
from tests.support.control_plane import ControlPlane
from wecityctl.engine.context.kubeconfigs import is_harmless, known_kubeconfigs
from wecityctl.engine.state.backend import Backend, open_backend
from wecityctl.inputs import Cluster
from wecityctl.provider.settings import digest

HEALTH, TRAFFIC = "two.tenant.health.main", "two.tenant.traffic.main"


def kubeconfig(server: str = "https://a", *, ca: str = "", **user: Any) -> str:
    cluster = {"server": server, **({"certificate-authority": ca} if ca else {})}
    return json.dumps({"clusters": [{"name": "c", "cluster": cluster}], "users": [{"name": "u", "user": user}]})


EXEC = {"command": "login", "args": ["--city"]}
TODAY = kubeconfig(exec=EXEC)


@pytest.mark.parametrize(
    ("text", "harmless"),
    [
        (kubeconfig(token="t"), True),
        (kubeconfig("https://elsewhere", token="t"), True),
        (TODAY, True),
        (kubeconfig(exec=EXEC, username="old"), True),
        (kubeconfig(exec={"command": "sh"}), False),
        (kubeconfig("https://elsewhere", exec=EXEC), False),
        (kubeconfig("https://elsewhere", tokenFile="/run/token"), False),
        (kubeconfig(tokenFile="/run/token"), False),
        (kubeconfig(**{"client-key": "/root/key"}), False),
        (kubeconfig(ca="/etc/shadow", token="t"), False),
        (kubeconfig(**{"auth-provider": {"name": "x"}}), False),
        ("users: [{name: a}]", False),
        pytest.param("[" * 5000, False, id="nested too deep"),
        ("a: !!python/object/apply:os.system [id]", False),
        ("3", False),
    ],
)
def test_a_kubeconfig_in_a_state_runs_and_reads_what_today_s_do_alone(text: str, harmless: bool) -> None:
    assert is_harmless(text, [kubeconfig(token="t"), TODAY]) == harmless


@pytest.fixture
def cluster(api_server: ControlPlane) -> Cluster:
    uid = api_server.kubectl("get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}")
    return Cluster("main", api_server.kubeconfig_text, "", uid)


def resources(backend: Backend, stack: str) -> list[dict[str, Any]]:
    deployment, _ = files_of(backend).read(stack)
    assert deployment is not None
    found: list[dict[str, Any]] = deployment["resources"]
    return found


def forged(backend: Backend, *more: dict[str, Any]) -> None:
    """Write a state of the department's stack as its deployer may."""
    files = files_of(backend)
    deployment, _ = files.read(HEALTH)
    assert deployment is not None
    files.write(HEALTH, {**deployment, "resources": [*deployment["resources"], *more]})


@pytest.mark.cluster
def test_what_is_another_stack_s_is_not_touched_through_a_state(
    home: Path, api_server: ControlPlane, cluster: Cluster
) -> None:
    city = make_city("two")
    clusters = {"main": cluster}
    assert go(city, "up", clusters, program="objects").exit_code == 0
    backend = open_backend(city)
    whole = files_of(backend).stored(HEALTH)
    own = resources(backend, HEALTH)
    provider = next(item for item in own if item["type"] == "pulumi:providers:kubernetes")
    root = next(item for item in own if item["type"] == "pulumi:pulumi:Stack")
    victim = next(item for item in resources(backend, TRAFFIC) if item["type"] == "kubernetes:core/v1:ConfigMap")
    _, version, kind = victim["type"].split(":")
    group = version.rpartition("/")[0].removeprefix("core")
    place, _, name = victim["id"].rpartition("/")

    def is_there() -> bool:
        where = ["-n", place] if place else []
        return bool(api_server.kubectl("get", f"{kind}.{group}".rstrip("."), name, *where, "-o", "name"))

    taken = copy.deepcopy(victim) | {
        "urn": victim["urn"].replace(TRAFFIC, HEALTH).replace("::" + victim["urn"].rpartition("::")[2], "::mine"),
        "provider": f"{provider['urn']}::{provider['id']}",
        "parent": root["urn"],
        "dependencies": [],
        "propertyDependencies": {},
    }
    # Another provider of the same server, under another cluster's identifier.
    beside = copy.deepcopy(provider) | {"urn": provider["urn"].rpartition("::")[0] + "::beside", "id": "b1"}
    for values in (beside["inputs"], beside["outputs"]):
        values["clusterIdentifier"] = "another"
    nameless = copy.deepcopy(taken) | {"outputs": {}, "inputs": {}}
    waiting = taken | {"delete": True}
    for more in ((taken,), (nameless,), (waiting,)):
        forged(backend, *more)
        for operation, given in (("up", {}), ("destroy", {"delete_data": True, "confirm_all": True})):
            done = go(city, operation, clusters, program="objects", plan=plan_of(city).only(["health"]), **given)
            told = " ".join(text for item in done.results for text in item.errors)
            assert "names what is not its own" in told, (operation, done)
            assert TRAFFIC in told
            assert is_there()
        files_of(backend).put_back(HEALTH, whole)
    # What is said to be on another cluster is dropped from the state, and not deleted.
    forged(backend, beside, taken | {"provider": f"{beside['urn']}::b1"})
    go(city, "up", clusters, program="objects", plan=plan_of(city).only(["health"]))
    assert is_there()
    files_of(backend).put_back(HEALTH, whole)
    # A kubeconfig in a state that runs a program is none of the run's.
    evil = kubeconfig(exec={"command": "/bin/sh", "args": ["-c", "id"]})
    for values in (beside["inputs"], beside["outputs"]):
        values["kubeconfig"] = evil
    forged(backend, beside)
    known = known_kubeconfigs(backend, backend.read_state(HEALTH), [cluster])
    assert digest(cluster.kubeconfig) in known
    assert digest(evil) not in known
    files_of(backend).put_back(HEALTH, whole)
    # Also under another stack's name.
    forged(backend, taken | {"urn": victim["urn"]})
    done = go(city, "up", clusters, program="objects", plan=plan_of(city).only(["health"]))
    assert victim["urn"] in " ".join(text for item in done.results for text in item.errors)
    files_of(backend).put_back(HEALTH, whole)
    assert go(city, "up", clusters, program="objects").exit_code == 0
    api_server.kubectl("delete", "namespace", "--wait=false", "-l", "wecity.dev/city=two")
