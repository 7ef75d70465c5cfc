"""The groups of tests: an unmarked test that starts what needs a mark fails, whatever becomes of the refusal."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CASES = """
import subprocess, sys
import pytest

HERE = {here!r}
IN_ANOTHER = f"import subprocess\\ntry: subprocess.run(['{{HERE}}/etcd'])\\nexcept OSError: pass"

@pytest.fixture
def server(): subprocess.run([f"{{HERE}}/etcd"], check=True)
@pytest.fixture(scope="session")
def cluster(): pass

def test_direct(): subprocess.run([f"{{HERE}}/etcd"], check=True)
def test_behind_another_program(): subprocess.run(["setpriv", "--reset-env", f"{{HERE}}/etcd"], check=True)
def test_by_another_python(): subprocess.run([sys.executable, "-c", IN_ANOTHER], check=True)
def test_by_a_fixture(server): pass
def test_with_what_is_started_already(cluster): pass
def test_a_wheel(): subprocess.run([sys.executable, "-m", "build"], check=True)

def test_a_stand_in(): subprocess.run([f"{{HERE}}/pulumi"], check=True)
@pytest.mark.cluster
def test_marked(server): subprocess.run([f"{{HERE}}/etcd"], check=True)
@pytest.mark.engine
def test_marked_and_by_another_python(): subprocess.run([sys.executable, "-c", IN_ANOTHER], check=True)
"""


PLANE = """
from pathlib import Path
import pytest

@pytest.fixture(scope="session")
def ended(): return Path(__file__).with_name("ended")
@pytest.fixture(scope="session")
def plane(until_last_cluster, ended): until_last_cluster.callback(ended.touch)
"""
# A file whose tests are not all as heavy, another one that shares the same, and a lighter one.
SHARING = """
import pytest
def test_light_in_it(): pass
@pytest.mark.cluster
def test_with_it(plane, ended): assert not ended.exists()
"""
SHARING_TOO = """
import pytest
@pytest.mark.cluster
def test_with_it_too(plane, ended): assert not ended.exists()
"""
LIGHTER = """
import pytest
@pytest.mark.engine
def test_lighter(ended): assert ended.exists()
"""
TOO_LIGHT = """
import pytest
@pytest.mark.engine
def test_too_light(plane): pass
"""


def run(directory: Path, cases: str, *more: str) -> tuple[dict[str, str], str]:
    """How the tests of a file ended, by name, and everything that pytest printed."""
    (directory / "test_cases.py").write_text(cases)
    (directory / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-q", "-rA", "--tb=line", "-p", "tests.support.groups", *more]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "WECITY"))}
    done = subprocess.run(
        [*command, "-p", "no:cacheprovider", str(directory)],
        capture_output=True, text=True, cwd=directory, env={**environment, "PYTHONPATH": str(ROOT)}, timeout=120,
    )  # fmt: skip
    lines = [
        line.split(" ", 1) for line in done.stdout.splitlines() if line.startswith(("PASSED ", "FAILED ", "ERROR "))
    ]
    found = {rest.partition("::")[2].partition(" ")[0].partition("@")[0]: word for word, rest in lines}
    return found, done.stdout + done.stderr


@pytest.fixture
def outcomes(tmp_path: Path) -> dict[str, str]:
    """How the cases ended, by test."""
    shutil.copy("/bin/true", tmp_path / "etcd")
    (tmp_path / "pulumi").write_text("#!/bin/sh\n")
    (tmp_path / "pulumi").chmod(0o755)
    found, printed = run(tmp_path, CASES.format(here=str(tmp_path)))
    assert len(found) == 9, printed
    return found


def test_an_unmarked_test_that_starts_what_needs_a_mark_fails(outcomes: dict[str, str]) -> None:
    assert outcomes == {
        "test_direct": "FAILED",
        "test_behind_another_program": "FAILED",
        "test_by_another_python": "FAILED",
        "test_by_a_fixture": "ERROR",
        "test_with_what_is_started_already": "FAILED",
        "test_a_wheel": "FAILED",
        "test_a_stand_in": "PASSED",
        "test_marked": "PASSED",
        "test_marked_and_by_another_python": "PASSED",
    }


@pytest.mark.parametrize("more", [(), ("-n", "1", "--dist", "loadgroup")])
def test_what_is_shared_ends_before_lighter_groups_begin(tmp_path: Path, more: tuple[str, ...]) -> None:
    (tmp_path / "conftest.py").write_text(PLANE)
    (tmp_path / "test_a.py").write_text(LIGHTER)
    (tmp_path / "test_more.py").write_text(SHARING_TOO)
    found, printed = run(tmp_path, SHARING, *more)
    names = ("test_light_in_it", "test_with_it", "test_with_it_too", "test_lighter")
    assert found == dict.fromkeys(names, "PASSED"), printed


def test_what_shares_with_a_lighter_mark_is_refused(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(PLANE)
    _, printed = run(tmp_path, TOO_LIGHT)
    assert "::test_too_light shares what ends before it runs: mark it cluster" in printed


def test_a_group_of_its_own_is_refused(tmp_path: Path) -> None:
    _, printed = run(tmp_path, 'import pytest\n@pytest.mark.xdist_group("mine")\ndef test_apart(): pass\n')
    assert "::test_apart has a group of its own" in printed
