"""The supervisor with small real processes: order, deaths, back-off, bonds, stopping, and its own violent end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from wecityctl.local import store
from wecityctl.local.proctable import Identity, is_stopped
from wecityctl.local.service import Probe, Service
from wecityctl.local.spec import ServiceStatus
from wecityctl.local.supervisor import client, probe
from wecityctl.local.watch import service_status

pytestmark = pytest.mark.slow

FOREVER = ("sleep", "1000")
NEVER = Probe("file", "/no/such/file")


def sh(name: str, script: str, **rest: Any) -> Service:
    """A service that is a shell script; it may leave marks in its working directory."""
    return Service(name, ("sh", "-c", script), **rest)


@dataclass
class Supervised:
    """A supervisor of a test's own."""

    directory: Path
    run: Path
    found: client.Found

    def apply(self, *services: Service) -> tuple[str, ...]:
        return client.apply(self.found, services)

    def wait(self, seconds: float = 10.0) -> tuple[str, list[dict[str, Any]]]:
        events = list(client.stream(self.found, {"do": "wait", "seconds": seconds}, seconds=seconds + 5))
        return str(events[-1]["result"]), events[:-1]

    def stop(self) -> list[dict[str, Any]]:
        events = list(client.stream(self.found, {"do": "stop"}, seconds=20))
        assert self.found.supervisor.wait(5)
        return events

    def status(self, name: str) -> ServiceStatus:
        answer = client.ask(self.found, {"do": "status", "probe": True})
        return next(service_status(each) for each in answer["services"] if each["name"] == name)

    def eventually(self, name: str, holds: Callable[[ServiceStatus], object], seconds: float = 10.0) -> ServiceStatus:
        deadline = time.monotonic() + seconds
        while not holds(status := self.status(name)):
            assert time.monotonic() < deadline, status
            time.sleep(0.03)
        return status


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Supervised]:
    directory = tmp_path / "cloud"
    (directory / "logs").mkdir(parents=True, mode=0o700)
    run = store.run_dir(directory)
    found = client.launch(directory, run)
    try:
        yield Supervised(directory, run, found)
    finally:
        found.supervisor.end(5)
        for path in run.iterdir():
            path.unlink()
        run.rmdir()


def gone(pid: int) -> bool:
    return Identity.of(pid).start == 0


def eventually(holds: Callable[[], object], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_services_start_in_order_and_stop_in_reverse(supervised: Supervised, tmp_path: Path) -> None:
    mark = tmp_path / "marks"
    script = "trap 'echo stop-{0} >> {1}; exit 0' TERM; echo start-{0} >> {1}; touch {2}; while :; do sleep 0.02; done"
    services = []
    for name, after in (("a", ()), ("b", ("a",)), ("c", ("b",))):
        flag = tmp_path / f"{name}.ready"
        text = script.format(name, mark, flag)
        services.append(sh(name, text, after=after, ready=Probe("file", str(flag), interval=0.02)))
    supervised.apply(*reversed(services))
    assert supervised.wait()[0] == "ready"
    events = supervised.stop()
    assert events[-1] == {"event": "end", "result": "stopped"}
    assert mark.read_text().split() == ["start-a", "start-b", "start-c", "stop-c", "stop-b", "stop-a"]


def test_it_is_nobodys_child_and_outlives_its_launcher(tmp_path: Path) -> None:
    directory = tmp_path / "cloud"
    (directory / "logs").mkdir(parents=True)
    run = store.run_dir(directory)
    script = f"from wecityctl.local.supervisor import client; from pathlib import Path; client.launch(Path({str(directory)!r}), Path({str(run)!r}))"  # noqa: E501
    subprocess.run([sys.executable, "-c", script], check=True, timeout=30)
    found = client.find(directory)
    assert found is not None
    try:
        assert found.alive
        stat = Path(f"/proc/{found.supervisor.pid}/stat").read_text().rpartition(")")[2].split()
        assert int(stat[1]) != os.getpid()
        assert int(stat[3]) != os.getsid(0)
        assert (run / "control.sock").stat().st_mode & 0o777 == 0o600
    finally:
        assert found.supervisor.end(5)
    assert not (run / "control.sock").exists()
    run.rmdir()


def test_a_second_supervisor_of_the_same_cloud_is_refused(supervised: Supervised) -> None:
    with pytest.raises(client.SupervisorError) as caught:
        client.launch(supervised.directory, supervised.run)
    assert "another supervisor runs" in caught.value.details
    supervised.apply(Service("a", FOREVER))
    assert supervised.wait()[0] == "ready"


def test_a_death_is_reported_with_its_last_lines_and_the_service_runs_again(
    supervised: Supervised, tmp_path: Path
) -> None:
    flag = tmp_path / "second"
    script = (
        f"if test -e {flag}; then exec sleep 1000; fi; touch {flag}; echo first; echo the reason; sleep 0.3; exit 7"
    )
    ready = Probe("exec", argv=("test", "-e", str(flag)), interval=0.02)
    supervised.apply(sh("a", script, ready=ready))
    status = supervised.eventually("a", lambda each: each.restarts == 1 and each.state == "ready")
    (death,) = status.deaths
    assert death.how == "exited with code 7"
    assert death.lines == ("first", "the reason")
    assert abs(death.at - time.time()) < 30
    assert "exited with code 7" in (supervised.directory / "logs" / "supervisor.log").read_text()


def test_back_off_and_giving_up(supervised: Supervised, tmp_path: Path) -> None:
    mark = tmp_path / "starts"
    supervised.apply(sh("a", f"date +%s.%N >> {mark}; echo no; exit 1", retries=2, ready=NEVER))
    result, events = supervised.wait(20)
    assert result == "failed"
    status = supervised.status("a")
    assert status.state == "failed"
    assert len(status.deaths) == 3
    assert "not restarted" in status.reason
    assert [each["lines"] for each in events if each["event"] == "death"][-1] == ["no"]
    first, second, third = (float(each) for each in mark.read_text().split())
    assert 0.4 < second - first < 1.2
    assert 0.9 < third - second < 2.0
    # A new start tries again.
    supervised.apply(sh("a", f"date >> {mark}; echo no; exit 1", retries=0, ready=NEVER))
    assert supervised.wait(10)[0] == "failed"


def test_a_program_that_does_not_exist_is_a_death_too(supervised: Supervised) -> None:
    supervised.apply(Service("a", ("/no/such/program",), retries=0))
    assert supervised.wait(10)[0] == "failed"
    assert "cannot be started" in supervised.status("a").deaths[0].how


def test_an_optional_service_does_not_hold_up_the_others(supervised: Supervised) -> None:
    supervised.apply(Service("a", FOREVER), Service("b", ("false",), required=False, retries=0, ready=NEVER))
    assert supervised.wait()[0] == "ready"
    assert supervised.eventually("b", lambda each: each.state == "failed")


def test_not_ready_in_time_is_killed_and_counted(supervised: Supervised) -> None:
    probe = Probe("tcp", "127.0.0.1:1", interval=0.05)
    supervised.apply(Service("a", FOREVER, ready=probe, ready_timeout=0.3, retries=0))
    assert supervised.wait(10)[0] == "failed"
    assert "was not ready after 0.3 s" in supervised.status("a").deaths[0].how


def test_one_that_never_becomes_ready_is_given_up_however_slowly_it_dies(supervised: Supervised) -> None:
    probe = Probe("tcp", "127.0.0.1:1", interval=0.05)
    supervised.apply(Service("a", FOREVER, ready=probe, ready_timeout=0.3, retries=2, retry_window=0.1))
    assert supervised.wait(20)[0] == "failed"
    assert supervised.status("a").reason == "died 3 times without having been ready; not restarted"


def test_waiting_has_an_end(supervised: Supervised) -> None:
    supervised.apply(Service("a", FOREVER, ready=NEVER))
    result, events = supervised.wait(0.5)
    assert result == "timeout"
    assert events[-1]["name"] == "a"


def test_killing_the_supervisor_takes_every_service_with_it(supervised: Supervised) -> None:
    supervised.apply(Service("a", FOREVER), Service("b", FOREVER, after=("a",)))
    assert supervised.wait()[0] == "ready"
    children = client.find(supervised.directory)
    assert children is not None
    assert set(children.children) == {"a", "b"}
    os.kill(supervised.found.supervisor.pid, signal.SIGKILL)
    for identity in children.children.values():
        assert identity.wait(3)
    # What is left, a socket and a record, does not stop the next one.
    assert (supervised.run / "control.sock").exists()
    again = client.launch(supervised.directory, supervised.run)
    assert again.supervisor != supervised.found.supervisor
    assert client.apply(again, [Service("a", FOREVER)]) == ("a",)
    assert again.supervisor.end(5)


def test_sigterm_stops_in_order(supervised: Supervised) -> None:
    supervised.apply(Service("a", FOREVER))
    supervised.wait()
    pid = supervised.status("a").pid
    assert supervised.found.supervisor.end(5)
    assert gone(pid)


def test_a_supervisor_that_is_stopped_is_told_at_once_and_can_be_ended(supervised: Supervised) -> None:
    os.kill(supervised.found.supervisor.pid, signal.SIGSTOP)
    eventually(lambda: is_stopped(supervised.found.supervisor.pid))
    began = time.monotonic()
    with pytest.raises(client.SupervisorError) as caught:
        client.ask(supervised.found, {"do": "status"})
    assert "is stopped" in caught.value.details
    assert time.monotonic() - began < 2
    assert supervised.found.supervisor.end(0.5)


def test_a_service_that_ignores_sigterm_is_killed_with_its_children(supervised: Supervised, tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    script = f"trap '' TERM; sh -c 'trap \"\" TERM; echo $$ > {inner}; while :; do sleep 0.05; done' & wait; sleep 1000"
    supervised.apply(sh("a", script, stop_timeout=0.3, ready=Probe("file", str(inner), interval=0.02)))
    assert supervised.wait()[0] == "ready"
    eventually(lambda: inner.read_text().strip())
    pid = int(inner.read_text())
    assert not gone(pid)
    supervised.stop()
    eventually(lambda: gone(pid))


def test_what_a_service_left_behind_in_a_session_of_its_own_ends_with_the_supervisor(
    supervised: Supervised, tmp_path: Path
) -> None:
    pidfile = tmp_path / "orphan"
    script = f"setsid sh -c 'echo $$ > {pidfile}; exec sleep 1000' & sleep 1000"
    supervised.apply(sh("a", script, ready=Probe("file", str(pidfile), interval=0.02)))
    assert supervised.wait()[0] == "ready"
    eventually(lambda: pidfile.read_text().strip())
    pid = int(pidfile.read_text())
    supervised.stop()
    eventually(lambda: gone(pid))


def test_the_dead_leaders_group_is_killed_before_a_restart(supervised: Supervised, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    supervised.apply(sh("a", f"sleep 1000 & echo $! >> {pids}; sleep 0.2; exit 1"))
    supervised.eventually("a", lambda each: each.restarts >= 1)
    first = int(pids.read_text().split()[0])
    eventually(lambda: gone(first))


def test_a_service_starts_again_with_the_one_it_is_bound_to(supervised: Supervised, tmp_path: Path) -> None:
    mark = tmp_path / "marks"
    dependent = sh("inside", f"echo {{pid:holder}} $0 >> {mark}; exec sleep 1000", bound_to=("holder",))
    supervised.apply(Service("holder", FOREVER), dependent, Service("other", FOREVER, after=("holder",)))
    assert supervised.wait()[0] == "ready"
    holder, inside, other = (supervised.status(name).pid for name in ("holder", "inside", "other"))
    os.kill(holder, signal.SIGKILL)
    supervised.eventually("holder", lambda each: each.pid not in (0, holder) and each.state == "ready")
    now = supervised.eventually("inside", lambda each: each.pid not in (0, inside) and each.state == "ready")
    assert gone(inside)
    assert not now.deaths
    assert supervised.status("other").pid == other
    eventually(lambda: len(mark.read_text().splitlines()) == 2)
    assert [int(line.split()[0]) for line in mark.read_text().splitlines()] == [
        holder,
        supervised.status("holder").pid,
    ]


def test_apply_changes_only_what_differs(supervised: Supervised) -> None:
    a, b, c = (Service(name, FOREVER) for name in "abc")
    assert supervised.apply(a, b) == ("a", "b")
    supervised.wait()
    pids = {name: supervised.status(name).pid for name in "ab"}
    assert supervised.apply(a, b) == ()
    assert supervised.apply(a, replace(b, env={"X": "1"}), c) == ("b", "c")
    assert supervised.wait()[0] == "ready"
    assert supervised.status("a").pid == pids["a"]
    assert supervised.status("b").pid != pids["b"]
    assert gone(pids["b"])
    assert supervised.apply(a) == ("b", "c")
    assert [each["name"] for each in client.ask(supervised.found, {"do": "status"})["services"]] == ["a"]


@pytest.mark.parametrize(
    "services,complaint",
    [
        ((Service("a", FOREVER, after=("b",)),), "needs b, which there is not"),
        ((Service("a", FOREVER, after=("b",)), Service("b", FOREVER, bound_to=("a",))), "circle: a, b"),
        ((Service("a", FOREVER), Service("a", FOREVER)), "two services are called a"),
    ],
)
def test_impossible_services_are_refused(supervised: Supervised, services: tuple[Service, ...], complaint: str) -> None:
    with pytest.raises(client.SupervisorError, match=complaint):
        supervised.apply(*services)


def test_nonsense_on_the_socket_is_answered_and_survived(supervised: Supervised) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(supervised.run / "control.sock"))
        stream = connection.makefile("rw")
        for line in ("not json", "[]", "{}", '{"do": "dance"}', '{"do": "apply", "services": [{"name": 1}]}'):
            stream.write(line + "\n")
            stream.flush()
            assert "error" in json.loads(stream.readline())
    assert client.ask(supervised.found, {"do": "status"})["services"] == []


def test_a_client_that_hangs_up_while_waiting_harms_nobody(supervised: Supervised) -> None:
    supervised.apply(Service("a", FOREVER, ready=NEVER))
    for _ in range(5):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(supervised.run / "control.sock"))
            connection.sendall(b'{"do": "wait", "seconds": 60}\n')
            connection.recv(10)
    assert supervised.status("a").state == "starting"
    supervised.stop()


def test_a_service_has_an_environment_of_its_own(supervised: Supervised, tmp_path: Path) -> None:
    out = tmp_path / "env"
    service = sh("a", f"env > {out}.tmp; pwd >> {out}.tmp; mv {out}.tmp {out}; exec sleep 1000")
    supervised.apply(replace(service, env={"ONE": "1"}, cwd=str(tmp_path), ready=Probe("file", str(out))))
    assert supervised.wait()[0] == "ready"
    lines = out.read_text().splitlines()
    assert "ONE=1" in lines
    assert lines[-1] == str(tmp_path)
    assert not any(line.startswith(("PYTEST", "KUBECONFIG", "PULUMI")) for line in lines)
    assert os.getsid(supervised.status("a").pid) == supervised.status("a").pid


def test_probes(supervised: Supervised, tmp_path: Path) -> None:
    unix = supervised.run / "x.sock"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    server = f"import http.server as h; h.HTTPServer(('127.0.0.1', {port}), h.SimpleHTTPRequestHandler).serve_forever()"
    listen = f"import socket; s = socket.socket(socket.AF_UNIX); s.bind('{unix}'); s.listen(); input()"
    listen = listen.replace("input()", "__import__('time').sleep(1000)")
    supervised.apply(
        Service("http", (sys.executable, "-c", server), cwd="/var", ready=Probe("http", f"http://127.0.0.1:{port}/")),
        Service("tcp", FOREVER, after=("http",), ready=Probe("tcp", f"127.0.0.1:{port}")),
        Service("socket", (sys.executable, "-c", listen), ready=Probe("socket", str(unix))),
        Service("exec", FOREVER, ready=Probe("exec", argv=("kill", "-0", "{pid:tcp}"))),
        Service("wrong", FOREVER, required=False, ready=Probe("http", f"http://127.0.0.1:{port}/nothing-there")),
    )
    assert supervised.wait()[0] == "ready"
    assert supervised.eventually("wrong", lambda each: each.reason == "HTTP 404").state == "starting"


# A server by its orders: `deaf` closes its socket and lives on, `mute` accepts and says nothing, `ill` answers 500.
OBEYS = """
import http.server, os, sys, threading, time
order, port = sys.argv[1], int(sys.argv[2])
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        while os.path.exists(order) and open(order).read() == "mute": time.sleep(0.05)
        self.send_response(500 if os.path.exists(order) else 200); self.end_headers()
server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
while not os.path.exists(order) or open(order).read() != "deaf": time.sleep(0.02)
os.remove(order); server.shutdown(); server.server_close(); time.sleep(1000)
"""


@pytest.fixture
def obeying(supervised: Supervised, tmp_path: Path) -> Iterator[Path]:
    """A ready server; the file through which it takes orders, which goes with its process when that is ended."""
    order = tmp_path / "order"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    probe = Probe("http", f"http://127.0.0.1:{port}/", timeout=0.5)
    script = f"rm -f {order}; exec {sys.executable} -c '{OBEYS}' {order} {port}"
    supervised.apply(sh("a", script, ready=probe, watch_interval=0.2))
    assert supervised.wait()[0] == "ready"
    yield order


@pytest.mark.parametrize(("how", "told"), [("deaf", "Connect call failed"), ("mute", "no answer in 0.5 s")])
def test_a_service_that_falls_silent_is_started_again(
    supervised: Supervised, obeying: Path, how: str, told: str
) -> None:
    """Though its process lives, and though nobody asks for its status."""
    first = supervised.status("a").pid
    obeying.write_text(how)
    eventually(lambda: "did not answer" in (supervised.directory / "logs" / "supervisor.log").read_text(), 20)
    now = supervised.eventually("a", lambda each: each.state == "ready" and each.pid not in (0, first), 20)
    assert told in now.deaths[0].how
    assert "and was killed" in now.deaths[0].how
    assert gone(first)


def test_who_waits_is_told_of_a_silent_service_and_waits_for_the_next(supervised: Supervised, tmp_path: Path) -> None:
    """What was ready at its last question is asked anew; the next question of the supervisor's own would be far."""
    supervised.apply(Service("a", FOREVER, watch_interval=100.0))
    assert supervised.wait()[0] == "ready"
    time.sleep(1.2)  # an answer that is younger than a second is not asked for again
    first = supervised.status("a").pid
    time.sleep(1.2)
    os.kill(first, signal.SIGSTOP)
    eventually(lambda: is_stopped(first))
    assert "is stopped" in supervised.status("a").reason
    result, events = supervised.wait(20)
    assert result == "ready"
    assert "is stopped" in events[0]["reason"]
    assert supervised.status("a").pid not in (0, first)


def test_a_service_that_says_no_is_not_ready_and_lives(supervised: Supervised, obeying: Path) -> None:
    first = supervised.status("a").pid
    obeying.write_text("ill")
    ill = supervised.eventually("a", lambda each: each.reason)
    assert (ill.state, ill.reason) == ("ready", "HTTP 500")
    result, events = supervised.wait(2.5)
    assert (result, events[-1]["reason"]) == ("timeout", "HTTP 500")
    obeying.unlink()
    assert supervised.wait()[0] == "ready"
    now = supervised.status("a")
    assert (now.pid, now.deaths) == (first, ())


def test_a_service_falls_with_the_inner_process_that_it_is_about(supervised: Supervised, tmp_path: Path) -> None:
    """A wrapper need not notice what has become of it."""
    inner = tmp_path / "inner"
    alive = Probe("process", str(inner))
    script = f"rm -f {inner}; sleep 1000 & echo $! > {inner}; wait"
    supervised.apply(sh("a", script, ready=Probe("file", str(inner)), alive=alive, watch_interval=0.2))
    assert supervised.wait()[0] == "ready"
    eventually(lambda: inner.read_text().strip())
    first = int(inner.read_text())
    os.kill(first, signal.SIGSTOP)
    died = supervised.eventually("a", lambda each: each.deaths, 20)
    assert f"process {first} is stopped" in died.deaths[0].how
    assert supervised.eventually("a", lambda each: each.state == "ready" and not each.reason)
    assert gone(first)


def test_silence_before_the_first_answer_is_let_pass(supervised: Supervised, tmp_path: Path) -> None:
    """A service that is ready as soon as it runs may come to answer later; once it has, it must go on."""
    sockets = [tmp_path / name for name in ("early", "never")]
    early, never = (Probe("socket", str(path), say="?\n", timeout=0.5) for path in sockets)
    serve = (
        "import socket, time; time.sleep(1.5); s = socket.socket(socket.AF_UNIX);"
        f"s.bind('{sockets[0]}'); s.listen()\n"
        "for number in range(3): c = s.accept()[0]; c.send(c.recv(10)); c.close()\n"
        "time.sleep(1000)"
    )
    answering = Service("early", (sys.executable, "-c", serve), alive=early, watch_interval=0.1)
    supervised.apply(answering, Service("never", FOREVER, alive=never, watch_interval=0.1, ready_timeout=2.0))
    assert supervised.wait()[0] == "ready"
    assert not supervised.status("early").reason
    died = supervised.eventually("early", lambda each: each.deaths, 20)
    assert "no answer in 0.5 s" in died.deaths[0].how
    assert supervised.eventually("never", lambda each: each.deaths, 20).deaths[0].at - died.since > 1.5


def test_old_files_do_not_count_as_ready(supervised: Supervised, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    flag.touch()
    os.utime(flag, (1, 1))
    supervised.apply(Service("a", FOREVER, ready=Probe("file", str(flag))))
    assert "left over" in supervised.eventually("a", lambda each: each.reason).reason


def test_services_survive_json() -> None:
    probe = Probe("exec", argv=("a", "b"), interval=0.5)
    alive = Probe("socket", "/x", say="\0?\n")
    service = Service("a", ("x",), {"A": "1"}, after=("b",), bound_to=("c",), ready=probe, alive=alive, required=False)
    assert Service.from_json(json.loads(json.dumps(service.to_json()))) == service
    assert Service.from_json(json.loads(json.dumps(Service("b", FOREVER).to_json()))) == Service("b", FOREVER)


def test_a_record_cut_short_counts_as_a_crash(tmp_path: Path) -> None:
    (tmp_path / "supervisor.json").write_text('{"supervisor": {"pid"')
    found = client.find(tmp_path)
    assert found is not None
    assert not found.alive
    client.forget(tmp_path)
    assert client.find(tmp_path) is None


@pytest.mark.parametrize("turns", range(4))
def test_a_probe_that_is_cancelled_while_it_is_answered_ends(monkeypatch: pytest.MonkeyPatch, turns: int) -> None:
    """Its service has died: one that goes on would hold up the next start for a minute."""

    async def cancelled_after_its_answer() -> tuple[bool, bool]:
        answer: asyncio.Future[probe.Answer] = asyncio.get_running_loop().create_future()

        async def ask(*_: object) -> probe.Answer:
            return await answer

        monkeypatch.setattr(probe, "_ask", ask)
        asking = asyncio.create_task(probe.ask(NEVER, started=0.0, pid_of=lambda _: 0))
        await asyncio.sleep(0.05)
        answer.set_result(probe.READY)
        for _ in range(turns):
            await asyncio.sleep(0)
        accepted = asking.cancel()
        await asyncio.wait([asking])
        return accepted, asking.cancelled()

    accepted, cancelled = asyncio.run(cancelled_after_its_answer())
    assert cancelled == accepted
