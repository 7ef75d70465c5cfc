"""A rule, a check, a command and a base image are files alone: a copy of the program with one of each has them all."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.linked import ROOT, link_program, run_wecityctl

pytestmark = pytest.mark.program
DIRECTORIES = (
    "wecityctl",
    "wecityctl/policy",
    "wecityctl/policy/rules",
    "wecityctl/spec",
    "wecityctl/spec/checks",
    "wecityctl/cli",
    "stacks",
    "images",
)
CHECK = '''\
"""No app is called `secret`."""

from collections.abc import Iterator

from wecityctl.errors import Problem
from wecityctl.spec.checks.check import Check
from wecityctl.spec.parsed_city import ParsedCity


def names(parsed_city: ParsedCity) -> Iterator[Problem]:
    for app in parsed_city.apps:
        if app.value.name == "secret":
            yield app.problem(("metadata", "name"), "tells nobody what it is", "the name of a service")


CHECKS: tuple[Check, ...] = (names,)
'''
IMAGE = "name: nothing\ntitle: nothing\nversion: '1'\nlicence: CC0-1.0\nbase: debian\n"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program's modules as links, with the rule and the command of the page, a check and an image's recipe."""
    place = tmp_path_factory.mktemp("program")
    link_program(place, DIRECTORIES)
    page = (ROOT / "docs/explanation/adding.md").read_text(encoding="utf-8")
    rule, command = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (place / "wecityctl/policy/rules/quiet_names.py").write_text(rule)
    (place / "wecityctl/cli/greet.py").write_text(command)
    (place / "wecityctl/spec/checks/secretive.py").write_text(CHECK)
    (place / "images/nothing").mkdir()
    (place / "images/nothing/image.yaml").write_text(IMAGE)
    return place


def city(place: Path, app: str) -> str:
    """The example with one of its apps called `app`."""
    directory = place / app
    directory.mkdir()
    for file in (ROOT / "examples/xingcheng").glob("*.yaml"):
        text = file.read_text(encoding="utf-8")
        (directory / file.name).write_text(text.replace("name: bus-arrival", f"name: {app}"), encoding="utf-8")
    return str(directory)


def test_a_command(program: Path) -> None:
    assert "Greet the city." in run_wecityctl(program, "--help").stdout
    assert run_wecityctl(program, "greet").stdout == "hello\n"


def test_a_rule(program: Path) -> None:
    assert "quiet-names" in run_wecityctl(program, "policy", "list").stdout
    found = run_wecityctl(program, "policy", "check", city(program, "alice"))
    assert "quiet-names" in found.stdout and "transport-bureau/alice: is named after a person" in found.stdout


def test_a_check(program: Path) -> None:
    done = run_wecityctl(program, "validate", city(program, "secret"))
    assert done.returncode == 2 and "metadata.name: tells nobody what it is" in done.stderr


def test_a_base_image(program: Path) -> None:
    assert re.search(r"^nothing\b", run_wecityctl(program, "images", "list").stdout, re.MULTILINE)
