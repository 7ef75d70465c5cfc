"""A wrong name is answered with the most similar one and with all that there are; a full output is an error."""

from __future__ import annotations

import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from tests.cli.program import ROOT, wecityctl
from wecityctl.errors import ExitCode

pytestmark = pytest.mark.program
CITY = "examples/xingcheng"


@pytest.mark.parametrize(
    ("command", "guess", "one"),
    [
        (f"secrets rotate {CITY} --app health-commission/helth-code", "health-commission/health-code", "vaccination"),
        (f"secrets rotate {CITY} --app health-code", "health-commission/health-code", "vaccination"),
        (f"secrets rotate {CITY} --capability postgre", "postgresql", "cache"),
        (f"logs {CITY} health-commission/helth-code", "health-commission/health-code", "vaccination"),
        (f"up {CITY} --yes --only transport-bureu", "transport-bureau", "xingcheng.base.main"),
        ("images build postgre", "postgresql", "sample-app"),
        ("engine install --part pulumy", "pulumi", "coredns"),
        ("policy explain data-clas", "data-class", "through-exchange"),
        ("catalog show postgre", "postgresql", "gateway"),
    ],
)
def test_a_wrong_name_has_a_guess_and_a_list(command: str, guess: str, one: str, tmp_path: Path) -> None:
    done = wecityctl(*command.split(), home=tmp_path)
    assert (done.returncode, done.stdout) == (ExitCode.CONFIGURATION, "")
    assert "did you mean" in done.stderr
    assert guess in done.stderr.partition("did you mean")[2]
    assert one in done.stderr


def test_an_embedded_cloud_that_is_not_there(tmp_path: Path) -> None:
    done = wecityctl("local", "status", "--name", "nope", home=tmp_path)
    assert done.returncode == ExitCode.CONFIGURATION
    assert done.stderr == (
        "error: there is no embedded cloud called 'nope'\n"
        "  there is none yet\n"
        "  → to make it: wecityctl local start --name nope\n"
    )


def test_a_path_without_a_document_is_not_counted_as_a_file(tmp_path: Path) -> None:
    assert wecityctl("validate", tmp_path).stderr.splitlines()[-1] == "error: 1 problem"


@pytest.mark.parametrize(
    "command",
    ["policy list", "images list", "--help", f"graph {CITY}", "explain app", f"validate {CITY} -o json", "doctor"],
)
def test_a_full_output_is_an_error_with_its_code(command: str, tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", "from wecityctl.cli.main import main; main()", *command.split()],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            cwd=ROOT,
            env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
            check=False,
        )
    assert done.returncode == ExitCode.DEPLOYMENT
    assert done.stderr.startswith("error: no room is left on the disk, or where the output goes\n")


def test_doctor_has_something_to_say_in_every_line(tmp_path: Path) -> None:
    lines = wecityctl("doctor", home=tmp_path).stdout.splitlines()
    assert not [line for line in lines if ":  " in line or line.rstrip().endswith(":")]
    # What is missing is followed by how to obtain it.
    assert all(after.startswith("    → ") for line, after in pairwise(lines) if line.endswith("is missing"))
    assert any("kubernetes-plugin: not needed, because" in line for line in lines)


def test_the_columns_of_the_list_of_images_are_explained() -> None:
    titles = wecityctl("images", "list").stdout.splitlines()[0].split()
    explained = wecityctl("images", "list", "--help").stdout
    assert all(f"{title} " in explained for title in titles)


@pytest.mark.parametrize(
    ("command", "guess"),
    [
        ("alerts {} transport-bureau/bus-arival", "transport-bureau/bus-arrival"),
        ("alerts {} transport-bureu", "transport-bureau"),
        ("dashboards {} metricks", "metrics"),
        ("dashboards {} bus-arival", "transport-bureau/bus-arrival"),
    ],
)
def test_a_name_of_one_of_several_kinds_has_a_guess_of_any_kind(command: str, guess: str, tmp_path: Path) -> None:
    done = wecityctl(*command.format("examples/xingcheng-operations").split(), home=tmp_path)
    assert done.returncode == ExitCode.CONFIGURATION
    assert done.stderr.endswith(f"→ did you mean {guess!r}?\n")
    assert "apps: transport-bureau/bus-arrival, parks-bureau/trees\n" in done.stderr
    assert "tenants: transport-bureau, parks-bureau\n" in done.stderr


@pytest.mark.parametrize(
    ("command", "code"), [("usage", 6), ("alerts", 4), ("dashboards {} --directory {home}/new", 4)]
)
def test_a_city_that_is_not_up_is_told_with_what_brings_it_up(command: str, code: int, tmp_path: Path) -> None:
    city = "examples/xingcheng-operations"
    words = (command if "{}" in command else f"{command} {{}}").format(city, home=tmp_path).split()
    done = wecityctl(*words, home=tmp_path)
    assert (done.returncode, done.stdout.startswith("[")) == (code, False)
    assert f"bring it up: wecityctl up {city}" in done.stderr


def test_alerts_are_told_whatever_is_wrong_in_a_tenants_file(tmp_path: Path) -> None:
    city = tmp_path / "city"
    shutil.copytree(ROOT / "examples/xingcheng-operations", city)
    tenant = next(path for path in city.glob("*.yaml") if "kind: App" in path.read_text())
    tenant.write_text(tenant.read_text().replace("kind: App", "kind: Ap"))
    done = wecityctl("alerts", str(city), home=tmp_path)
    assert done.returncode == ExitCode.DEPLOYMENT
    assert f"{tenant.name} is left out" in done.stderr and "bring it up" in done.stderr
