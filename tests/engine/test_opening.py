"""Clouds are opened side by side and in bounded time: what is wrong with one is that one's matter."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import yaml

from tests.engine.drive import CATALOGUE, go, make_city
from tests.engine.run.test_execution import outcomes
from tests.support.control_plane import ControlPlane, free_ports, make_kubeconfig
from tests.support.pki import Authority
from wecityctl.clusters import open_clusters
from wecityctl.engine.state.backend import Backend
from wecityctl.engine.state.checkpoint import StackState
from wecityctl.errors import ConfigurationError, ExitCode
from wecityctl.inputs import Cluster, Clusters
from wecityctl.kube.errors import Unreachable
from wecityctl.kube.identify import VARIABLE
from wecityctl.model.city import City, Cloud, KubernetesSettings
from wecityctl.model.outputs import LandingOutputs, to_json
from wecityctl.operations.status.examination import balancer_statuses

TOKEN = {"token": "root-token"}


@pytest.fixture
def black_hole() -> Iterator[int]:
    """The port of a socket that takes connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        yield listener.getsockname()[1]


def adopted(name: str, kubeconfig: Path) -> Cloud:
    return Cloud(name, "kubernetes", ("internet",), kubernetes=KubernetesSettings(str(kubeconfig)))


def written(path: Path, server: str, authority: bytes) -> Path:
    path.write_text(json.dumps(make_kubeconfig(server, authority, TOKEN)))
    return path


def city_of(*clouds: Cloud) -> City:
    return replace(make_city("far", ()), clouds=clouds)


def opened(city: City) -> tuple[Clusters, float]:
    begun = time.monotonic()
    found = open_clusters(city, CATALOGUE, lambda event: None, start=False)
    return found, time.monotonic() - begun


def test_what_a_landing_zone_put_out_is_read_once_for_all_who_want_it() -> None:
    put_out = LandingOutputs("ali", "alicloud", "cn-x", "", "vpc-1", {}, "c-1", balancers={"internet": "lb-1"})
    asked: list[str] = []

    class Kept:
        city = "far"

        def read_state(self, name: str) -> StackState:
            asked.append(name)
            return StackState(name, (), (), to_json(put_out), "", "", None)

    city = city_of(Cloud("ali", "alicloud", ("internet",), region="cn-x"))
    found = open_clusters(city, CATALOGUE, lambda event: None, start=False, backend=cast(Backend, Kept()))
    assert "gave no kubeconfig" in found.failed["ali"].message
    (balancer,) = balancer_statuses(found.provisioned)
    assert (balancer.cloud, balancer.zone, balancer.balancer) == ("ali", "internet", "lb-1")
    assert asked == ["far.landing.ali"]


@pytest.mark.cluster
def test_sick_clouds_hold_up_no_healthy_one_and_each_says_what_it_has(
    api_server: ControlPlane, black_hole: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (refused,) = free_ports(1)
    ours = api_server.authority.cert
    clouds = (
        adopted("refused", written(tmp_path / "refused", f"https://127.0.0.1:{refused}", ours)),
        adopted("silent", written(tmp_path / "silent", f"https://127.0.0.1:{black_hole}", ours)),
        adopted("silent-too", written(tmp_path / "silent-too", f"https://127.0.0.1:{black_hole}", ours)),
        adopted("forged", written(tmp_path / "forged", api_server.server, Authority("another").cert)),
        adopted("nowhere", tmp_path / "no-such-file"),
        adopted("healthy", api_server.kubeconfig),
    )
    monkeypatch.setenv(VARIABLE, "3")
    found, seconds = opened(city_of(*clouds))
    assert seconds < 6, "one after the other they would take twice that"
    assert list(found.found) == ["healthy"]
    uid = api_server.kubectl("get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}")
    assert found.found["healthy"].identifier == uid
    assert found.found["healthy"].kubernetes_version.startswith("v1.")
    assert list(found.failed) == ["refused", "silent", "silent-too", "forged", "nowhere"]
    why = {name: error.why for name, error in found.failed.items() if isinstance(error, Unreachable)}
    assert why == {"refused": "refused", "silent": "timeout", "silent-too": "timeout", "forged": "unknown-authority"}
    assert f"127.0.0.1:{black_hole}" in found.failed["silent"].message
    assert VARIABLE in found.failed["silent"].resolution
    assert "no-such-file" in found.failed["nowhere"].message


@pytest.mark.slow
def test_the_time_is_bounded_without_being_told(black_hole: int, tmp_path: Path) -> None:
    silent = adopted("silent", written(tmp_path / "silent", f"https://127.0.0.1:{black_hole}", Authority().cert))
    found, seconds = opened(city_of(silent))
    assert list(found.failed) == ["silent"]
    assert 5 < seconds < 13


@pytest.mark.parametrize("text", ["soon", "0", "-3", "601", "nan"])
def test_a_time_that_is_none_is_told(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, text)
    with pytest.raises(ConfigurationError, match=VARIABLE):
        opened(city_of())


@pytest.mark.cluster
def test_a_context_that_leads_to_another_cluster_is_refused_before_anything_happens(
    home: Path, api_server: ControlPlane, tmp_path: Path
) -> None:
    uid = api_server.kubectl("get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}")
    way = yaml.safe_load(api_server.kubeconfig_text)
    way["contexts"][0]["name"] = way["current-context"] = "prod"
    here = Cluster("main", yaml.safe_dump(way), "prod", uid)
    city = replace(make_city("elsewhere", ()), clouds=(adopted("main", api_server.kubeconfig),))
    assert go(city, "up", {"main": here}, program="objects").exit_code == 0
    # The same way leads to another cluster today: as far as anybody can tell, to somebody else's.
    there = replace(here, identifier="11111111-2222-3333-4444-555555555555")
    for operation in ("preview", "up", "refresh", "destroy"):
        with pytest.raises(ConfigurationError) as caught:
            go(city, operation, {"main": there}, program="objects", confirm_all=True)
        assert caught.value.exit_code == ExitCode.CONFIGURATION
        assert "'prod' leads to another cluster" in caught.value.message
        assert uid in caught.value.details
        assert "--new-cluster main" in caught.value.resolution
    left = api_server.kubectl("get", "namespaces", "-l", "wecity.dev/city=elsewhere", "-o", "name").split()
    assert len(left) == 3
    # Said to be meant, all is made on the new one, and nothing is asked of the old one.
    meant = {"new_clusters": frozenset({"main"})}
    shown = go(city, "preview", {"main": there}, program="objects", **meant)
    assert {change.op for item in shown.results for change in item.changes} == {"create"}
    result = go(city, "up", {"main": there}, program="objects", **meant)
    assert set(outcomes(result).values()) <= {"succeeded", "unchanged"}
    assert outcomes(result)["base.main"] == "succeeded"
    assert not go(city, "preview", {"main": there}, program="objects").has_changes
    api_server.kubectl("delete", "namespace", "--wait=false", "-l", "wecity.dev/city=elsewhere")
