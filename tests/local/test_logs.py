"""The last telling lines of a log, and its length."""

from __future__ import annotations

import os
from pathlib import Path

from wecityctl.local import logs


def test_the_last_lines(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_text("".join(f"line {number}\n" for number in range(100)))
    assert logs.tail(path, 3) == ("line 97", "line 98", "line 99")


def test_only_this_life(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_text("of the life before\n")
    since = logs.size(path)
    with path.open("a") as stream:
        stream.write("of this one\n")
    assert logs.tail(path, 5, since) == ("of this one",)


def test_a_verdict_is_not_buried_under_goroutines(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    dump = "".join(f"goroutine {number} [running]:\n" for number in range(50))
    path.write_text(f"before\npanic: no address\n{dump}")
    lines = logs.tail(path, 5)
    assert lines[:2] == ("before", "panic: no address")
    assert len(lines) == 5


def test_no_log_is_no_line(tmp_path: Path) -> None:
    assert logs.tail(tmp_path / "none.log") == ()


def test_trim_keeps_the_end_and_the_writer_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    descriptor = logs.open_log(path)
    os.write(descriptor, b"a" * 900 + b"b" * 200)
    logs.trim(path, limit=1000, kept=200)
    os.write(descriptor, b"after")
    os.close(descriptor)
    assert path.read_bytes() == b"after"
    assert (tmp_path / "x.log.1").read_bytes() == b"b" * 200
    assert path.stat().st_mode & 0o777 == 0o600
