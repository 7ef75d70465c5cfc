"""A process is told apart from another with its number, and from itself before a reboot."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from wecityctl.local.proctable import Identity, start_time


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def test_a_running_process_is_alive_until_it_ends(sleeper: subprocess.Popen[bytes]) -> None:
    identity = Identity.from_json(Identity.of(sleeper.pid).to_json())
    assert identity.alive()
    sleeper.kill()
    # Not reaped yet: a zombie is no running process.
    assert identity.wait(2.0)
    assert os.path.exists(f"/proc/{sleeper.pid}")  # noqa: PTH110


@pytest.mark.parametrize("field,value", [("start", 1), ("boot", "another boot")])
def test_a_recycled_number_is_never_signalled(sleeper: subprocess.Popen[bytes], field: str, value: object) -> None:
    stale = replace(Identity.of(sleeper.pid), **{field: value})  # type: ignore[arg-type]
    assert not stale.alive()
    assert not stale.send(signal.SIGKILL)
    assert stale.end(0.1)
    time.sleep(0.05)
    assert sleeper.poll() is None


def test_end_kills_what_does_not_listen() -> None:
    script = "trap '' TERM; echo ready; while :; do sleep 0.1; done"
    with subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert Identity.of(process.pid).end(0.2)
    assert process.returncode == -signal.SIGKILL


def test_no_such_process() -> None:
    assert start_time(2**22 + 1) is None
    assert not Identity(0, 0, "").alive()


def test_a_name_with_brackets_does_not_confuse(tmp_path: object) -> None:
    with subprocess.Popen(
        ["sh", "-c", "printf 'a) R 1 (b' > /proc/self/comm; echo; exec 1>&-; read x"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert Identity.of(process.pid).start > 1
        process.kill()
