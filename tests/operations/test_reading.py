"""What operations read of clouds, apps, images and files, called from Python: no cloud answers here."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.operations.conftest import ADOPTED, SIMULATED, write_city
from wecityctl.errors import ConfigurationError, InvalidCityError, NoSuchStackError, WecityError
from wecityctl.model.vendors import vendors
from wecityctl.operations.app_targets import find_app
from wecityctl.operations.clouds import clouds
from wecityctl.operations.images import list_images, load_images
from wecityctl.operations.importing import CloudRequest, Named, import_cluster, import_landing
from wecityctl.operations.local import StartOptions, cloud_names, describe_clouds, existing_cloud, start_cloud
from wecityctl.operations.logs import LogsOptions, logs
from wecityctl.operations.migrate import migrate
from wecityctl.operations.policy import check_city
from wecityctl.operations.render import as_one_document, write_manifests
from wecityctl.operations.validate import validate
from wecityctl.session import open_session
from wecityctl.spec import load_city

ROOT = Path(__file__).parents[2]
KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: nobody
clusters: [{{name: nobody, cluster: {{server: "https://127.0.0.1:{port}"}}}}]
users: [{{name: nobody, user: {{token: none}}}}]
contexts: [{{name: nobody, context: {{cluster: nobody, user: nobody}}}}]
"""


@pytest.fixture
def silent_kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A kubeconfig of a server that nobody runs."""
    monkeypatch.setenv("WECITYCTL_CLUSTER_TIMEOUT", "2")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        path = tmp_path / "nobody.kubeconfig"
        path.write_text(KUBECONFIG.format(port=taken.getsockname()[1]))
        yield path


def test_clouds_that_do_not_answer_show_what_the_files_say(tmp_path: Path, silent_kubeconfig: Path) -> None:
    files = write_city(tmp_path, "silent", ADOPTED.format(silent_kubeconfig))
    found = clouds(files)
    assert list(found.errors) == ["main"]
    assert found.exit_code == found.errors["main"].exit_code
    with pytest.raises(ConfigurationError, match="the city has no cloud 'other'"):
        clouds(files, ["other"])


def test_logs_are_asked_of_the_apps_cloud() -> None:
    city = open_session(ROOT / "examples" / "xingcheng").city
    app = find_app(city, "health-code")
    assert find_app(city, f"{app.tenant}/{app.name}") is app
    with pytest.raises(ConfigurationError, match="there is no app 'nothing'"):
        find_app(city, "nothing")


def test_logs_of_a_cloud_that_is_not_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    session = open_session(ROOT / "examples" / "xingcheng")
    with pytest.raises(NoSuchStackError, match="is not running"):
        logs(session, LogsOptions(app="health-code"), lambda event: None)


def test_a_landing_zones_document_is_written_once_and_is_valid(tmp_path: Path) -> None:
    write_city(tmp_path, "grown", SIMULATED)
    vendor = vendors()["openstack"]
    named = Named("RegionOne", "1a2b-3c4d", {"internet": "5e6f-7a8b"}, "9c0d-1e2f", cidr="10.0.0.0/16")
    request = CloudRequest(name="west", directory=tmp_path)
    found = import_landing(request, vendor, named, lambda event: None, read=False)
    assert found.file == tmp_path / "cloud-west.yaml"
    assert found.file.read_text() == found.text
    assert [cloud.name for cloud in load_city(tmp_path, open_session(tmp_path).catalogue).city.clouds]
    with pytest.raises(ConfigurationError, match="has a cloud 'west' already"):
        import_landing(request, vendor, named, lambda event: None, read=False)
    with pytest.raises(ConfigurationError, match="is not a directory"):
        import_cluster(CloudRequest(name="east", directory=tmp_path / "nowhere"))


def test_paths_are_as_the_document_has_to_say_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert CloudRequest(name="a", directory=Path("city")).path_in_document("city/k.yaml") == "k.yaml"
    assert CloudRequest(name="a", file=Path("city/a.yaml")).path_in_document("k.yaml") == "../k.yaml"
    assert CloudRequest(name="a").path_in_document("k.yaml") == str(tmp_path / "k.yaml")
    assert CloudRequest(name="a").path_in_document("~/k.yaml") == "~/k.yaml"


def test_manifests_are_written_to_an_empty_directory_alone(tmp_path: Path) -> None:
    files = {"base/one.yaml": "kind: One\n", "two.yaml": "kind: Two\n"}
    write_manifests(files, tmp_path / "made")
    assert (tmp_path / "made" / "base" / "one.yaml").read_text() == "kind: One\n"
    assert as_one_document(files).count("---\n") == 2
    with pytest.raises(ConfigurationError, match="is not an empty directory"):
        write_manifests(files, tmp_path / "made")


def test_images_are_listed_and_need_a_node_to_be_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    found = {item.recipe.name: item for item in list_images()}
    assert {"pause", "postgresql"} <= set(found)
    assert {item.built for item in found.values()} == {None}
    with pytest.raises(WecityError, match="there is no"):
        load_images("nobody", ["pause"], lambda event: None)


def test_embedded_clouds_are_named_only_if_they_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert cloud_names() == ()
    assert describe_clouds() == ()
    with pytest.raises(ConfigurationError, match="there is no embedded cloud"):
        existing_cloud("")
    for name in ("left", "right"):
        (tmp_path / "wecityctl" / "clouds" / name).mkdir(parents=True)
    with pytest.raises(ConfigurationError, match="there are several embedded clouds"):
        existing_cloud("", damaged=True)
    with pytest.raises(ConfigurationError):
        start_cloud(StartOptions(name="No Name"), lambda event: None)


def test_files_are_validated_and_migrated(tmp_path: Path) -> None:
    files = write_city(tmp_path, "older", SIMULATED)
    assert validate(files).counts["Tenant"] == 1
    files.write_text(files.read_text().replace("  area: ", "  domain: "))
    with pytest.raises(InvalidCityError):
        validate(files)
    [foreseen] = migrate(files, dry_run=True)
    assert [(item.old, item.new) for item in foreseen.renamings] == [("domain", "area")]
    assert "  domain: city-governance" in files.read_text()
    assert migrate(files) == (foreseen,)
    assert validate(files).city.name == "older"


def test_a_city_is_checked_against_the_policy_rules() -> None:
    cases = ROOT / "tests" / "policy" / "cases" / "data-class"
    found = check_city(cases / "fail-internet-zone.yaml")
    assert "data-class" in {item.rule for item in found.report.mandatory}
    assert (found.unseen, found.unplaced) == (None, None)
