"""Operations called from Python: one after the other in one process, and for two cities from two threads."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.engine.drive import go, make_city
from tests.support.control_plane import ControlPlane
from wecityctl.engine.context.options import Timeouts
from wecityctl.engine.process.interrupts import time_limit
from wecityctl.errors import ExitCode
from wecityctl.model.events import Event, RunFinished, RunResult, RunStarted, StackFinished
from wecityctl.operations.destroy import destroy, preview_destroy
from wecityctl.operations.options import DestroyOptions, PreviewOptions, RefreshOptions, UpOptions
from wecityctl.operations.preview import preview, preview_offline
from wecityctl.operations.refresh import refresh
from wecityctl.operations.up import up
from wecityctl.session import Session, open_session

PROGRAM = "tests.engine.programs:objects"
TIME = Timeouts(run=200)
FILES = """
apiVersion: wecity.dev/v1alpha1
kind: City
metadata: {{name: {name}}}
spec:
  domain: {name}.example
  zones: [{{name: internet, kind: internet}}]
  engine: {{kubernetesProvider: builtin}}
---
apiVersion: wecity.dev/v1alpha1
kind: Cloud
metadata: {{name: main}}
spec:
  provider: kubernetes
  kubernetes: {{kubeconfig: {kubeconfig}}}
  zones: [internet]
---
apiVersion: wecity.dev/v1alpha1
kind: Tenant
metadata: {{name: health}}
spec:
  title: Health
  area: city-governance
  quota: {{cpu: "1", memory: 1Gi, storage: 1Gi}}
"""


@pytest.fixture
def open_city(home: Path, cluster: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Session]]:
    """Opens a small city on the session's control plane, by name."""
    names: list[str] = []
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "test")

    def opened(name: str) -> Session:
        names.append(name)
        files = home / f"{name}.yaml"
        files.write_text(FILES.format(name=name, kubeconfig=cluster.kubeconfig))
        return open_session(files)

    yield opened
    for name in names:
        cluster.kubectl("delete", "namespace", "--wait=false", "-l", f"wecity.dev/city={name}")


def of_process() -> tuple[object, ...]:
    """What all threads of a process share and an operation leaves as it was."""
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)]
    mask = os.umask(0o022)
    os.umask(mask)
    return handlers, mask, Path.cwd(), dict(os.environ), signal.getitimer(signal.ITIMER_REAL)[0] > 0


def outcomes(result: RunResult) -> set[str]:
    return {item.outcome for item in result.results}


@pytest.mark.cluster
def test_operations_are_called_one_after_the_other_in_one_process(open_city: Callable[[str], Session]) -> None:
    session, before, events = open_city("opone"), of_process(), list[Event]()
    shown = preview(session, PreviewOptions(program=PROGRAM, timeouts=TIME), events.append)
    assert (shown.exit_code, shown.has_changes) == (0, True)
    first = up(session, UpOptions(program=PROGRAM, timeouts=TIME), events.append)
    assert outcomes(first) == {"succeeded", "unchanged"}, first
    assert outcomes(up(session, UpOptions(program=PROGRAM, timeouts=TIME), events.append)) == {"unchanged"}
    part = up(session, UpOptions(program=PROGRAM, only=("base",), skip=False), events.append)
    assert [(item.stack, item.outcome) for item in part.results] == [("opone.base.main", "unchanged")]
    assert part.part
    assert outcomes(refresh(session, RefreshOptions(program=PROGRAM), events.append)) == {"unchanged"}
    foreseen = preview_destroy(session, DestroyOptions(delete_data=True), events.append)
    gone = destroy(session, DestroyOptions(delete_data=True, program=PROGRAM, timeouts=TIME), events.append)
    assert gone.exit_code == 0
    assert {item.urn for result in gone.results for item in result.changes} == {
        item.urn for result in foreseen.results for item in result.changes
    }
    assert of_process() == before
    assert [event.operation for event in events if isinstance(event, RunStarted)] == [
        "preview", "up", "up", "up", "refresh", "destroy", "destroy"
    ]  # fmt: skip
    assert len([event for event in events if isinstance(event, RunFinished)]) == 7


@pytest.mark.cluster
def test_two_threads_bring_two_cities_up(open_city: Callable[[str], Session]) -> None:
    sessions, before = [open_city("opleft"), open_city("opright")], of_process()
    both = threading.Barrier(2, timeout=200)

    def work(session: Session) -> tuple[RunResult, RunResult, list[Event]]:
        events: list[Event] = []

        def emit(event: Event) -> None:
            if isinstance(event, RunStarted):
                both.wait()
            events.append(event)

        done = up(session, UpOptions(program=PROGRAM, timeouts=TIME), emit)
        return done, preview(session, PreviewOptions(program=PROGRAM, timeouts=TIME), emit), events

    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(work, sessions))
    for session, (done, again, events) in zip(sessions, found, strict=True):
        assert outcomes(done) == {"succeeded", "unchanged"}, done
        assert (again.exit_code, again.has_changes) == (0, False)
        stacks = {event.result.stack for event in events if isinstance(event, StackFinished)}
        assert stacks == {stack.name for stack in session.plan.stacks}
    assert of_process() == before


@pytest.mark.engine
def test_two_threads_preview_two_cities_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cases = Path(__file__).parents[1] / "policy" / "cases"
    sessions = [open_session(cases / name / "pass.yaml") for name in ("through-exchange", "data-class")]
    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(lambda each: preview_offline(each, PreviewOptions(), lambda event: None), sessions))
    for session, result in zip(sessions, found, strict=True):
        assert outcomes(result) == {"succeeded"}
        planned = {stack.name for stack in session.plan.stacks if stack.layer != "secrets"}
        assert {item.stack for item in result.results} == planned


@pytest.mark.engine
def test_the_time_of_one_threads_run_ends_that_run_alone(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The first run on a machine makes the passphrase of its states, and refuses another that does so with it.
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "test")

    def bounded() -> RunResult:
        with time_limit(8, lambda: ""):
            return go(make_city("late", ("health",)), "up", program="hanging", timeouts=Timeouts(cancel=2))

    with ThreadPoolExecutor(2) as threads:
        late, other = threads.submit(bounded), threads.submit(go, make_city("free", ("health",)), "up")
        assert late.result().exit_code == ExitCode.TIMEOUT
        assert outcomes(other.result()) == {"succeeded"}
    reasons = {item.stack.removeprefix("late."): item.reason for item in late.result().results}
    assert reasons["entry"] == "not started: the run's time was over"
