"""Running the program as users do: another process, its streams and its exit code."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def wecityctl(
    *arguments: str | Path, home: Path | None = None, cwd: Path = ROOT, **environment: str
) -> subprocess.CompletedProcess[str]:
    """`wecityctl ARGUMENTS`; with `home`, its files go there."""
    base = {key: value for key, value in os.environ.items() if not key.startswith(("XDG_", "NO_COLOR"))}
    if home is not None:
        base |= {"HOME": str(home)}
    return subprocess.run(
        [sys.executable, "-c", "from wecityctl.cli.main import main; main()", *map(str, arguments)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        cwd=cwd,
        env={**base, "PYTHONIOENCODING": "utf-8", "COLUMNS": "100", **environment},
        check=False,
    )
