"""Tables on narrow terminals: names stay whole, and no column is squeezed; in pipes a row is one line."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from itertools import pairwise
from pathlib import Path

import pytest

from tests.cli.program import ROOT, wecityctl

pytestmark = pytest.mark.program
_CITY = "examples/xingcheng"
# Each with names that it shows, whatever the width.
COMMANDS = {
    "images list": ("sample-app", "built.wecity.invalid/sample-app:"),
    "policy list": ("overcommitted-capability", "advisory, not enforced yet"),
    "catalog list": ("object-storage", "application"),
    f"clouds {_CITY}": ("main",),
    f"place {_CITY}": ("app health-commission/health-code",),
    "engine status --quick": ("kubernetes-plugin", "v"),
    "doctor": ("real node: ",),
}


def on_terminal(width: int, *arguments: str, home: Path) -> str:
    """What the program prints on a terminal that is `width` columns wide."""
    leader, follower = pty.openpty()
    try:
        fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
        with subprocess.Popen(
            [sys.executable, "-c", "from wecityctl.cli.main import main; main()", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=follower,
            stderr=subprocess.DEVNULL,
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "HOME": str(home), "TERM": "xterm", "NO_COLOR": "1"},
        ) as process:
            os.close(follower)
            parts = []
            while True:
                try:
                    part = os.read(leader, 1 << 16)
                except OSError:
                    # Linux answers so once the last process has closed the terminal.
                    break
                if not part:
                    break
                parts.append(part)
            process.wait(timeout=30)
    finally:
        os.close(leader)
    return b"".join(parts).decode().replace("\r\n", "\n")


@pytest.mark.parametrize("width", [40, 60, 80])
@pytest.mark.parametrize("command", COMMANDS)
def test_names_are_whole_on_a_narrow_terminal(command: str, width: int, tmp_path: Path) -> None:
    shown = on_terminal(width, *command.split(), home=tmp_path)
    for name in COMMANDS[command]:
        assert name in shown
    assert "…" not in shown
    # Of a squeezed column single letters are left, one below the other.
    lines = [line.strip() for line in shown.splitlines()]
    assert not any(len(one) == 1 and len(two) == 1 for one, two in pairwise(lines))


def test_a_record_has_one_line_for_each_column_that_says_something(tmp_path: Path) -> None:
    shown = on_terminal(40, "policy", "list", home=tmp_path)
    first = shown.split("\n\n")[0].splitlines()
    assert first[:2] == ["rule: crossing-plaintext", "  weight: veto"]
    assert first[2].startswith("  title: No important data")


def test_in_a_pipe_a_row_is_one_line_at_any_width() -> None:
    done = wecityctl("policy", "list", COLUMNS="40")
    assert done.stdout.splitlines()[0].split() == ["RULE", "WEIGHT", "TITLE"]
    assert any(
        line.startswith("through-exchange  ") and line.rstrip().endswith("经数据交换区")
        for line in done.stdout.splitlines()
    )
