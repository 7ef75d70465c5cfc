"""`--env`, `env list`, `env diff` and `promote`: as users run them."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import typer

from tests.cli.program import ROOT, wecityctl
from wecityctl.cli._common import HERE
from wecityctl.cli.main import PROGRAM, app

A, B = (f"registry.example/health/web@sha256:{letter * 64}" for letter in "ab")
# Commands that look at several environments, or at files of all of them.
OF_ALL = {"env list", "env diff", "promote", "migrate"}


def city_name(name: str) -> str:
    return f"kind: City\nmetadata: {{name: xingcheng-{name}}}\nspec: {{domain: {name}.xingcheng.gov.example}}\n"


def health_code(components: str) -> str:
    return f"---\nkind: App\nmetadata: {{name: health-code, tenant: health-commission}}\nspec:\n{components}"


@pytest.fixture
def city(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "examples" / "xingcheng", tmp_path / "city")
    (tmp_path / "city" / "environments").mkdir()
    path = tmp_path / "city"
    write(path, "test", health_code(f"  components:\n    - name: web # tried\n      image: {A}  # since Monday\n"))
    return path


def write(city: Path, name: str, more: str = "") -> Path:
    path = city / "environments" / f"{name}.yaml"
    path.write_text(city_name(name) + more)
    return path


def promote(city: Path, *arguments: str, source: str = "test", target: str = "production", code: int = 0) -> str:
    done = wecityctl("promote", *arguments, "--from", source, "--to", target, cwd=city)
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


def test_every_command_that_takes_a_city_has_the_option() -> None:
    root = typer.main.get_command(app)
    context = root.make_context(PROGRAM, [], resilient_parsing=True)

    def walk(command: object, name: str) -> dict[str, set[str]]:
        if hasattr(command, "list_commands"):
            children = {child: command.get_command(context, child) for child in command.list_commands(context)}  # type: ignore[attr-defined]
            return {
                key: value for child, found in children.items() for key, value in walk(found, f"{name} {child}").items()
            }
        params = command.params  # type: ignore[attr-defined]
        if any(item.metavar == "PATH" and str(item.default) == str(HERE) for item in params):
            return {name.strip(): {opt for item in params for opt in item.opts}}
        return {}

    takes_a_city = walk(root, "")
    assert len(takes_a_city) > 25
    assert {name for name, options in takes_a_city.items() if "--env" not in options} == OF_ALL


def test_validate_looks_at_every_environment_and_tells_which(city: Path) -> None:
    done = wecityctl("validate", cwd=city)
    assert done.stdout.splitlines() == [
        ". is valid: 1 City, 1 Cloud, 1 Platform, 2 Tenants, 3 Apps in 3 files",
        "environment test is valid: 1 City, 1 Cloud, 1 Platform, 2 Tenants, 3 Apps in 4 files",
    ]
    as_json = json.loads(wecityctl("validate", "-o", "json", cwd=city).stdout)
    assert (as_json["city"], [each["city"] for each in as_json["environments"]]) == ("xingcheng", ["xingcheng-test"])
    write(city, "test", health_code("  components: {web: {replicas: many}}\n  zone: nowhere\n"))
    done = wecityctl("validate", cwd=city)
    assert done.returncode == 2
    assert (
        "environments/test.yaml:8:32: spec.components[0].replicas: in environment 'test': the text 'many'"
        in done.stderr
    )
    assert "environments/test.yaml:9:9: spec.zone: in environment 'test': there is no zone 'nowhere'" in done.stderr
    assert wecityctl("validate", "--env", "production", cwd=city).returncode == 0
    assert "in environment" not in wecityctl("validate", "--env", "test", cwd=city).stderr


def test_an_environment_that_cannot_be_placed_says_so(city: Path) -> None:
    write(city, "test", health_code("  components: {web: {replicas: 60, resources: {cpu: '60', memory: 1Gi}}}\n"))
    tenant = "---\nkind: Tenant\nmetadata: {name: health-commission}\nspec: {quota: {cpu: '4000', memory: 2Ti}}\n"
    with (city / "environments" / "test.yaml").open("a") as file:
        file.write(tenant)
    done = wecityctl("validate", cwd=city)
    assert done.returncode == 2
    assert "in environment 'test': the city cannot be placed" in done.stderr


@pytest.mark.parametrize("command", ["render", "graph", "policy check"])
def test_commands_work_on_the_environment(city: Path, command: str) -> None:
    chosen = wecityctl(*command.split(), "--env", "test", "-o", "json", cwd=city)
    if command == "render" or command == "graph":
        chosen = wecityctl(command, "--env", "test", cwd=city)
    by_variable = wecityctl(*command.split(), cwd=city, WECITYCTL_ENV="test")
    default = wecityctl(*command.split(), cwd=city)
    assert chosen.returncode == by_variable.returncode == default.returncode == 0, chosen.stderr
    if command != "policy check":
        assert "xingcheng-test." in chosen.stdout
        assert chosen.stdout == by_variable.stdout
        assert "xingcheng-test" not in default.stdout


def test_the_option_goes_before_the_variable_and_an_unknown_one_is_refused(city: Path) -> None:
    done = wecityctl("graph", "--env", "production", cwd=city, WECITYCTL_ENV="test")
    assert "xingcheng-test" not in done.stdout
    done = wecityctl("up", "--yes", cwd=city, WECITYCTL_ENV="tset")
    assert done.returncode == 2
    assert "has no environment 'tset'" in done.stderr
    assert "did you mean 'test'?" in done.stderr


def test_messages_name_the_environment(city: Path, tmp_path: Path) -> None:
    done = wecityctl("history", "--env", "test", cwd=city, home=tmp_path / "home")
    assert "wecityctl up . --env test" in done.stderr


def test_env_prints_what_it_did_before_it_had_commands(city: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    before = wecityctl("env", str(city), home=home)
    assert "export PULUMI_BACKEND_URL=file://" in before.stdout
    assert (
        before.stdout
        == wecityctl("env", "print", str(city), home=home).stdout
        == wecityctl("env", cwd=city, home=home).stdout
    )
    assert "pulumi/xingcheng-test" in wecityctl("env", "--env", "test", "-o", "json", cwd=city, home=home).stdout


def test_list_and_diff(city: Path) -> None:
    done = wecityctl("env", "list", cwd=city)
    assert done.stdout.splitlines() == [
        "production (default): xingcheng, xingcheng.gov.example",
        "test: xingcheng-test, test.xingcheng.gov.example",
    ]
    done = wecityctl("env", "diff", "test", "production", cwd=city)
    assert done.stdout.splitlines()[2] == (
        f'App health-commission/health-code: spec.components[web].image: "{A}" (environments/test.yaml:10:14)'
        ' → "catalogue:sample-app" (health-commission.yaml:23:14)'
    )
    result = json.loads(wecityctl("env", "diff", "production", "test", "-o", "json", cwd=city).stdout)
    assert [item["path"] for item in result["differences"]] == [
        "metadata.name", "spec.domain", "spec.components[web].image",
    ]  # fmt: skip
    assert result["differences"][0]["second"] == {
        "value": "xingcheng-test", "file": "environments/test.yaml", "line": 2, "column": 18,
    }  # fmt: skip
    assert "do not differ" in wecityctl("env", "diff", "test", "test", cwd=city).stdout
    assert "did you mean 'test'?" in wecityctl("env", "diff", "tes", "test", cwd=city).stderr


def test_promote_prints_a_patch_that_applies_and_changes_nothing(city: Path) -> None:
    before = (city / "health-commission.yaml").read_text()
    patch = promote(city, "health-code")
    assert (city / "health-commission.yaml").read_text() == before
    subprocess.run(["git", "apply"], input=patch, text=True, cwd=city, check=True, capture_output=True)
    after = (city / "health-commission.yaml").read_text()
    assert after == before.replace("image: catalogue:sample-app", f"image: {A}", 1)
    assert "same images" in wecityctl("promote", "health-code", "--from", "test", "--to", "production", cwd=city).stderr


HEAD = "---\nkind: App\nmetadata: {name: health-code, tenant: health-commission}\nspec:\n"
# What an environment's file says of the app before, and what it says with the image.
OVERLAYS = {
    "nothing": ("", f'{HEAD}  components:\n    - {{name: web, image: "{A}"}}\n'),
    "no-components": (
        f"{HEAD}  # kept\n  channels: [web] # too\n",
        f'{HEAD}  # kept\n  components: [{{name: web, image: "{A}"}}]\n  channels: [web] # too\n',
    ),
    "block": (
        f"{HEAD}  components:\n    - name: web # w\n      # r\n      replicas: 1\n",
        f'{HEAD}  components:\n    - name: web # w\n      image: "{A}"\n      # r\n      replicas: 1\n',
    ),
    "flow": (
        f"{HEAD}  components: [{{name: web, replicas: 1}}]\n",
        f'{HEAD}  components: [{{name: web, image: "{A}", replicas: 1}}]\n',
    ),
    "another-item": (
        f"{HEAD}  components:\n    # job\n    - name: job\n      image: 'x'\n",
        f"{HEAD}  components:\n    # job\n    - {{name: web, image: \"{A}\"}}\n    - name: job\n      image: 'x'\n",
    ),
    "mapping": (f"{HEAD}  components:\n    web: {{}}\n", f'{HEAD}  components:\n    web: {{image: "{A}"}}\n'),
    "replaced": (
        f"{HEAD}  components:\n    - {{name: web, image: '{B}'}} # b\n",
        f"{HEAD}  components:\n    - {{name: web, image: '{A}'}} # b\n",
    ),
    "crlf": (
        f"{HEAD}  components:\n    - name: web\n      replicas: 1\n".replace("\n", "\r\n"),
        f'{HEAD}  components:\n    - name: web\n      image: "{A}"\n      replicas: 1\n'.replace("\n", "\r\n"),
    ),
}


@pytest.mark.parametrize("layout", OVERLAYS)
def test_promote_writes_into_the_environments_file_as_it_is_laid_out(city: Path, layout: str) -> None:
    before, after = OVERLAYS[layout]
    path = city / "environments" / "staging.yaml"
    head = city_name("staging").replace("\n", "\r\n") if layout == "crlf" else city_name("staging")
    path.write_bytes(f"{head}{before}".encode())
    said = promote(city, "health-commission/health-code/web", "--write", target="staging")
    assert said == "changed environments/staging.yaml\n"
    assert path.read_bytes().decode() == f"{head}{after}"
    assert wecityctl("validate", cwd=city).returncode == 0
    assert promote(city, "health-code/web", target="staging") == ""


def test_promote_tells_who_inherits_the_image(city: Path) -> None:
    write(city, "staging")
    done = wecityctl("promote", "health-code", "--from", "test", "--to", "production", "-o", "json", cwd=city)
    result = json.loads(done.stdout)
    assert (result["written"], result["inheriting"], result["files"]) == (
        False,
        ["staging"],
        ["health-commission.yaml"],
    )
    assert result["changes"][0]["from"] == "environments/test.yaml:10:14"


@pytest.mark.parametrize(
    ("subject", "source", "target", "said"),
    [
        ("health-code", "production", "test", "has no digest: catalogue:sample-app"),
        ("health-cod", "test", "production", "did you mean"),
        ("health-code/job", "test", "production", "has no app or component 'health-code/job'"),
        ("health-code", "test", "test", "both environments are 'test'"),
        ("health-code", "test", "prod", "has no environment 'prod'"),
    ],
)
def test_promote_refuses(city: Path, subject: str, source: str, target: str, said: str) -> None:
    assert said in promote(city, subject, source=source, target=target, code=2)


def test_promote_refuses_what_an_alias_would_carry_further(city: Path) -> None:
    path = city / "health-commission.yaml"
    text = path.read_text().replace("image: catalogue:sample-app", "image: &image catalogue:sample-app", 1)
    more = "    - {name: other, image: *image, resources: {cpu: 50m, memory: 96Mi}}\n  uses:\n"
    path.write_text(text.replace("  uses:\n", more, 1))
    before = path.read_text()
    assert "write it by hand" in promote(city, "health-code/web", "--write", code=2)
    assert path.read_text() == before


def test_promote_refuses_a_component_that_is_not_there(city: Path) -> None:
    write(city, "test", health_code(f"  components:\n    - {{name: extra, image: '{A}'}}\n"))
    said = promote(city, "health-code/extra", code=2)
    assert "component 'extra' of health-commission/health-code is not in environment 'production'" in said
    assert "environments/test.yaml:9:28" in said


def test_the_life_of_an_app_is_recorded_in_the_default_environment_alone(city: Path) -> None:
    done = wecityctl("app", "submit", "health-code", "--by", "a@b.example", "--env", "test", cwd=city)
    assert done.returncode == 2
    assert "recorded for environment 'production' alone" in done.stderr
    assert wecityctl("app", "submit", "health-code", "--by", "a@b.example", cwd=city).returncode == 0
    assert json.loads(wecityctl("validate", "-o", "json", cwd=city).stdout)["documents"]["Lifecycle"] == 1
    assert (
        json.loads(wecityctl("validate", "--env", "test", "-o", "json", cwd=city).stdout)["documents"]["Lifecycle"] == 0
    )
