"""Bad files at the command line: a list of problems, exit code 2, and nothing touched."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.files import SIMULATED, hamlet
from tests.e2e.machine import TIMEOUT, Done, Machine

pytestmark = pytest.mark.program
INVALID = Path(__file__).parents[1] / "spec" / "invalid"
CASES = sorted(path for path in INVALID.iterdir() if path.is_dir() or path.suffix in (".yaml", ".yml"))


def refused(done: Done) -> None:
    assert done.code == 2, done
    assert done.out == "", done
    assert " problem" in done.err.splitlines()[-1], done


# The program's own entry, once for each path: starting an interpreter a hundred and fifty times would only take longer.
EACH = """
import contextlib, io, json, sys
from wecityctl.cli.main import run
for path in sys.argv[1:]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(["validate", path])
    print(json.dumps([code, out.getvalue(), err.getvalue()]))
"""


def test_every_invalid_file_is_refused_by_validate_with_a_list_of_problems(home: Machine) -> None:
    assert len(CASES) > 100
    call = [sys.executable, "-c", EACH, *map(str, CASES)]
    answer = subprocess.run(call, env=home.environment(), capture_output=True, text=True, timeout=TIMEOUT, check=True)
    assert answer.stderr == ""
    for path, line in zip(CASES, answer.stdout.splitlines(), strict=True):
        done = Done(("validate", str(path)), *json.loads(line))
        assert "Traceback" not in done.text, done
        refused(done)
    assert not home.state.exists()


@pytest.mark.parametrize("path", CASES[::15], ids=lambda path: path.stem)
def test_an_invalid_file_is_refused_by_the_program(home: Machine, path: Path) -> None:
    refused(home.run("validate", path, code=2))
    assert not home.state.exists()


@pytest.mark.parametrize("command", ["up", "preview", "destroy", "status", "render", "graph", "outputs"])
@pytest.mark.parametrize("case", ["duplicate-document", "directory-without-city", "encoding-gbk"])
def test_no_command_does_anything_with_invalid_files(home: Machine, command: str, case: str) -> None:
    path = next(path for path in CASES if path.stem == case)
    refused(home.run(command, path, code=2))
    assert not home.state.exists()
    assert not home.processes()


def test_a_path_that_is_not_there_is_refused(home: Machine) -> None:
    done = home.run("up", home.root / "nowhere", code=2)
    assert "nowhere" in done.err
    assert not home.state.exists()


def test_a_yaml_bomb_and_a_huge_file_are_refused_at_once(home: Machine) -> None:
    bomb = home.root / "bomb.yaml"
    levels = [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 12)]
    bomb.write_text("\n".join(["l0: &l0 [x, x]", *levels]) + "\n")
    refused(home.run("validate", bomb, code=2, timeout=20))
    huge = home.root / "huge.yaml"
    with huge.open("wb") as stream:
        stream.truncate(50 << 20)
    refused(home.run("validate", huge, code=2, timeout=20))


def test_a_placeholder_is_refused_before_anything_is_started(home: Machine) -> None:
    city = hamlet(home.root / "city", "village", SIMULATED)
    city.component("parks-app")["env"] = {"TOKEN": "CHANGEME"}
    city.save()
    done = home.run("up", city, code=2)
    refused(done)
    assert "CHANGEME" in done.err
    assert not home.state.exists()
