"""Landing zones through the real engine: the kubeconfig that one puts out is that of a real API server, on which the
stacks above come up in the same run. The vendor's plug-in is never started: the zones' program has components only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.engine.drive import CATALOGUE, make_city, session_of
from tests.engine.run.test_execution import everything_below, outcomes
from tests.support.control_plane import ControlPlane
from tests.support.some import some
from wecityctl import clusters
from wecityctl.engine.context.landing_outputs import kept_outputs
from wecityctl.engine.context.options import RunOptions, Timeouts
from wecityctl.engine.run.execution import run
from wecityctl.engine.state.backend import open_backend
from wecityctl.engine.workers import vendors
from wecityctl.errors import ExitCode
from wecityctl.model.city import City, Cloud, Network
from wecityctl.model.events import Event, RunResult
from wecityctl.model.vendors import VendorSettings
from wecityctl.model.vendors import vendors as all_vendors

ALI = Cloud("ali", "alicloud", ("internet",), region="cn-shenzhen", network=Network(cidr="10.8.0.0/16"))


@pytest.fixture
def at_vendor(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with the vendor's plug-in, which is never started, and credentials."""
    install_plugin(home)
    monkeypatch.setenv("ALICLOUD_ACCESS_KEY", "key")
    monkeypatch.setenv("ALICLOUD_SECRET_KEY", "secret")
    return home


def install_plugin(home: Path, package: str = "alicloud") -> None:
    version = vendors.sdk_version(all_vendors()[package])
    directory = home / "home" / ".pulumi" / "plugins" / f"resource-{package}-v{version}"
    directory.mkdir(parents=True)
    program = directory / f"pulumi-resource-{package}"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o700)


def landed_city(name: str, *clouds: Cloud, tenants: tuple[str, ...] = (), **labels: str) -> City:
    return replace(make_city(name, tenants, **labels), clouds=clouds or (ALI,))


def go(city: City, operation: str, events: list[Event] | None = None, **options: object) -> RunResult:
    """A run as the command line makes it: clouds opened first, with the state's kubeconfigs."""
    backend = open_backend(city)
    found = clusters.open_clusters(city, CATALOGUE, lambda event: None, start=False, backend=backend)
    return run(
        session_of(city),
        RunOptions(operation, provider="builtin", program="tests.engine.programs:provisioned", **options),
        found,
        backend,
        events.append if events is not None else lambda event: None,
        open_provisioned=clusters.open_provisioned,
    )


def of(result: RunResult, stack: str) -> object:
    return next(item for item in result.results if item.stack.endswith(stack))


@pytest.fixture
def name(request: pytest.FixtureRequest, cluster: ControlPlane) -> Iterator[str]:
    """A city's name that no other test uses; its namespaces are gone afterwards."""
    name = "l" + "".join(c for c in request.node.name if c.isalnum())[5:30].lower()
    yield name
    cluster.kubectl("delete", "namespace", "--wait=false", "-l", f"wecity.dev/city={name}")


def namespaces(cluster: ControlPlane, name: str) -> set[str]:
    found = cluster.kubectl("get", "namespaces", "-l", f"wecity.dev/city={name}", "-o", "name")
    return {line.removeprefix(f"namespace/{name}-") for line in found.split()}


@pytest.mark.cluster
def test_one_up_makes_the_landing_zone_and_all_that_stands_on_its_cluster(
    at_vendor: Path, name: str, cluster: ControlPlane
) -> None:
    city = landed_city(name, tenants=("health",), **{"kubeconfig-ali": str(cluster.kubeconfig)})
    # Nothing is there: the zone is previewed by the engine, the rest recorded and said to be so.
    shown = go(city, "preview")
    assert set(outcomes(shown).values()) == {"succeeded", "unchanged"}
    assert {change.name for change in of(shown, "landing.ali").changes} == {"network", "cluster"}
    above = of(shown, "tenant.health.ali")
    assert above.reason == f"would create {len(above.changes)} resources, once the landing zone of ali is up"
    assert {"space", "c0", "c1"} <= {change.name for change in above.changes}
    assert "cloud ali is not up yet" in " ".join(shown.notes)
    assert everything_below(at_vendor / "state") == []
    # One run: the zone, then its cluster's stacks in the real API server.
    result = go(city, "up")
    assert set(outcomes(result).values()) == {"succeeded"}, result
    assert namespaces(cluster, name) == {"base-ali", "platform-application-ali", "tenant-health-ali", "entry"}
    # What a preview said is what an `up` did.
    did = {change.name for change in of(result, "tenant.health.ali").changes}
    assert did == {change.name for change in above.changes}
    # The kubeconfig is in the state, encrypted, and nowhere else.
    kubeconfig = cluster.kubeconfig.read_text()
    kept = kept_outputs(open_backend(city), "ali")
    assert kept is not None
    assert kept.kubeconfig == kubeconfig
    marks = [
        line.strip() for line in kubeconfig.splitlines() if "certificate-authority-data" in line or "key-data" in line
    ]
    assert marks
    for path in some(path for path in everything_below(at_vendor / "state") if path.is_file()):
        text = path.read_text(errors="replace")
        assert not any(mark in text for mark in marks), path
    # Again: the cluster is reached by the state's kubeconfig; the zone is skipped and never called unchanged.
    again = go(city, "up")
    assert of(again, "landing.ali").outcome == "skipped"
    assert "last looked at" in of(again, "landing.ali").reason
    rest = {key: value for key, value in outcomes(again).items() if key != "landing.ali"}
    assert set(rest.values()) == {"unchanged"}
    assert "objects are as the run of" in of(again, "base.ali").reason
    # Looked at through the engine: nothing to change either, and a preview says so too.
    assert set(outcomes(go(city, "up", skip=False)).values()) == {"unchanged"}
    assert not go(city, "preview").has_changes


@pytest.mark.cluster
def test_a_change_of_an_app_leaves_the_landing_zone_out_and_one_of_the_zone_does_not(
    at_vendor: Path, name: str, cluster: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = {"kubeconfig-ali": str(cluster.kubeconfig)}
    assert go(landed_city(name, **labels), "up").exit_code == 0
    # Whoever only looks after apps has no credentials of the vendor.
    monkeypatch.delenv("ALICLOUD_ACCESS_KEY")
    more = landed_city(name, tenants=("health",), **labels)
    result = go(more, "up")
    assert of(result, "landing.ali").outcome == "skipped"
    assert of(result, "tenant.health.ali").outcome == "succeeded"
    # Nor does the age of what was noted make them need some: nobody has looked, and that is said.
    later = go(more, "up", timeouts=Timeouts(age=0.001))
    assert of(later, "landing.ali").outcome == "skipped"
    assert of(later, "landing.ali").reason == "not looked at: cloud ali: there are no credentials for alicloud"
    # A wider zone cannot be had without them; what depends on the cluster waits for it.
    wider = go(
        landed_city(name, replace(ALI, network=Network(cidr="10.9.0.0/16")), tenants=("health",), **labels), "up"
    )
    assert wider.exit_code == ExitCode.AUTHENTICATION
    assert "ALICLOUD_ACCESS_KEY" in of(wider, "landing.ali").errors[0]
    assert of(wider, "base.ali").outcome == "blocked"


@pytest.mark.cluster
def test_down_goes_the_landing_zone_last_and_only_with_its_data(
    at_vendor: Path, name: str, cluster: ControlPlane
) -> None:
    labels = {"kubeconfig-ali": str(cluster.kubeconfig)}
    city = landed_city(name, **labels)
    go(city, "up")
    events: list[Event] = []
    result = go(city, "destroy", events, confirm_all=True, delete_data=True)
    assert result.exit_code == 0, result
    ended = [item.stack.removeprefix(f"{name}.") for item in result.results if item.outcome == "succeeded"]
    assert ended.index("base.ali") < ended.index("landing.ali")
    assert open_backend(city).list_stacks() == ()
    assert namespaces(cluster, name) == set() or "Terminating" in cluster.kubectl("get", "namespaces")


@pytest.mark.cluster
def test_one_cloud_without_plug_in_or_cluster_does_not_stop_the_other(
    at_vendor: Path, name: str, cluster: ControlPlane, tmp_path: Path
) -> None:
    dead = tmp_path / "dead"
    dead.write_text(cluster.kubeconfig.read_text().replace(f":{cluster.port}", ":9"))
    # ali: healthy; huawei: no plug-in on this machine; far: comes up, but its cluster does not answer.
    huawei = replace(ALI, name="huawei", provider="huaweicloud", settings=VendorSettings())
    far = replace(ALI, name="far")
    city = landed_city(
        name, ALI, huawei, far, **{"kubeconfig-ali": str(cluster.kubeconfig), "kubeconfig-far": str(dead)}
    )
    monkey = pytest.MonkeyPatch()
    monkey.setattr(clusters.elsewhere, "FRESH_SECONDS", 3.0)
    try:
        result = go(city, "up")
    finally:
        monkey.undo()
    found = outcomes(result)
    assert result.exit_code == ExitCode.DEPLOYMENT
    assert {found["landing.ali"], found["base.ali"], found["platform.application.ali"], found["entry"]} == {"succeeded"}
    assert (found["landing.huawei"], found["base.huawei"]) == ("failed", "blocked")
    (told,) = of(result, "landing.huawei").errors
    assert "pulumi-resource-huaweicloud 0.0.12 is not on this machine" in told
    assert "engine install --part" not in told
    assert "pulumi plugin install resource huaweicloud v0.0.12" in told
    # Its landing zone is up; its own stacks alone fail, and say why.
    assert (found["landing.far"], found["base.far"]) == ("succeeded", "failed")
    assert "127.0.0.1:9" in of(result, "base.far").reason


@pytest.mark.engine
def test_a_missing_sdk_plug_in_and_credential_are_each_told(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for provider, variable in (
        ("alicloud", "ALICLOUD_ACCESS_KEY"),
        ("tencentcloud", "TENCENTCLOUD_SECRET_ID"),
        ("huaweicloud", "HW_ACCESS_KEY"),
        ("openstack", "OS_AUTH_URL"),
    ):
        cloud = replace(ALI, provider=provider, settings=VendorSettings())
        plug_in, credential = vendors.missing_prerequisites(cloud)
        assert plug_in.exit_code == ExitCode.CONFIGURATION
        assert f"pulumi-resource-{provider}" in plug_in.message
        assert "PATH" in plug_in.details
        assert credential.exit_code == ExitCode.AUTHENTICATION
        assert variable in credential.resolution
        install_plugin(home, provider)
        assert vendors.missing_prerequisites(cloud) == (credential,) or len(vendors.missing_prerequisites(cloud)) == 1
    monkeypatch.setenv("ALICLOUD_ACCESS_KEY", "key")
    assert len(vendors.missing_prerequisites(ALI)) == 1, "one of a pair is none"
    monkeypatch.setenv("ALICLOUD_SECRET_KEY", "secret")
    assert vendors.missing_prerequisites(ALI) == ()
    monkeypatch.setattr(vendors, "find_spec", lambda module: None)
    (sdk,) = vendors.missing_prerequisites(ALI)
    assert "pip install 'wecityctl[alicloud]'" in sdk.resolution
