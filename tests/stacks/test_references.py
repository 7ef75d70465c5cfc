"""What capability types name is loaded by several threads at once, and stdout stays that of the command."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from stacks.references import load


def test_threads_that_load_at_once_leave_stdout_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first load outlasts the second, as that of a large module does."""
    for name, seconds in (("loaded_long", 0.4), ("loaded_short", 0.1)):
        (tmp_path / f"{name}.py").write_text(f"import time\nprint('{name}')\ntime.sleep({seconds})\nTYPE = '{name}'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    before = sys.stdout
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda name: load(f"{name}:TYPE", "a"), ["loaded_short", "loaded_long"]))
    assert sys.stdout is before
    assert found == ["loaded_short", "loaded_long"]
    out, err = capsys.readouterr()
    assert out == ""
    assert sorted(err.split()) == ["loaded_long", "loaded_short"]
