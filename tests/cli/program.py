"""Running the program as users do: another process, its streams and its exit code."""

import os
import subprocess
import sys
from pathlib import Path

from tests.support.forks import shared

ROOT = Path(__file__).parents[2]


def wecityctl(
    *arguments: str | Path, home: Path | None = None, cwd: Path = ROOT, **environment: str
) -> subprocess.CompletedProcess[str]:
    """`wecityctl ARGUMENTS`; with `home`, its files go there.

    A process that is started anew where Python's own settings are given, a fork otherwise.
    """
    base = {key: value for key, value in os.environ.items() if not key.startswith(("XDG_", "NO_COLOR"))}
    if home is not None:
        base |= {"HOME": str(home)}
    env = {**base, "PYTHONIOENCODING": "utf-8", "COLUMNS": "100", **environment}
    words = [str(each) for each in arguments]
    if not any(name.startswith("PYTHON") for name in environment):
        return shared().run(words, cwd=cwd, env=env, timeout=60)
    return subprocess.run(
        [sys.executable, "-c", "from wecityctl.cli.main import main; main()", *words],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        cwd=cwd,
        env=env,
        check=False,
    )
