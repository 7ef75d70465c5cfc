"""What clouds, engines and apps say commands no terminal: every way out escapes it, and adds nothing of its own."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable

import pytest
from rich.table import Table
from rich.text import Text

from wecityctl.cli import _common
from wecityctl.cli._console import PipeConsole
from wecityctl.cli._errors import show_error, show_internal_error
from wecityctl.errors import DeploymentError
from wecityctl.model.events import Diagnostic, RunResult, StackResult
from wecityctl.model.words import printable
from wecityctl.report.ndjson import NdjsonReporter
from wecityctl.report.plain import PlainReporter
from wecityctl.report.summary import print_result

# Clear the screen, set the title, an 8-bit CSI, a return over the line, and text from right to left.
EVIL = "gone\x1b[2J\x1b]0;pwned\x07 \x9b31m\rall is well \u202egnp.exe"
SHOWN = "gone\\u001b[2J\\u001b]0;pwned\\u0007 \\u009b31m\\u000dall is well \\u202egnp.exe"
FAILED = RunResult("up", "xc", (StackResult("xc.base.main", "failed", reason=EVIL, errors=(EVIL,)),), 1.0, 1)


def _reported(stream: io.StringIO) -> None:
    with PlainReporter(stream) as reporter:
        reporter(Diagnostic("xc.base.main", "warning", EVIL))


def _table(stream: io.StringIO) -> None:
    table = Table("what")
    table.add_row(EVIL)
    console = PipeConsole(file=stream, width=200)
    console.print(table)
    console.print(Text(EVIL))
    console.print(EVIL, markup=False)


def _said(stream: io.StringIO) -> None:
    _common.say(EVIL)
    _common.note(EVIL)


def _json(stream: io.StringIO) -> None:
    _common.say_json({"text": EVIL})
    with NdjsonReporter(stream) as reporter:
        reporter(Diagnostic("xc.base.main", "warning", EVIL))


WAYS: dict[str, Callable[[io.StringIO], None]] = {
    "lines of a run": _reported,
    "a table": _table,
    "results and notes": _said,
    "JSON": _json,
    "the summary": lambda stream: print_result(PipeConsole(file=stream, width=200), FAILED, details=True),
    "an error": lambda stream: show_error(DeploymentError(EVIL, details=EVIL, resolution=EVIL), stream, colour=False),
    "an internal error": lambda stream: show_internal_error(RuntimeError(EVIL), stream, colour=False),
}


@pytest.mark.parametrize("way", WAYS)
def test_no_way_out_lets_a_terminal_be_commanded(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", stream)
    WAYS[way](stream)
    text = stream.getvalue()
    assert "\\u001b" in text
    assert printable(text) == text


def test_json_stays_json(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    _common.say_json({"text": EVIL})
    assert json.loads(stream.getvalue())["text"] == EVIL


def test_what_is_printable_stays() -> None:
    assert printable(EVIL) == SHOWN
    for text in ("a\tb\nc", "城市 é ✓ …", ""):
        assert printable(text) == text


def test_our_own_colours_are_styles_and_stay() -> None:
    stream = io.StringIO()
    PipeConsole(file=stream, force_terminal=True, color_system="standard", width=80).print(Text("good", style="green"))
    assert stream.getvalue() == "\x1b[32mgood\x1b[0m\n"
