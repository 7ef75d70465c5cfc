"""What comes out of valid files: the model, in file order, and the places of its fields."""

import pickle
from pathlib import Path

import pytest

from tests.spec.cases import VALID
from tests.spec.catalogue import CATALOGUE
from wecityctl.errors import InvalidCityError
from wecityctl.model.city import Autoscale, Compliance, Dedicated, Flow, Pool, Prices, Route, Use
from wecityctl.plan import make_plan
from wecityctl.spec import load_city


def test_every_field_reaches_the_model() -> None:
    city = load_city(VALID / "every-field.yaml", CATALOGUE).city
    assert city.compliance == Compliance(4, True, ("cn-hunan",), 365)
    assert city.flows == (Flow("internet", "exchange", (443, 8443), "data-bureau", "one-stop service"),)
    assert (city.images.source, city.images.registry) == ("built", "registry.example:5000/base")
    assert (city.state.backend, city.state.secrets_provider) == ("s3://bucket/prefix?region=cn", "hashivault://key")
    assert city.kubernetes_provider == "builtin"
    assert dict(city.labels) == {"province": "hunan", "example.org/tier": "1"}
    cloud = city.cloud("main")
    assert cloud.local.nodes == "simulated"
    assert cloud.pools[0] == Pool("general", "amd64", 3, "64", "256Gi", "2Ti", {"disk": "ssd"}, {})
    assert cloud.pools[1].accelerators == {"huawei.com/Ascend910": 8}
    assert cloud.prices == Prices("CNY", "0.10", "0.02", "0.50")
    archive = city.capability("archive")
    assert (archive.type, archive.storage, archive.zone, archive.cloud) == ("postgresql", "50Gi", "extranet", "main")
    cache = city.capability("cache")
    assert (cache.engine, cache.size, cache.cpu) == ("redis", "large", "0.5")
    tenant = city.tenant("transport")
    assert (tenant.admins, tenant.budget_monthly) == (("alice@testcity.example",), "20000.50")
    (app,) = city.apps
    archive_use = Use("archive", "db", "10Gi", connections=30, statement_seconds=120)
    assert app.uses == (Use("cache", "cache"), archive_use, Use("cache", "more", memory="64Mi"))
    assert (archive.dedicated, archive.tls) == (Dedicated("transport", "bus"), False)
    assert (app.route, app.cloud, app.channels) == (
        Route("bus.app", "/arrivals/v2/", tls=True),
        "main",
        ("web", "mini-program"),
    )
    (web,) = app.components
    assert (web.autoscale, web.health_path) == (Autoscale(2, 20, 70), "/healthz?deep=1")
    assert (web.secrets, web.command) == (("sms-key",), ("/app/web", "--port=8080"))
    assert (dict(web.files), web.architectures) == ({"/etc/app.conf": "level=info"}, ("amd64", "arm64"))


def test_numbers_keep_the_users_writing() -> None:
    city = load_city(VALID / "numbers-without-quotes.yaml", CATALOGUE).city
    assert city.tenant("transport").quota.cpu == "4.5"
    prices = city.cloud("main").prices
    assert prices is not None
    assert (prices.cpu_hour, prices.memory_gib_hour, prices.storage_gib_month) == ("0.10", "0", "1.10")


def test_a_city_can_be_planned_and_sent_to_another_process() -> None:
    city = load_city(VALID / "departments", CATALOGUE).city
    assert pickle.loads(pickle.dumps(city)) == city
    names = [stack.name for stack in make_plan(city, CATALOGUE).stacks]
    assert "testcity.tenant.transport.main" in names


def test_files_of_a_directory_come_in_the_order_of_their_names() -> None:
    loaded = load_city(VALID / "departments", CATALOGUE)
    names = [Path(file.name).relative_to(VALID / "departments").as_posix() for file in loaded.files]
    assert names == ["city.yaml", "platforms/application.yml", "transport/apps/bus.yaml", "transport/tenant.yaml"]
    assert loaded.counts == {"City": 1, "Cloud": 1, "Platform": 1, "Tenant": 1, "App": 1, "Waiver": 0, "Lifecycle": 0}


def test_places_of_fields() -> None:
    loaded = load_city(VALID / "every-field.yaml", CATALOGUE)
    lines = (VALID / "every-field.yaml").read_text().splitlines()
    place = loaded.positions.place("App", "transport/bus", "spec", "uses", 1, "storage")
    assert place is not None
    assert lines[place.line - 1][place.column - 1 :].startswith("10Gi")
    # A field that is not written has the place of what it would be in.
    default = loaded.positions.place("City", "testcity", "spec", "compliance", "residency", "nothing")
    assert default is not None
    assert lines[default.line - 1][default.column - 1 :].startswith("residency:")
    assert loaded.positions.place("App", "transport/tram") is None


def test_problems_are_bounded(tmp_path: Path) -> None:
    path = tmp_path / "many.yaml"
    path.write_text("kind: App\n" + "".join(f"field{number}: 1\n" for number in range(5000)))
    with pytest.raises(InvalidCityError) as caught:
        load_city(path, CATALOGUE)
    assert 100 < len(caught.value.problems) <= 1000


def test_files_that_no_config_map_takes(tmp_path: Path) -> None:
    text = (VALID / "base.yaml").read_text()
    big = f"      port: 8080\n      files: {{/etc/a: {'x' * 600_000}, /etc/b: {'y' * 600_000}}}\n"
    (tmp_path / "city.yaml").write_text(text.replace("      port: 8080\n", big))
    with pytest.raises(InvalidCityError) as caught:
        load_city(tmp_path, CATALOGUE)
    (problem,) = caught.value.problems
    assert problem.message == "the files are too large together: 1,200,012 bytes"
    assert problem.path == "spec.components[0].files"


@pytest.mark.parametrize(
    ("field", "message"),
    [
        (f"env: {{A: {'x' * 130_001}}}", "is 130,001 bytes long, too much for the value of a variable"),
        (f"command: [a, {'文' * 50_000}]", "is 150,000 bytes long, too much for an argument of the command"),
        (
            f"env: {{{', '.join(f'V{number}: ' + 'x' * 120_000 for number in range(5))}}}",
            "variables and command are too large together: 600,010 bytes",
        ),
    ],
)
def test_texts_that_no_container_takes(tmp_path: Path, field: str, message: str) -> None:
    text = (VALID / "base.yaml").read_text(encoding="utf-8")
    (tmp_path / "city.yaml").write_text(text.replace("      port: 8080\n", f"      port: 8080\n      {field}\n"))
    with pytest.raises(InvalidCityError) as caught:
        load_city(tmp_path, CATALOGUE)
    assert [problem.message for problem in caught.value.problems] == [message]


@pytest.mark.slow
def test_a_city_of_a_thousand_documents(tmp_path: Path) -> None:
    documents = (VALID / "base.yaml").read_text().split("---\n")
    common, (tenant, app) = documents[:3], documents[3:]
    for number in range(500):
        mine = "---\n".join((tenant, app.replace("host: bus", f"host: bus-{number}")))
        (tmp_path / f"{number}.yaml").write_text(mine.replace("transport", f"transport-{number}"))
    (tmp_path / "city.yaml").write_text("---\n".join(common))
    city = load_city(tmp_path, CATALOGUE).city
    assert (len(city.tenants), len(city.apps)) == (500, 500)


@pytest.mark.parametrize(
    ("written", "meant"),
    [("a.kubeconfig", "{here}/a.kubeconfig"), ("/etc/k", "/etc/k"), ("~/.kube/config", "~/.kube/config"), ("''", "")],
)
def test_a_kubeconfig_is_looked_for_beside_the_file_that_names_it(
    written: str, meant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "city" / "clouds").mkdir(parents=True)
    (tmp_path / "city" / "city.yaml").write_text(
        "apiVersion: wecity.dev/v1alpha1\nkind: City\nmetadata: {name: x}\n"
        "spec: {domain: x.example, zones: [{name: internet, kind: internet}]}\n"
    )
    (tmp_path / "city" / "clouds" / "main.yaml").write_text(
        "apiVersion: wecity.dev/v1alpha1\nkind: Cloud\nmetadata: {name: main}\n"
        f"spec: {{provider: kubernetes, zones: [internet], kubernetes: {{kubeconfig: {written}}}}}\n"
    )
    monkeypatch.chdir(tmp_path)
    (cloud,) = load_city(Path("city"), CATALOGUE).city.clouds
    assert cloud.kubernetes.kubeconfig == meant.format(here=tmp_path / "city" / "clouds")
