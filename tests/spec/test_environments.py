"""Environments: what is merged, where its values come from, which one is meant, and what many documents cost."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.spec.catalogue import CATALOGUE
from wecityctl.errors import ConfigurationError, InvalidCityError
from wecityctl.model.environments import with_environment
from wecityctl.spec import LoadedCity, load_city
from wecityctl.spec.differences import differences
from wecityctl.spec.environments import read_environments
from wecityctl.spec.migrate import migrate

BASE = (Path(__file__).parent / "valid" / "base.yaml").read_text(encoding="utf-8")
CITY = "kind: City\nmetadata: {name: testcity-test}\nspec: {domain: test.testcity.example}\n"
APP = "kind: App\nmetadata: {name: bus, tenant: transport}\n"


@pytest.fixture
def city(tmp_path: Path) -> Path:
    (tmp_path / "city.yaml").write_text(BASE)
    (tmp_path / "environments").mkdir()
    return tmp_path


def write(city: Path, text: str, name: str = "test") -> Path:
    path = city / "environments" / f"{name}.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def load(city: Path, environment: str | None = "test") -> LoadedCity:
    return load_city(city, CATALOGUE, environment=environment)


def test_a_city_without_environments_is_its_own(city: Path) -> None:
    loaded = load(city, None)
    assert (loaded.environment, loaded.environments, loaded.is_default) == ("production", ("production",), True)
    assert loaded.city.environment == "production"


def test_maps_and_named_lists_are_merged_and_other_lists_replaced(city: Path) -> None:
    write(
        city,
        f"""{CITY}---
{APP}spec:
  channels: [web]
  components:
    - name: web
      replicas: 3
      env: {{MODE: "${{environment}}", SHELL: "$${{environment}}", HOME: "${{HOME}} x"}}
    - {{name: worker, image: "catalogue:sample-app"}}
  uses: []
  route: null
---
kind: Platform
metadata: {{name: application}}
spec:
  capabilities: {{cache: null, postgresql: {{storage: 5Gi}}}}
""",
    )
    loaded = load(city)
    (app,) = loaded.city.apps
    web, worker = app.components
    assert (web.name, web.image, web.replicas, web.ports) == ("web", "catalogue:sample-app", 3, {"http": 8080})
    assert web.env == {"MODE": "test", "SHELL": "$${environment}", "HOME": "${HOME} x"}
    assert worker.name == "worker"
    assert (app.channels, app.uses, app.route, app.zone) == (("web",), (), None, "internet")
    assert [(item.name, item.storage) for item in loaded.city.capabilities] == [("gateway", ""), ("postgresql", "5Gi")]
    assert (loaded.city.name, loaded.city.domain) == ("testcity-test", "test.testcity.example")
    assert (loaded.city.environment, loaded.is_default) == ("test", False)


def test_the_base_stays_as_it_is(city: Path) -> None:
    before = load(city, None).city
    write(city, f"{CITY}---\n{APP}spec: {{components: [{{name: web, replicas: 3}}], uses: []}}\n")
    environments = read_environments(city)
    assert environments.read("test").read.problems == ()
    assert load(city, None).city == before == load(city, "production").city


def test_documents_are_added_and_removed(city: Path) -> None:
    write(
        city,
        CITY + "---\n" + BASE.split("---\n")[-1].replace("name: bus", "name: tram").replace("host: bus", "host: t"),
    )
    assert [app.name for app in load(city).city.apps] == ["bus", "tram"]
    write(city, f"{CITY}---\n{APP}spec: null\n")
    assert load(city).city.apps == ()
    assert len(load(city, None).city.apps) == 1


def test_manifests_of_an_app_that_an_environment_removes_or_adds_are_no_documents(city: Path) -> None:
    (city / "manifests").mkdir()
    manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: NAME}\ndata: {a: b}\n"
    for name in ("there", "new"):
        (city / "manifests" / f"{name}.yaml").write_text(manifest.replace("NAME", name))
    app = """\
apiVersion: wecity.dev/v1alpha1
kind: App
metadata: {name: APP, tenant: transport}
spec:
  stage: published
  zone: internet
  dataClass: L1
  components: [{name: web, image: registry.example/a:1}]
  manifests: [PATH]
"""
    (city / "more.yaml").write_text(app.replace("APP", "there").replace("PATH", "manifests/there.yaml"))
    removed = "---\nkind: App\nmetadata: {name: there, tenant: transport}\nspec: null\n---\n"
    write(city, CITY + removed + app.replace("APP", "new").replace("PATH", "../manifests/new.yaml"))
    production, test = load_city(city, CATALOGUE).city, load_city(city, CATALOGUE, environment="test").city
    assert {"there", "new"} & {app.name for app in production.apps} == {"there"}
    assert {"there", "new"} & {app.name for app in test.apps} == {"new"}


def test_places_are_those_of_the_file_that_says_so(city: Path) -> None:
    overlay = write(city, f"{CITY}---\n{APP}spec:\n  components:\n    - name: web\n      replicas: 3\n")
    positions = load(city).positions
    web = ("spec", "components", 0)
    replicas = positions.place("App", "transport/bus", *web, "replicas")
    port = positions.place("App", "transport/bus", *web, "port")
    name = positions.place("City", "testcity-test", "metadata", "name")
    assert str(replicas) == f"{overlay}:10:17"
    assert str(port) == f"{city / 'city.yaml'}:44:13"
    assert str(name) == f"{overlay}:2:18"


def test_files_of_a_directory_are_one_environment(city: Path) -> None:
    (city / "environments" / "test" / "apps").mkdir(parents=True)
    (city / "environments" / "test" / "city.yaml").write_text(CITY)
    (city / "environments" / "test" / "apps" / "bus.yml").write_text(
        f"{APP}spec: {{components: {{web: {{replicas: 4}}}}}}\n"
    )
    loaded = load(city)
    assert loaded.city.apps[0].components[0].replicas == 4
    assert [file.name.removeprefix(f"{city}/environments/") for file in loaded.files[1:]] == [
        "test/apps/bus.yml",
        "test/city.yaml",
    ]


def test_a_city_in_one_file_has_the_environments_next_to_it(city: Path) -> None:
    write(city, CITY)
    assert load(city / "city.yaml").city.name == "testcity-test"


def test_the_default_may_have_another_name_and_a_file_of_its_own(city: Path) -> None:
    (city / "city.yaml").write_text(BASE.replace("  domain:", "  environment: live\n  domain:"))
    write(city, f"{APP}spec: {{components: {{web: {{replicas: 5}}}}}}\n", "live")
    write(city, CITY)
    loaded = load(city, None)
    assert (loaded.environment, loaded.environments) == ("live", ("live", "test"))
    assert loaded.city.apps[0].components[0].replicas == 5
    assert load(city).city.apps[0].components[0].replicas == 1
    with pytest.raises(ConfigurationError, match="has no environment 'production'"):
        load(city, "production")


def test_an_unknown_environment_is_refused_with_those_that_there_are(city: Path) -> None:
    write(city, CITY)
    with pytest.raises(ConfigurationError) as caught:
        load(city, "tset")
    assert caught.value.details == "environments: production, test"
    assert caught.value.resolution == "did you mean 'test'?"


def test_a_mistake_in_another_environment_does_not_stop_this_one(city: Path) -> None:
    write(city, CITY)
    write(city, "kind: [", "staging")
    assert load(city).city.name == "testcity-test"
    assert load(city, None).city.name == "testcity"
    with pytest.raises(InvalidCityError):
        load(city, "staging")


def test_a_link_out_of_the_city_is_not_followed(city: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (outside / "test.yaml").write_text(CITY)
    (city / "environments" / "test.yaml").symlink_to(outside / "test.yaml")
    with pytest.raises(InvalidCityError) as caught:
        load(city, "production")
    assert "leads out of the city's directory" in str(caught.value.problems[0])
    (city / "environments" / "test.yaml").unlink()
    (city / "environments").rmdir()
    (city / "environments").symlink_to(outside)
    with pytest.raises(InvalidCityError):
        load(city, None)


def test_aliases_of_base_and_overlay_stay_apart(city: Path) -> None:
    base = BASE.replace(
        "      port: 8080\n", "      port: 8080\n      env: &env {A: a}\n    - {name: w, image: x, env: *env}\n"
    )
    (city / "city.yaml").write_text(base)
    shared = "&more {B: b}"
    write(city, f"{CITY}---\n{APP}spec: {{components: {{web: {{env: {shared}}}, v: {{image: y, env: *more}}}}}}\n")
    assert [part.env for part in load(city).city.apps[0].components] == [{"A": "a", "B": "b"}, {"A": "a"}, {"B": "b"}]


def test_a_kubeconfig_is_relative_to_the_file_that_names_it(city: Path) -> None:
    base = BASE.replace("provider: local", "provider: kubernetes\n  kubernetes: {kubeconfig: live.yaml}")
    (city / "city.yaml").write_text(base)
    cloud = "---\nkind: Cloud\nmetadata: {name: main}\nspec: {kubernetes: {kubeconfig: trial.yaml}}\n"
    write(city, CITY + cloud)
    assert load(city).city.clouds[0].kubernetes.kubeconfig == str(city / "environments" / "trial.yaml")
    assert load(city, None).city.clouds[0].kubernetes.kubeconfig == str(city / "live.yaml")


@pytest.mark.parametrize("spelling", ["../live.conf", "./../live.conf", "linked.conf", "hard.conf"])
def test_a_cluster_is_the_same_however_its_kubeconfig_is_spelt(city: Path, spelling: str) -> None:
    base = BASE.replace("provider: local", "provider: kubernetes\n  kubernetes: {kubeconfig: live.conf}")
    (city / "city.yaml").write_text(base)
    (city / "live.conf").write_text("apiVersion: v1\nkind: Config\n")
    (city / "environments" / "linked.conf").symlink_to(city / "live.conf")
    (city / "environments" / "hard.conf").hardlink_to(city / "live.conf")
    cloud = f"---\nkind: Cloud\nmetadata: {{name: main}}\nspec: {{kubernetes: {{kubeconfig: {spelling}}}}}\n"
    write(city, CITY + cloud)
    assert "the cluster is that of environment 'production' too" in refused(city)


def test_embedded_clouds_whose_names_join_alike_are_one(city: Path) -> None:
    """City `a-b` with cloud `c`, and city `a` with cloud `b-c`: `destroy` of one took the other's away."""
    (city / "city.yaml").write_text(BASE.replace("testcity", "red-qin"))
    write(
        city,
        "kind: City\nmetadata: {name: red}\nspec: {domain: red.example}\n---\nkind: Cloud\nmetadata: {name: main}\n"
        "spec: null\n---\napiVersion: wecity.dev/v1alpha1\nkind: Cloud\nmetadata: {name: qin-main}\n"
        "spec: {provider: local, zones: [internet]}\n",
    )
    assert "the embedded cloud is that of environment 'production' too" in refused(city)


@pytest.mark.parametrize("spelling", ["file:///srv/x/../state", "file:///srv//state/", "FILE:///srv/state"])
def test_a_state_is_the_same_however_its_directory_is_spelt(city: Path, spelling: str) -> None:
    base = BASE.replace("spec:\n", "spec:\n  state: {backend: 'file:///srv/state'}\n", 1)
    (city / "city.yaml").write_text(base)
    write(city, CITY.replace("spec: {", f"spec: {{state: {{backend: '{spelling}'}}, "))
    assert "the state back end is that of environment 'production' too" in refused(city)


def refused(city: Path) -> str:
    with pytest.raises(InvalidCityError) as caught:
        load(city)
    return "\n".join(map(str, caught.value.problems))


@pytest.mark.parametrize("named", ["bus", "whole"])
def test_an_environment_takes_no_document_out_of_the_base(city: Path, named: str) -> None:
    """Files that it names as manifests are none of the base, but for those with documents of the city."""
    (city / "manifests").mkdir()
    (city / "manifests" / "own.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: rules}\ndata: {a: b}\n"
    )
    documents = BASE.split("---\n")
    app = next(item for item in documents if "kind: App" in item)
    (city / "bus.yaml").write_text(f"{app.rstrip()}\n  manifests: [manifests/own.yaml]\n")
    (city / "whole.yaml").write_text("---\n".join(item for item in documents if item != app))
    (city / "city.yaml").unlink()
    write(city, f"{CITY}---\n{APP}spec: {{manifests: [../{named}.yaml]}}\n")
    assert [app.name for app in load(city, None).city.apps] == ["bus"]
    assert f"'../{named}.yaml' has documents of the city itself" in refused(city)


def test_renamed_fields_are_renamed_in_environments_too(city: Path) -> None:
    path = write(city, f"{CITY}---\nkind: Tenant\nmetadata: {{name: transport}}\nspec: {{domain: city-governance}}\n")
    (changed,) = migrate(city)
    assert changed.path == path
    assert "spec: {area: city-governance}" in changed.text


def test_differences_name_items_and_places(city: Path) -> None:
    write(
        city,
        f"{CITY}---\n{APP}spec: {{components: {{web: {{replicas: 3}}, extra: {{image: x}}}}, uses: [postgresql]}}\n",
    )
    environments = read_environments(city)
    found = {item.path: item for item in differences(environments.read("test"), environments.read("production"))}
    assert list(found) == [
        "metadata.name",
        "spec.domain",
        "spec.components[web].replicas",
        "spec.components[extra]",
        "spec.uses",
    ]
    extra = found["spec.components[extra]"]
    assert extra.first is not None
    assert (extra.first.value, extra.second) == ({"name": "extra", "image": "x"}, None)
    assert not list(differences(environments.read("test"), environments.read("test")))


def test_a_password_in_a_difference_is_not_shown(city: Path) -> None:
    write(city, CITY.replace("spec: {", "spec: {state: {backend: 'postgres://u:secret@h/d'}, "))
    environments = read_environments(city)
    found = differences(environments.read("test"), environments.read("production"))
    assert [item.first.value for item in found if item.path == "spec.state" and item.first] == [
        {"backend": "postgres://u:***@h/d"}
    ]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("${environment}", "test"),
        ("a-${environment}-b${environment}", "a-test-btest"),
        ("$${environment}", "$${environment}"),
        ("${environment.x}", "${environment.x}"),
        ("$environment", "$environment"),
    ],
)
def test_the_environments_name_in_variables(value: str, expected: str) -> None:
    assert with_environment(value, "test") == expected


@pytest.mark.slow
def test_ten_thousand_documents_are_merged_in_seconds(city: Path) -> None:
    base = BASE.split("---\n")[-1]
    many = [base.replace("name: bus,", f"name: b{n},").replace("host: bus", f"host: b{n}") for n in range(1000)]
    over = [f"kind: App\nmetadata: {{name: b{n}, tenant: transport}}\nspec: {{stage: draft}}\n" for n in range(10000)]
    (city / "more.yaml").write_text("---\n".join(many))
    write(city, "---\n".join([CITY, *over]))
    begin = time.perf_counter()
    read = read_environments(city).read("test")
    seconds = time.perf_counter() - begin
    assert len(read.read.documents) == 5 + 10_000
    assert len(read.added) == 9000
    assert seconds < 30, "merging takes no more than linear time"
    with pytest.raises(InvalidCityError) as caught:
        load(city)
    assert 100 < len(caught.value.problems) <= 1000
