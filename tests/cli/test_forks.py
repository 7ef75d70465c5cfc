"""The server that the other tests here run the command line with, and the zygotes of its runs."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from tests.cli.program import ROOT
from tests.support import fork_program, zygotes
from tests.support.forks import Forks
from wecityctl.engine.workers import pool
from wecityctl.local.proctable import Identity

pytestmark = pytest.mark.program
# In a process without threads, as a fork of the command line is when it begins. The zygote gets a module that tells on
# its standard error what it sees, with settings that are made after the fork of the seed.
SEED = """
import os, socket, sys, tempfile
from pathlib import Path
from tests.support import zygotes
from wecityctl.engine.workers import pool

seed, unused = zygotes.Seed(), zygotes.Seed()
pool.start_zygote = seed.start
place = Path(sys.argv[1])
(place / "told_by_zygote.py").write_text(
    "import os, sys\\nprint(os.environ['AFTER'], os.getcwd(), 'typer' in sys.modules, file=sys.stderr, flush=True)\\n"
    "os.fchmod(os.open('made', os.O_CREAT), 0o666 & ~os.umask(0))"
)
os.environ["AFTER"] = "the fork"
sys.path.append(str(place))
os.chdir(place)
running = pool.Pool(["told_by_zygote"], place / "log")
assert running.pid == seed.pid
connection = running.spawn("told_by_worker")
try:
    connection.recv()
except EOFError:
    pass
running.close()
unused.close()
print(seed.wait(), unused.wait())
second = pool.Pool([], place / "second")
assert second.pid != seed.pid
second.close()
"""


def test_a_seed_becomes_the_zygote_of_one_run_with_the_settings_of_that_moment(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SEED, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=100, check=False
    )
    log = (tmp_path / "log").read_text()
    assert done.returncode == 0, done.stderr + log
    assert done.stdout == "0 0\n"
    # It has not loaded the command line, and what cannot be imported in a worker is told as by any other zygote.
    assert log.startswith(f"the fork {tmp_path} False\n"), log
    assert "ModuleNotFoundError: No module named 'told_by_worker'" in log
    assert (tmp_path / "made").stat().st_mode & 0o777 == 0o600


def test_a_nursery_has_zygotes_side_by_side_from_threads_and_with_the_settings_of_each_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nursery = zygotes.nursery()
    monkeypatch.setattr(pool, "start_zygote", nursery.start)
    monkeypatch.syspath_prepend(tmp_path)
    tell = "import os, sys\nprint(os.environ['SAID'], 'typer' in sys.modules, file=sys.stderr, flush=True)\n"
    (tmp_path / "told_by_zygote.py").write_text(tell)

    def run(said: str) -> tuple[pool.Pool, Connection]:
        monkeypatch.setenv("SAID", said)
        running = pool.Pool(["told_by_zygote"], tmp_path / said)
        return running, running.spawn("told_by_worker")

    with ThreadPoolExecutor(1) as other:
        runs = [other.submit(run, said).result() for said in ("one", "two")]
    # The thread has ended, and the nursery goes on.
    runs.append(run("three"))
    for (running, connection), said in zip(runs, ("one", "two", "three"), strict=True):
        with pytest.raises(EOFError):
            connection.recv()
        found = Identity.of(running.pid)
        running.close()
        assert not found.alive()
        log = (tmp_path / said).read_text()
        assert log.startswith(f"{said} False\n"), log
        assert "ModuleNotFoundError: No module named 'told_by_worker'" in log


def test_a_server_that_was_killed_is_started_again() -> None:
    forks = Forks()
    try:
        assert forks.run(["--version"], cwd=ROOT, env=dict(os.environ), timeout=60).returncode == 0
        os.kill(forks.pid, signal.SIGKILL)
        with pytest.warns(UserWarning, match="is started again"):
            done = forks.run(["--version"], cwd=ROOT, env=dict(os.environ), timeout=60)
        assert (done.returncode, done.stderr) == (0, "")
    finally:
        forks.close()


def test_a_shell_runs_forks_side_by_side_and_sees_how_each_ended(tmp_path: Path) -> None:
    """Both at once, each in the shell's directory; nobody ends before the other has written."""
    path = f"{fork_program.directory()}{os.pathsep}{os.environ['PATH']}"
    script = (
        "wecityctl --version | (wecityctl validate nowhere 2>told; code=$?; cat >said; exit $code); "
        "echo ${PIPESTATUS[@]}"
    )
    environment = {**os.environ, "PATH": path, "HOME": str(tmp_path)}
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.stdout == "0 2\n", done
    assert "nowhere" in (tmp_path / "told").read_text()
    assert "wecityctl" in (tmp_path / "said").read_text()
