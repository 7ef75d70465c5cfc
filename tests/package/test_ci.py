"""What continuous integration runs again, what it says of a test that failed only once, and of CPU time."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
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
def report() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / ".ci")
        yield importlib.import_module("flaky_report")


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


def test_cpu_time_is_told_by_file_the_dearest_first(report: ModuleType) -> None:
    cpu = {f"tests/test_{number}.py": float(number) for number in range(30)}
    lines = report.dearest(cpu, dict.fromkeys(cpu, 60.4))
    assert lines[:2] == [
        "   435.0 s by 30 files; the dearest, and how long each ran:",
        "    29.0 s tests/test_29.py (60 s)",
    ]
    assert len(lines) == 1 + report.DEAREST


LEAVING_SOMETHING = """
import subprocess, sys
import cpu_meter
meter = cpu_meter.Meter()
busy = "import time; all(iter(lambda: time.process_time() < {seconds}, False)); time.sleep(60)"
# Its parent ends at once, and nobody waits for it.
start = "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', sys.argv[1]], stdout=2).pid)"
started = subprocess.run([sys.executable, "-c", start, busy], stdout=-1, stderr=-3, text=True, check=True)
print(meter.complete, started.stdout.strip(), flush=True)
sys.stdin.readline()
print(meter.lap(), meter.lap(), flush=True)
meter.close()
"""
BUSY_SECONDS = 0.5


def test_the_meter_counts_what_was_left_running(report: ModuleType) -> None:
    """A process of its own, whose child outlives its parent: as the supervisor of an embedded cloud does."""
    place = str(ROOT / ".ci")
    with subprocess.Popen(
        # A little more, because the table of processes counts in ticks.
        [sys.executable, "-c", LEAVING_SOMETHING.replace("{seconds}", str(BUSY_SECONDS + 0.1))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": place},
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        complete, pid = process.stdout.readline().split()
        try:
            if complete == "False":
                pytest.skip("this user can make no control group below that of this process")
            deadline = time.monotonic() + 60
            while _cpu_seconds(pid) < BUSY_SECONDS and time.monotonic() < deadline:
                time.sleep(0.05)
            process.stdin.write("\n")
            process.stdin.flush()
            first, second = map(float, process.stdout.readline().split())
        finally:
            os.kill(int(pid), signal.SIGKILL)
    assert BUSY_SECONDS <= first < 10 * BUSY_SECONDS
    assert second < BUSY_SECONDS / 5


def _cpu_seconds(pid: str) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


MAKEFILE = """
test:
\t{python} -m pytest -q {more} tests
"""
FLAKY = """
import time
from pathlib import Path
def test_fails_once():
    end = time.process_time() + 0.2
    while time.process_time() < end:
        pass
    seen = Path({place!r})
    assert seen.exists() or seen.touch()
def test_passes(): pass
"""


@pytest.mark.slow
@pytest.mark.parametrize("more", ["", "-n 2 --dist loadgroup"], ids=["one-worker", "two-workers"])
def test_a_run_with_a_flaky_test_closes_with_pytests_count(tmp_path: Path, more: str) -> None:
    """The whole script on a project of one test file."""
    (tmp_path / ".ci").mkdir()
    for name in ("run", "flaky_report.py", "cpu_meter.py", "flaky.toml"):
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
    # Of both runs, and of the file's tests alone: starting Python is not in it.
    told = [line for line in lines if line.endswith(" s)") and " s tests/test_x.py (" in line]
    assert [0.2 <= float(line.split()[0]) < 2 for line in told] == [True, True], lines
