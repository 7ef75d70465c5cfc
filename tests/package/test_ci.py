"""What continuous integration runs again, and what it says of a test that failed only once."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
REPORT: dict[str, Any] = {
    "failed": {"tests/a/test_a.py::test_1": 10.0, "tests/b/test_b.py::test_2[x]": 20.0},
    "seconds": {"tests/a/test_a.py": 60.0, "tests/b/test_b.py": 120.0, "tests/c/test_c.py": 999.0},
    "around": {"tests/a/test_a.py": 30.0, "tests/c/test_c.py": 99.0},
    "not_collected": [],
    "line": "2 failed, 7 passed",
}


@pytest.fixture(scope="module")
def report() -> ModuleType:
    spec = importlib.util.spec_from_file_location("flaky_report", ROOT / ".ci" / "flaky_report.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_failed_is_run_again_only_if_that_ends_in_time(report: ModuleType) -> None:
    end = report.END_SECONDS
    files = ["tests/a/test_a.py", "tests/b/test_b.py"]
    assert report.again(REPORT, end - 90 - 1.5 * 180) == files
    assert report.again(REPORT, end - 90 - 1.5 * 180 + 1) == sorted(REPORT["failed"])
    assert report.again(REPORT, end - 90 - 1.5 * 60) == sorted(REPORT["failed"])
    with pytest.raises(ValueError, match="not run again: 76 minutes are used"):
        report.again(REPORT, end - 90 - 1.5 * 60 + 1)
    with pytest.raises(ValueError, match="could not be collected: tests/d"):
        report.again({**REPORT, "not_collected": ["tests/d"]}, 0)


def test_each_failure_is_told_with_what_became_of_it(report: ModuleType) -> None:
    reasons = report.known('[[test]]\nid = "tests/a/test_a.py::test_1"\nreason = "the clock of the machine"\n')
    now = dict.fromkeys(REPORT["failed"], "passed")
    assert report.told(REPORT, now, reasons) == [
        "first run: 2 failed, 7 passed",
        "FLAKY tests/a/test_a.py::test_1: known: the clock of the machine",
        "FLAKY tests/b/test_b.py::test_2[x]: A DEFECT TO MEND, since .ci/flaky.toml does not name it",
    ]
    assert report.told(REPORT, {}, reasons)[1] == "FAILED AGAIN tests/a/test_a.py::test_1"


def test_the_list_names_tests_that_exist_and_a_reason(report: ModuleType) -> None:
    for test, reason in report.known((ROOT / ".ci" / "flaky.toml").read_text()).items():
        path, _, name = test.partition("::")
        assert f"def {name.partition('[')[0].rpartition('::')[2]}(" in (ROOT / path).read_text(), test
        assert len(reason) > 20, test


MAKEFILE = """
test:
\t{python} -m pytest -q {more} tests
"""
FLAKY = """
from pathlib import Path
def test_fails_once():
    seen = Path({place!r})
    assert seen.exists() or seen.touch()
def test_passes(): pass
"""


@pytest.mark.slow
@pytest.mark.parametrize("more", ["", "-n 2 --dist loadgroup"], ids=["one-worker", "two-workers"])
def test_a_run_with_a_flaky_test_closes_with_pytests_count(tmp_path: Path, more: str) -> None:
    """The whole script on a project of one test file."""
    (tmp_path / ".ci").mkdir()
    for name in ("run", "flaky_report.py", "flaky.toml"):
        (tmp_path / ".ci" / name).write_text((ROOT / ".ci" / name).read_text())
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    python = tmp_path / ".venv" / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_x.py").write_text(FLAKY.format(place=str(tmp_path / "seen")))
    (tmp_path / "Makefile").write_text(MAKEFILE.format(python=python, more=more))
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "CI_"))}
    done = subprocess.run(
        ["bash", ".ci/run"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "--- once more, because a test failed: tests/test_x.py" in lines
    (flaky,) = [line for line in lines if line.startswith("FLAKY ")]
    assert flaky.startswith("FLAKY tests/test_x.py::test_fails_once: A DEFECT TO MEND")
    assert "first run: 1 failed, 1 passed" in lines
    # At once, for a run that is ended from outside has no summary.
    (failed,) = [line for line in lines if line.startswith("minute ")]
    assert failed.startswith("minute 0: FAILED tests/test_x.py::test_fails_once (call): ")
    assert "2 passed in " in lines[-1]
