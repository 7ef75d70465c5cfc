"""What a test run of CI leaves for the next: failed tests, seconds by file; and which failures did not come back.

A pytest plug-in for `.ci/run`; as a program, what is to be run again, or why it is not. What fails is printed at once,
with the minute, and so is how far the run has come: a run that is ended from outside prints no summary. A run that is
not ended prints which files took the most CPU time, which is what the cores of CI are short of.
"""

from __future__ import annotations

import json
import os
import sys
import time
import tomllib
from collections import defaultdict
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from cpu_meter import Meter

LIST = Path(__file__).with_name("flaky.toml")
# A run of CI may take this long; a second run is begun only if it will have ended by then.
END_SECONDS = 79 * 60
# A file by itself makes what it shared with others anew: clusters, images.
LONGER, AGAIN_SECONDS = 1.5, 90
PROGRESS_SECONDS = 300
DEAREST = 20
# Characters of a failure's message.
HEAD, TAIL = 300, 900
_METER = pytest.StashKey[Meter]()


class Report:
    """Collects on the controlling process, which hears of every worker's tests."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._begun = self._told = time.monotonic()
        self.seconds: dict[str, float] = defaultdict(float)
        # Of these, what is not in the tests themselves: what their file makes for them, and takes away.
        self.around: dict[str, float] = defaultdict(float)
        self.cpu: dict[str, float] = defaultdict(float)
        self.failed_seconds: dict[str, float] = {}
        self.outcomes: dict[str, str] = {}
        self.not_collected: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        # xdist adds the group of the test to its name.
        name, _, group = report.nodeid.rpartition("@")
        test = name if name and (group == "node" or group.startswith("tests/")) else report.nodeid
        file = test.partition("::")[0]
        self.seconds[file] += report.duration
        self.cpu[file] += getattr(report, "cpu", 0.0)
        if report.when != "call":
            self.around[file] += report.duration
        if report.failed:
            self.failed_seconds[test] = report.duration if report.when == "call" else 0.0
            self.outcomes[test] = "failed"
            crash = getattr(report.longrepr, "reprcrash", None)
            self._tell(f"FAILED {test} ({report.when}): {shortened(str(getattr(crash, 'message', report.longrepr)))}")
        elif time.monotonic() - self._told > PROGRESS_SECONDS:
            self._told = time.monotonic()
            self._tell(f"{len(self.outcomes)} tests have ended, the last of them {test}")
        if report.when == "call":
            self.outcomes.setdefault(test, report.outcome)

    def _tell(self, text: str) -> None:
        terminal = self._config.pluginmanager.get_plugin("terminalreporter")
        if terminal is not None:
            terminal.write_line(f"\nminute {(time.monotonic() - self._begun) / 60:.0f}: {text}")

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.not_collected.append(report.nodeid)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        parts, _ = terminalreporter.build_summary_stats_line()
        found = {
            "failed": self.failed_seconds,
            "seconds": self.seconds,
            "around": self.around,
            "cpu": self.cpu,
            "not_collected": self.not_collected,
        }
        place = Path(os.environ["CI_REPORT"])
        place.parent.mkdir(exist_ok=True)
        place.write_text(json.dumps({**found, "line": ", ".join(text for text, _ in parts)}))
        if first := os.environ.get("CI_FIRST_REPORT"):
            before = json.loads(Path(first).read_text())
            terminalreporter.section("failed at first")
            for line in told(before, self.outcomes, known(LIST.read_text())):
                terminalreporter.line(line)
        terminalreporter.section("CPU time")
        for line in dearest(self.cpu, self.seconds):
            terminalreporter.line(line)


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Report(config), "ci-flaky-report")
    # A controller of workers runs no test.
    if not config.getoption("numprocesses", None):
        config.stash[_METER] = Meter()


def pytest_unconfigure(config: pytest.Config) -> None:
    if (meter := config.stash.get(_METER, None)) is not None:
        meter.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the CPU seconds since the last report, which an xdist worker hands on with the report."""
    report = yield
    meter = item.config.stash[_METER]
    report.cpu = meter.lap()
    # One worker runs all tests on real nodes, so that nobody else counts these pods.
    if item.get_closest_marker("node"):
        report.cpu += meter.lap_of_pods()
    return report


def shortened(text: str) -> str:
    """A failure's message with its middle left out: what a command printed last says most of it."""
    return text if len(text) <= HEAD + TAIL else f"{text[:HEAD]} […] {text[-TAIL:]}"


def dearest(cpu: dict[str, float], seconds: dict[str, float]) -> list[str]:
    """The CPU seconds of the whole run, then a line for each of the files that took the most."""
    lines = [f"{sum(cpu.values()):8.1f} s by {len(cpu)} files; the dearest, and how long each ran:"]
    for file in sorted(cpu, key=lambda file: -cpu[file])[:DEAREST]:
        lines.append(f"{cpu[file]:8.1f} s {file} ({seconds[file]:.0f} s)")
    return lines


def known(text: str) -> dict[str, str]:
    """The tests of the list and the reason of each."""
    return {item["id"]: item["reason"] for item in tomllib.loads(text).get("test", ())}


def told(before: dict[str, Any], now: dict[str, str], reasons: dict[str, str]) -> list[str]:
    """The first run's count, and a line for each of its failures: that it came back, or is flaky and why."""
    lines = [f"first run: {before['line']}"]
    for test in before["failed"]:
        if now.get(test) != "passed":
            lines.append(f"FAILED AGAIN {test}")
        elif test in reasons:
            lines.append(f"FLAKY {test}: known: {reasons[test]}")
        else:
            lines.append(f"FLAKY {test}: A DEFECT TO MEND, since .ci/flaky.toml does not name it")
    return lines


def again(report: dict[str, Any], used: float) -> list[str]:
    """What to run again after `used` seconds: the files in which a test failed, or where these would end too late, the
    failed tests alone. Raises ValueError with the reason where nothing is to be."""
    if report["not_collected"]:
        raise ValueError(f"not run again, because it could not be collected: {', '.join(report['not_collected'])}")
    files = sorted({test.partition("::")[0] for test in report["failed"]})
    if not files:
        raise ValueError("not run again, because no test failed")
    whole = AGAIN_SECONDS + LONGER * sum(report["seconds"][file] for file in files)
    if used + whole <= END_SECONDS:
        return files
    around = sum(report["around"].get(file, 0.0) for file in files)
    needed = AGAIN_SECONDS + LONGER * (around + sum(report["failed"].values()))
    if used + needed <= END_SECONDS:
        return sorted(report["failed"])
    raise ValueError(
        f"not run again: {used / 60:.0f} minutes are used, {', '.join(sorted(report['failed']))} would take about"
        f" {needed / 60:.0f} more, and a run ends by minute {END_SECONDS // 60}"
    )


def main(place: str, used: str) -> int:
    report = json.loads(Path(place).read_text())
    try:
        print("\n".join(again(report, float(used))))
    except ValueError as error:
        print(f"{error}\n{report['line']}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
