"""Files of tests that run only if what decides their outcome has changed: what is recorded, and what is looked at."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import by_digest

CASES = """
import pytest
from stacks.platforms.data.trees import VALUE
from tests.helper import wanted
pytestmark = [pytest.mark.by_digest]

def test_one(): assert VALUE == wanted()
def test_two(): assert "pause"
"""
# Files of a small project, by place.
FILES = {
    "tests/helper.py": "from wecityctl.model.numbers import ONE\ndef wanted(): return ONE",
    "tests/test_cases.py": CASES,
    "stacks/platforms/data/trees/__init__.py": "from stacks.shared import VALUE",
    "stacks/platforms/data/trees/image/go/main.go": "package main",
    "stacks/platforms/data/lakes/__init__.py": "",
    "stacks/shared.py": "VALUE = 1",
    "wecityctl/model/numbers.py": "ONE = 1",
    "wecityctl/model/words.py": "",
    "wecityctl/oci/__init__.py": "",
    "images/debian/image.yaml": "",
    "images/pause/image.yaml": "",
    "pytest.ini": "[pytest]\n",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "tests" / "support").mkdir()
    # Without them Python would find the packages of this project.
    for each in (place for place in tmp_path.rglob("*") if place.is_dir()):
        (each / "__init__.py").touch()
    shutil.copy(by_digest.__file__, tmp_path / "tests" / "support" / "by_digest.py")
    return tmp_path


def run(project: Path, *arguments: str, prove: str = "") -> str:
    """The counting line of pytest."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "WECITY", "PROVE"))}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "tests.support.by_digest", "-p", "no:cacheprovider", *arguments],
        cwd=project,
        env={**kept, "PYTHONPATH": str(project), "PROVE": prove, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    return done.stdout.splitlines()[-1].partition(" in ")[0]


@pytest.mark.parametrize("path", by_digest.marked(), ids=lambda path: path.relative_to(by_digest.ROOT).as_posix())
def test_what_is_recorded_is_of_what_is_here(path: Path) -> None:
    name = path.relative_to(by_digest.ROOT).as_posix()
    found = by_digest.proofs().get(name, {})
    assert found.get("digest") == by_digest.digest_of(path, by_digest.marked()[path]), (
        f"something that decides it has changed since it passed: run {name} as root, and commit {by_digest.RECORDS}"
    )


def test_no_record_is_of_a_file_that_is_gone() -> None:
    assert by_digest.proofs().keys() <= {path.relative_to(by_digest.ROOT).as_posix() for path in by_digest.marked()}


@pytest.mark.slow
def test_a_file_runs_again_only_after_something_that_decides_it_has_changed(project: Path) -> None:
    assert run(project, "-n", "1") == "2 passed"
    assert run(project) == "2 skipped"
    assert run(project, prove="all") == "2 passed"
    for place in ("stacks/platforms/data/lakes/__init__.py", "wecityctl/model/words.py"):
        (project / place).write_text("# changed")
        assert run(project) == "2 skipped", place
    for place in (
        "stacks/platforms/data/trees/image/go/main.go",
        "stacks/shared.py",
        "tests/helper.py",
        "wecityctl/model/numbers.py",
        "wecityctl/oci/__init__.py",
        "images/debian/image.yaml",
        "images/pause/image.yaml",
    ):
        (project / place).write_text(f"{FILES[place]}\n")
        assert run(project) == "2 passed", place
    assert run(project) == "2 skipped"


@pytest.mark.slow
def test_what_did_not_pass_whole_is_not_recorded(project: Path) -> None:
    cases = project / "tests" / "test_cases.py"
    assert run(project, "tests/test_cases.py::test_one") == "1 passed"
    assert run(project, "-k", "one") == "1 passed, 1 deselected"
    cases.write_text(CASES.replace('"pause"', "False"))
    assert run(project) == "1 failed, 1 passed"
    cases.write_text(CASES.replace("def test_two", "@pytest.mark.skip\ndef test_two"))
    assert run(project) == "1 passed, 1 skipped"
    assert not (project / "tests" / "proofs.json").exists()
