"""The guard around a program: whom it lets connect, and how both end."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.listeners.second_user import NEEDS_ROOT, as_second_user, converse
from wecityctl.listeners import guarded
from wecityctl.listeners.guard import divide, lacking
from wecityctl.operations.doctor import check_machine

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(lacking()), reason=f"no guard on this machine: {lacking()}"),
]
PR_SET_DUMPABLE = 4
ECHO = str(Path(__file__).with_name("echo.py"))


@contextlib.contextmanager
def program(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(guarded([sys.executable, *arguments]), stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@contextlib.contextmanager
def echo(how: str, host: str = "127.0.0.1") -> Iterator[tuple[str, int]]:
    with program(ECHO, how, host) as process:
        assert process.stdout is not None
        yield {"::": "::1", "0.0.0.0": "127.0.0.1"}.get(host, host), int(process.stdout.readline())


def is_gone(pid: int) -> bool:
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    return not Path(f"/proc/{pid}").exists()


@NEEDS_ROOT
@pytest.mark.parametrize("how", ["polling", "blocking", "forked"])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "::", "0.0.0.0"])
def test_only_the_own_user_is_answered(how: str, host: str) -> None:
    with echo(how, host) as address:
        assert converse(address) == "ok"
        for _ in range(3):
            assert as_second_user(lambda: converse(address)) == "reset"
            assert converse(address) == "ok"
        if host == "::":
            assert converse(("127.0.0.1", address[1])) == "ok"
            assert as_second_user(lambda: converse(("127.0.0.1", address[1]))) == "reset"


@NEEDS_ROOT
def test_who_speaks_and_goes_is_not_heard() -> None:
    def shout() -> None:
        for number in range(200):
            with contextlib.suppress(OSError), socket.socket() as connection:
                connection.connect(("127.0.0.1", port))
                connection.send(b"shout")
                if number % 2:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with program(ECHO, "polling", "127.0.0.1") as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        as_second_user(shout)
        assert converse(("127.0.0.1", port)) == "ok"
        assert process.stdout.readline() == "hello\n"


@pytest.mark.parametrize("how", ["polling", "blocking"])
def test_sixty_four_at_once_are_all_answered(how: str) -> None:
    with echo(how) as address, ThreadPoolExecutor(64) as pool:
        assert set(pool.map(lambda _: converse(address, seconds=60.0), range(640))) == {"ok"}


def test_a_program_ends_as_without_a_guard() -> None:
    with program("-c", "import sys; sys.exit(7)") as process:
        assert process.wait(20) == 7
    with program("-c", "import os; os.kill(os.getpid(), 9)") as process:
        assert process.wait(20) == -signal.SIGKILL
    with program("-c", "import os, signal; print(os.getpid(), flush=True); signal.pause()") as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == -signal.SIGTERM
        assert is_gone(pid)


def test_without_its_guard_a_program_is_dead() -> None:
    with program(ECHO, "polling", "127.0.0.1") as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.kill()
        process.wait()
        assert is_gone(int(child))
        with pytest.raises(ConnectionRefusedError):
            converse(("127.0.0.1", port))


def test_a_program_is_told_when_who_wanted_it_is_gone() -> None:
    code = f"import subprocess; subprocess.Popen({guarded([sys.executable, ECHO, 'polling', '127.0.0.1'])!r}).wait()"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        port = int(parent.stdout.readline())
        assert converse(("127.0.0.1", port)) == "ok"
        parent.kill()
        deadline = time.monotonic() + 20
        with pytest.raises(ConnectionRefusedError):
            while time.monotonic() < deadline:
                converse(("127.0.0.1", port))
                time.sleep(0.05)


def test_a_daemon_that_a_program_leaves_goes_on_answering(tmp_path: Path) -> None:
    # As an agent that a credential plug-in has started: a Unix socket, and a process of a session of its own.
    place = str(tmp_path / "socket")
    code = f"""
import os, socket
server = socket.socket(socket.AF_UNIX); server.bind({place!r}); server.listen()
if os.fork() == 0:
    os.setsid(); os.close(1)
    connection, _ = server.accept()
    connection.sendall(str(os.getpid()).encode())
"""
    with program("-c", code) as process:
        assert process.wait(20) == 0
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        connection.connect(place)
        daemon = int(connection.recv(100))
    assert is_gone(daemon)


def test_the_port_of_a_process_that_is_killed_while_it_waits_is_closed() -> None:
    code = """
import os, signal, socket, time
server = socket.create_server(("127.0.0.1", 0))
child = os.fork()
if child == 0:
    server.accept()
print(server.getsockname()[1], flush=True)
server.close()
input()
os.kill(child, signal.SIGKILL)
os.wait()
input()
"""
    command = guarded([sys.executable, "-c", code])
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        port = int(process.stdout.readline())
        process.stdin.write("\n")
        process.stdin.flush()
        deadline = time.monotonic() + 20
        with pytest.raises(ConnectionRefusedError):
            while time.monotonic() < deadline:
                converse(("127.0.0.1", port), seconds=0.2)
                time.sleep(0.1)
        process.kill()


def test_a_call_that_a_signal_interrupts_loses_no_connection() -> None:
    code = """
import signal, socket, threading, time, os
signal.signal(signal.SIGALRM, lambda *_: None)
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
server = socket.create_server(("127.0.0.1", 0), backlog=256)
print(server.getsockname()[1], flush=True)
while True:
    connection, _ = server.accept()
    connection.recv(100); connection.sendall(b"ok"); connection.close()
"""
    with program("-c", code) as process, ThreadPoolExecutor(8) as pool:
        assert process.stdout is not None
        address = ("127.0.0.1", int(process.stdout.readline()))
        assert set(pool.map(lambda _: converse(address, seconds=30.0), range(300))) == {"ok"}


@NEEDS_ROOT
def test_a_user_without_rights_is_guarded_as_well() -> None:
    def serve() -> tuple[str, str]:
        # As a process is that began as this user, not as one that root has become.
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
        missing_prerequisites = divide()
        with socket.socket() as server:
            server.bind(("127.0.0.1", 0))
            server.listen()
            address = server.getsockname()
            if not os.fork():
                converse(address)
                os._exit(0)
            server.settimeout(20)
            connection, _ = server.accept()
            return missing_prerequisites, connection.recv(100).decode()

    assert as_second_user(serve) == ("", "hello")


def test_where_another_answers_such_calls_there_is_no_guard_and_the_program_runs() -> None:
    code = "from wecityctl.listeners.guard import divide, lacking; print(lacking()); print(divide())"
    with program("-c", code) as process:
        assert process.stdout is not None
        assert process.stdout.read().splitlines() == ["the kernel refuses the filter: Device or resource busy"] * 2
        assert process.wait(20) == 0


@pytest.mark.parametrize("others,level", [(("wang", "li"), "warning"), ((), "ok")])
def test_doctor_tells_where_others_could_connect(
    monkeypatch: pytest.MonkeyPatch, others: tuple[str, ...], level: str
) -> None:
    monkeypatch.setattr("wecityctl.listeners.guard.lacking", lambda: "it is too old")
    monkeypatch.setattr("wecityctl.listeners.users.other_users", lambda: others)
    (found,) = (each for each in check_machine() if each.name == "other users")
    assert found.level == level
    assert "it is too old" in found.detail
    assert not others or ("wang, li" in found.detail and found.remedy)
