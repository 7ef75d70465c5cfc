"""Groups of tests: what an unmarked one may not start, and which may run at the same time as others.

A pytest plug-in. Unmarked tests are `make unit`: they start no engine, no Go, no control plane, build no image and
end soon. A `slow` one is guarded like them.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.guard import sitecustomize as guard

MARKS = ("node", "cluster", "engine", "build", "program", "slow")
_GUARD = Path(guard.__file__).parent
# Seconds for tests and fixtures to tidy up in after Ctrl-C; xdist kills its workers after 10, and clouds would stay.
_TIDYING_SECONDS = 120
# The niceness of workers without tests on real nodes: a third of the weight of the others.
GIVING_WAY = 5
_CONTROL_PLANES = {"api_server", "cluster"}
# Folders whose files share what takes long to start; of tests on real nodes, those with a city of their own.
_FOLDERS = ("tests/landing/", "tests/attack/identity/", "tests/e2e/operations/", "tests/e2e/full/")
# Fixtures that what a worker's tests share is started in, by the lightest mark of the tests that may use it.
_SHARED = {"node": "until_last_node", "cluster": "until_last_cluster"}
_RUNNING = pytest.StashKey[dict[str, contextlib.ExitStack]]()
# The weight of the heaviest test in a test's group: groups begin in this order, and a worker runs each whole.
_GROUP_WEIGHT = pytest.StashKey[int]()


def marks_of(item: pytest.Item) -> list[str]:
    """The marks of a test that decide its group, the heaviest first."""
    return [mark for mark in MARKS if item.get_closest_marker(mark)]


def weight(item: pytest.Item) -> int:
    """Where the test's group is in the order of groups: 0 is the heaviest."""
    return MARKS.index(marks[0]) if (marks := marks_of(item)) else len(MARKS)


def pytest_configure(config: pytest.Config) -> None:
    """Give workers the time to tidy up."""
    config.stash[_RUNNING] = {}
    if config.pluginmanager.hasplugin("xdist"):
        from xdist.workermanage import NodeManager

        NodeManager.EXIT_TIMEOUT = _TIDYING_SECONDS
        # Groups begin in the order given here; otherwise xdist would begin with those of the most tests, and what they
        # share would end before its last use.
        config.option.loadscopereorder = False


def pytest_sessionstart() -> None:
    """Collect tests without the garbage collector: what they are made of stays until the end."""
    gc.disable()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest groups first; with several workers, files stay whole, and so do folders that share a city.

    So do the landing zones: each worker that has some of them loads the vendors' SDKs. The tests of identity share one
    server. All others on real nodes are one worker's. Files that share a running control plane or node follow each
    other, after those with cities of their own, so that nothing runs meanwhile.
    Raises `pytest.UsageError` for a test with a lighter mark than what it shares, or with a group of its own.
    """
    sharing = set()
    groups: dict[str, list[pytest.Item]] = {}
    for item in items:
        file = item.nodeid.partition("::")[0]
        if item.get_closest_marker("xdist_group"):
            raise pytest.UsageError(f"{item.nodeid} has a group of its own: a second worker would start its node")
        own = "node" if "node" in marks_of(item) else file
        group = next((name for name in _FOLDERS if file.startswith(name)), own)
        item.add_marker(pytest.mark.xdist_group(group))
        groups.setdefault(group, []).append(item)
        for mark, fixture in _SHARED.items():
            if fixture in getattr(item, "fixturenames", ()):
                sharing.add((mark, file))
                # An unmarked one is told so when it runs.
                if MARKS.index(mark) < weight(item) < len(MARKS):
                    raise pytest.UsageError(f"{item.nodeid} shares what ends before it runs: mark it {mark}")
    for members in groups.values():
        heaviest = min(map(weight, members))
        for item in members:
            item.stash[_GROUP_WEIGHT] = heaviest
    items.sort(
        key=lambda item: (weight(item), (next(iter(marks_of(item)), ""), item.nodeid.partition("::")[0]) in sharing)
    )


def pytest_collection_finish(session: pytest.Session) -> None:
    """Refuse a worker that does not know its tests' groups: it would run some of a file whose rest another runs."""
    is_grouping = getattr(session.config.option, "loadgroup", False)
    if is_grouping and any("@" not in item.nodeid for item in session.items):
        raise pytest.UsageError("pytest-xdist cannot group tests with this pytest; pyproject.toml says which it can")
    # From here on it looks only at what the tests make.
    gc.freeze()
    gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Guard everything that an unmarked or slow test does, its fixtures included."""
    _give_way(item)
    if set(marks_of(item)) - {"slow"}:
        return (yield)
    before = os.environ.get("PYTHONPATH")
    with tempfile.NamedTemporaryFile(prefix="refused-") as refused:
        os.environ[guard.PLACE] = refused.name
        os.environ["PYTHONPATH"] = os.pathsep.join(part for part in (str(_GUARD), before) if part)
        # Our own workers get this process's path, not the variable.
        sys.path.append(str(_GUARD))
        try:
            return (yield)
        finally:
            sys.path.remove(str(_GUARD))
            del os.environ[guard.PLACE], os.environ["PYTHONPATH"]
            if before is not None:
                os.environ["PYTHONPATH"] = before


def _give_way(item: pytest.Item) -> None:
    """Let tests on real nodes go first: they are few workers', and the run lasts as long as the longest of these.

    What a test starts has the priority of its worker. Only root may raise one, and nobody else has a real node.
    """
    if os.geteuid() == 0 and "PYTEST_XDIST_WORKER" in os.environ:
        os.setpriority(os.PRIO_PROCESS, 0, 0 if "node" in marks_of(item) else GIVING_WAY)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """End what only heavier groups than the next test's may use: an idle control plane takes a twentieth of a core."""
    result = yield
    if nextitem is not None:
        for mark, running in item.config.stash[_RUNNING].items():
            if nextitem.stash[_GROUP_WEIGHT] > MARKS.index(mark):
                running.close()
    return result


@pytest.fixture(scope="session")
def until_last_node(request: pytest.FixtureRequest) -> Iterator[contextlib.ExitStack]:
    """What is entered here ends after this worker's last test on a real node."""
    with contextlib.ExitStack() as running:
        request.config.stash[_RUNNING]["node"] = running
        yield running


@pytest.fixture(scope="session")
def until_last_cluster(request: pytest.FixtureRequest) -> Iterator[contextlib.ExitStack]:
    """What is entered here ends after this worker's last test that is marked `cluster` or `node`."""
    with contextlib.ExitStack() as running:
        request.config.stash[_RUNNING]["cluster"] = running
        yield running


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Fail a test whose programs were refused something, whatever they made of it."""
    try:
        return (yield)
    finally:
        if refused := _refused(item):
            pytest.fail(f"an unmarked test starts {refused}: mark it {', '.join(MARKS[1:-1])} or {MARKS[0]}")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """What tests measured and do not judge: their property `measured`, also from workers, whose output is not shown."""
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            for name, value in report.user_properties:
                if name == "measured":
                    terminalreporter.line(f"measured: {value}")


def _refused(item: pytest.Item) -> str:
    """What an unmarked test started or would have; empty if nothing."""
    if marks_of(item):
        return ""
    # A marked test may have started them already.
    shared = _CONTROL_PLANES & set(getattr(item, "fixturenames", ()))
    return ", ".join(sorted(shared)) or Path(os.environ[guard.PLACE]).read_text().partition("\n")[0]
