"""Runs side by side: each has its own stacks alone, and nobody changes what another one builds on."""

from __future__ import annotations

import os
import pwd
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.engine.drive import files_of, go, make_city, plan_of, session_of
from tests.support.control_plane import ControlPlane
from wecityctl.engine.context.options import RunOptions
from wecityctl.engine.process.identity import Holder, Owner, owner_in
from wecityctl.engine.run.execution import run
from wecityctl.engine.state import layout
from wecityctl.engine.state.backend import Backend, open_backend
from wecityctl.engine.state.engine_lock import LockedError
from wecityctl.engine.state.run_locks import ContendedError, part_of_city, whole_city
from wecityctl.errors import ConfigurationError
from wecityctl.inputs import Cluster, Clusters
from wecityctl.model.city import City
from wecityctl.model.command_line import CommandLine, current, remember
from wecityctl.model.events import RunResult

PLATFORM, HEALTH, TRAFFIC = "two.platform.application.main", "two.tenant.health.main", "two.tenant.traffic.main"


@pytest.fixture
def backend(home: Path) -> Backend:
    return open_backend(make_city("two"))


def test_two_parts_share_what_they_build_on(backend: Backend) -> None:
    with part_of_city(backend, (PLATFORM, HEALTH)) as one, part_of_city(backend, (PLATFORM, TRAFFIC)) as other:
        one.claim((HEALTH,))
        other.claim((TRAFFIC,))
        with pytest.raises(LockedError, match="another run is changing two"), whole_city(backend):
            pass
        with pytest.raises(LockedError) as caught, part_of_city(backend, (PLATFORM,), (HEALTH,)):
            pass
        assert caught.value.message == f"another run is changing {HEALTH}"
        assert f"process {os.getpid()}" in caught.value.details
        with pytest.raises(ContendedError) as contended:
            one.claim((PLATFORM,))
        assert contended.value.stacks == {PLATFORM}
        # What was shared is shared still.
        with pytest.raises(LockedError, match=f"another run builds on {PLATFORM}"):
            other.close()
            with part_of_city(backend, (), (PLATFORM,)):
                pass
    with whole_city(backend) as whole:
        whole.claim((PLATFORM, HEALTH))
        with pytest.raises(LockedError, match="another run is changing two"), part_of_city(backend, (HEALTH,)):
            pass


def test_who_holds_it_is_a_name_a_host_a_time_with_its_zone_and_a_command(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("USER", raising=False)
    before = current()
    remember(CommandLine("up", "examples/two"))
    name, host = re.escape(pwd.getpwuid(os.getuid()).pw_name), re.escape(os.uname().nodename)
    try:
        with whole_city(backend), pytest.raises(LockedError) as caught, part_of_city(backend, (), (HEALTH,)):
            pass
    finally:
        remember(before)
    time = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
    who = rf"`wecityctl up`, process {os.getpid()} of {name} on {host}, since {time}"
    assert re.fullmatch(who, caught.value.details)


def test_a_note_that_a_run_of_an_earlier_version_has_left_is_read_too(backend: Backend) -> None:
    assert owner_in({**Owner.of(os.getpid()).to_json(), "later": 1}) == Owner.of(os.getpid())
    assert str(Holder(Owner.of(os.getpid()))).startswith(f"process {os.getpid()} of ")


def test_a_refused_run_holds_nothing(backend: Backend) -> None:
    with part_of_city(backend, (), (TRAFFIC,)):
        with pytest.raises(LockedError), part_of_city(backend, (), (HEALTH, TRAFFIC)):
            pass
        with part_of_city(backend, (), (HEALTH,)):
            pass


@pytest.mark.parametrize("harm", ["link", "pipe", "directory"])
def test_what_is_no_lock_file_is_refused_and_left_alone(backend: Backend, tmp_path: Path, harm: str) -> None:
    path, victim = files_of(backend).run_lock(HEALTH), tmp_path / "victim"
    path.parent.mkdir(parents=True)
    victim.write_text("precious")
    {"link": lambda: path.symlink_to(victim), "pipe": lambda: os.mkfifo(path), "directory": path.mkdir}[harm]()
    with pytest.raises(ConfigurationError, match="a lock cannot be taken"), part_of_city(backend, (), (HEALTH,)):
        pass
    assert victim.read_text() == "precious"
    # Whoever only looks for holders is not held up by it.
    with part_of_city(backend, (), (TRAFFIC,)), pytest.raises(LockedError), whole_city(backend):
        pass


def test_a_note_that_is_none_is_passed_over(backend: Backend) -> None:
    with part_of_city(backend, (), (HEALTH,)):
        files_of(backend).run_lock(HEALTH).write_text("[" * 60_000)
        with pytest.raises(LockedError), part_of_city(backend, (), (HEALTH,)):
            pass


def test_who_waits_for_a_part_is_told_once(backend: Backend) -> None:
    told: list[str] = []
    free, held = threading.Event(), threading.Event()

    def other() -> None:
        with part_of_city(backend, (), (HEALTH,)):
            held.set()
            free.wait(60)

    thread = threading.Thread(target=other)
    thread.start()
    assert held.wait(10)
    threading.Timer(0.7, free.set).start()
    with part_of_city(backend, (PLATFORM,), (HEALTH,), 30, told.append):
        pass
    thread.join(10)
    assert len(told) == 1
    assert f"process {os.getpid()}" in told[0]


@contextmanager
def under_way(city: City, only: str, clusters: dict[str, Cluster]) -> Iterator[list[RunResult]]:
    """An `up` of a part that has claimed its stacks and waits; its result once the block is left."""
    claimed, go_on, results = threading.Event(), threading.Event(), list[RunResult]()

    def before() -> None:
        claimed.set()
        assert go_on.wait(120)

    def work() -> None:
        options = RunOptions("up", provider="builtin", program="tests.engine.programs:objects")
        part = session_of(city).only((only,))
        results.append(run(part, options, Clusters(clusters), open_backend(city), lambda event: None, before=before))

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert claimed.wait(120)
        yield results
    finally:
        go_on.set()
        thread.join(120)


@pytest.mark.cluster
def test_two_departments_run_side_by_side_and_what_both_build_on_stays(home: Path, api_server: ControlPlane) -> None:
    uid = api_server.kubectl("get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}")
    clusters = {"main": Cluster("main", api_server.kubeconfig_text, "", uid)}
    city = make_city("two")
    files = files_of(open_backend(city))
    assert files is not None

    def up(*only: str) -> RunResult:
        plan = plan_of(city).only(only) if only else plan_of(city)
        return go(city, "up", clusters, program="objects", plan=plan)

    assert up().exit_code == 0
    # Without a record a stack has to be looked at by the engine.
    for stack in (HEALTH, TRAFFIC):
        (files.root / layout.record(stack)).unlink()
    with under_way(city, "health", clusters) as results:
        done = up("traffic")
        assert done.exit_code == 0
        assert {item.outcome for item in done.results} <= {"unchanged", "succeeded"}
        assert (files.root / layout.record(TRAFFIC)).exists()
        with pytest.raises(LockedError, match=f"another run is changing {HEALTH}"):
            up("health")
        with pytest.raises(LockedError, match="another run is changing two"):
            up()
        # The platform has to be looked at, and the first run builds on it.
        (files.root / layout.record(PLATFORM)).unlink()
        with pytest.raises(LockedError, match=f"another run builds on {PLATFORM}"):
            up("traffic")
    assert [result.exit_code for result in results] == [0]
    assert up("traffic").exit_code == 0
    assert (files.root / layout.record(PLATFORM)).exists()
    api_server.kubectl("delete", "namespace", "--wait=false", "-l", "wecity.dev/city=two")
