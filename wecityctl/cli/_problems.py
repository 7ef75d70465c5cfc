"""Prints problems of a city's files: position, message, the affected line, and a mark below it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import IO

from wecityctl.errors import Problem
from wecityctl.model.words import counted
from wecityctl.spec.files import SourceFile, read_text

SHOWN = 100
_WIDTH = 110
_TOKEN = re.compile(r"\"[^\"]*\"|'[^']*'|[^\s,\[\]{}:]+(?::[^\s,\[\]{}]+)*")
# The password in a URL, which must not appear on a screen or in a CI log.
_PASSWORD = re.compile(r"(?<=://)([^\s/:@\"']*:)([^\s/@\"']+)(?=@)")
_LINE_BREAK = re.compile(r"\r\n|\r|\n")
_BOLD, _RED, _CYAN, _RESET = "\x1b[1m", "\x1b[31m", "\x1b[36m", "\x1b[0m"


def show_problems(problems: tuple[Problem, ...], root: Path | None, stream: IO[str], *, colour: bool) -> None:
    """Write the first hundred problems, each with its line, and the total. Files are relative to `root`."""

    @lru_cache(maxsize=32)
    def lines_of(file: str) -> tuple[str, ...]:
        text, problem = read_text(SourceFile(Path(file), file, root))
        return tuple(_LINE_BREAK.split(text)) if problem is None else ()

    hidden: dict[tuple[str, int], int] = {}
    for problem in problems:
        if problem.hides:
            place = (problem.file, problem.line)
            hidden[place] = min(hidden.get(place, problem.column), problem.column)
    for problem in problems[:SHOWN]:
        stream.write(_sentence(problem, colour=colour) + "\n")
        lines = lines_of(problem.file) if problem.line else ()
        if 0 < problem.line <= len(lines):
            line, column = lines[problem.line - 1], hidden.get((problem.file, problem.line))
            shown = line if column is None else line[: column - 1] + re.sub(r"\S", "*", line[column - 1 :])
            stream.writelines(_excerpt(problem, shown, colour=colour))
    count, files = len(problems), len({problem.file for problem in problems if problem.line})
    # A path without any document is named by its problem; it may be a directory.
    where = f" in {counted(files, 'file')}" if files else ""
    more = f" (the first {SHOWN} are shown)" if count > SHOWN else ""
    word = f"{_BOLD}{_RED}error:{_RESET}" if colour else "error:"
    stream.write(f"{word} {counted(count, 'problem')}{where}{more}\n")


def problem_as_json(problem: Problem) -> dict[str, str | int]:
    return {
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "path": problem.path,
        "message": problem.message,
        "expected": problem.expected,
        "suggestion": problem.suggestion,
    }


def _sentence(problem: Problem, *, colour: bool) -> str:
    text = str(problem)
    if not colour:
        return text
    place = f"{problem.file}:{problem.line}:{problem.column}" if problem.line else problem.file
    return f"{_BOLD}{place}{_RESET}{text[len(place) :]}"


def _excerpt(problem: Problem, line: str, *, colour: bool) -> Iterable[str]:
    start = problem.column - 1
    line = _PASSWORD.sub(lambda found: found[1] + "*" * len(found[2]), line)
    match = _TOKEN.match(line, start)
    length = max(1, len(match[0]) if match else 1)
    # A long line is shown from slightly before the mark.
    cut = max(0, start - _WIDTH // 2) if len(line) > _WIDTH else 0
    shown = line[cut : cut + _WIDTH].replace("\t", " ")
    number = f"{problem.line:>5} | "
    before = " " * _columns(shown[: start - cut])
    mark = "^" * max(1, min(_columns(shown[start - cut : start - cut + length]), _WIDTH))
    yield f"{_CYAN}{number}{_RESET}{shown}\n" if colour else f"{number}{shown}\n"
    bar = " " * 5 + " | "
    yield f"{_CYAN}{bar}{_RESET}{before}{_RED}{mark}{_RESET}\n" if colour else f"{bar}{before}{mark}\n"


def _columns(text: str) -> int:
    """Return the width of `text` in a terminal: Chinese characters take two columns."""
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )
