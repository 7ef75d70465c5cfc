"""One of two threads' operations is ended by a third thread: in a program, a build, the start of a cloud, a run."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest

from tests.engine.drive import go, make_city
from tests.images.conftest import make_cache
from tests.operations.conftest import SIMULATED, write_city
from tests.support.processes import matching
from wecityctl import cancellation
from wecityctl.cancellation import Cancellation
from wecityctl.engine.context.options import Timeouts
from wecityctl.engine.process.interrupts import time_limit
from wecityctl.errors import CancelledError, ExitCode, TimedOutError
from wecityctl.model.events import Event, Progress, RunResult, StackStarted
from wecityctl.operations.images import ImageEvent, Locking, build_images
from wecityctl.operations.local import cloud_names, describe_clouds, reset_cloud
from wecityctl.operations.options import UpOptions
from wecityctl.operations.up import up
from wecityctl.session import Session, open_session

T = TypeVar("T")
# A shell that has started another program, which ignores interrupts as all that a shell has in the background.
SHELL = ("sh", "-c", 'sleep "$0" & echo > "$1"; wait')


def within(ending: Cancellation, work: Callable[[], T]) -> T:
    with ending:
        return work()


def running(seconds: str) -> int:
    """How many `sleep`s of so many seconds run."""
    return len(matching(lambda place: (place / "cmdline").read_bytes() == f"sleep\0{seconds}\0".encode()))


def eventually(look: Callable[[], bool], seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_program_ends_with_all_that_it_started_and_another_threads_goes_on(tmp_path: Path) -> None:
    ending, begun = Cancellation(), time.monotonic()

    def start(seconds: str) -> subprocess.CompletedProcess[str]:
        return cancellation.run([*SHELL, seconds, str(tmp_path / seconds)], text=True, capture_output=True)

    with ThreadPoolExecutor(2) as threads:
        ended = threads.submit(within, ending, lambda: start("61.5"))
        other = threads.submit(within, Cancellation(), lambda: start("2.5"))
        eventually(lambda: (tmp_path / "61.5").exists() and (tmp_path / "2.5").exists())
        ending.cancel()
        with pytest.raises(CancelledError):
            ended.result()
        assert running("61.5") == 0
        assert other.result().returncode == 0
    assert time.monotonic() - begun < 30


def test_the_time_of_a_thread_ends_its_program_and_a_cancellation_before_its_block_counts() -> None:
    def bounded() -> None:
        with time_limit(0.5, lambda: "a program"):
            cancellation.run(["sleep", "62.5"])

    early = Cancellation()
    early.cancel()
    with ThreadPoolExecutor(1) as threads:
        late: Future[None] = threads.submit(within, Cancellation(), bounded)
        with pytest.raises(TimedOutError) as error:
            late.result()
        assert error.value.details == "a program"
        with pytest.raises(CancelledError):
            threads.submit(within, early, bounded).result()
    assert running("62.5") == 0


def test_what_is_shielded_comes_to_its_end() -> None:
    ending = Cancellation()
    with pytest.raises(CancelledError), ending:
        ending.cancel()
        with cancellation.shielded():
            assert cancellation.run(["echo", "done"], text=True, capture_output=True).stdout == "done\n"
        cancellation.run(["sleep", "63.5"])


@pytest.mark.build
def test_a_build_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = make_cache(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    # Without Go's own cache the build takes longer than its end.
    monkeypatch.setenv("GOCACHE", str(tmp_path / "go"))
    ending, building = Cancellation(), threading.Event()

    def report(event: ImageEvent) -> None:
        if event.phase == "building":
            building.set()

    with ThreadPoolExecutor(1) as threads:
        ended = threads.submit(within, ending, lambda: build_images(["pause"], Locking.PREFER, report))
        assert building.wait(60)
        eventually(lambda: any((tmp_path / "go").glob("*")))
        ending.cancel()
        with pytest.raises(CancelledError):
            ended.result(30)
    assert not list((tmp_path / "wecityctl" / "images" / "store").rglob("*.tar"))
    assert not list((tmp_path / "wecityctl" / "images" / "store").rglob(".tmp-*"))


@pytest.mark.cluster
def test_up_ends_while_its_cloud_starts_and_another_threads_goes_on(
    open_city: Callable[[str], Session], home: Path
) -> None:
    other, starting = open_city("opgoeson"), open_session(write_city(home, "opends", SIMULATED))
    ending, begun = Cancellation(), threading.Event()

    def note(event: Event) -> None:
        if isinstance(event, Progress) and event.subject.startswith("cloud") and event.phase.startswith("starting"):
            begun.set()

    def bring(session: Session, emit: Callable[[Event], None]) -> RunResult:
        return up(session, UpOptions(program="tests.engine.programs:objects", timeouts=Timeouts(run=200)), emit)

    try:
        with ThreadPoolExecutor(2) as threads:
            ended = threads.submit(within, ending, lambda: bring(starting, note))
            goes_on = threads.submit(within, Cancellation(), lambda: bring(other, lambda event: None))
            assert begun.wait(100)
            ending.cancel()
            with pytest.raises(CancelledError):
                ended.result(100)
            # What was started for it does not stay.
            assert [item.health for item in describe_clouds("opends-main")] == ["stopped"]
            assert {item.outcome for item in goes_on.result().results} == {"succeeded", "unchanged"}
    finally:
        for name in cloud_names():
            reset_cloud(name, lambda event: None)


@pytest.mark.engine
def test_running_stacks_end_in_order(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "test")
    ending, hanging = Cancellation(), threading.Event()

    def run() -> RunResult:
        events = _Told(lambda event: hanging.set() if _is_tenant(event) else None)
        return go(make_city("ends", ("health",)), "up", program="hanging", events=events, timeouts=Timeouts(cancel=2))

    with ThreadPoolExecutor(1) as threads:
        ended = threads.submit(within, ending, run)
        assert hanging.wait(100)
        ending.cancel()
        result = ended.result(100)
    assert result.exit_code == ExitCode.CANCELLED
    assert {item.stack: item.outcome for item in result.results}["ends.entry"] == "cancelled"


def _is_tenant(event: Event) -> bool:
    return isinstance(event, StackStarted) and ".tenant." in event.stack


class _Told(list[Event]):
    """A list of events that tells of each."""

    def __init__(self, tell: Callable[[Event], object]) -> None:
        super().__init__()
        self._tell = tell

    def append(self, event: Event) -> None:
        super().append(event)
        self._tell(event)
