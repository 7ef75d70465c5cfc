"""The server that the other tests here run the command line with."""

import os
import signal

import pytest

from tests.cli.program import ROOT
from tests.support.forks import Forks

pytestmark = pytest.mark.program


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
