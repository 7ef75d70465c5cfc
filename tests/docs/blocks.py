"""The documentation's fenced blocks, and what the comment before a fence says about each.

`<!-- needs: cluster -->` or `<!-- needs: node -->`: the block runs under that marker; `<!-- needs: components -->`: on
the city of `tests/e2e/county`; `<!-- needs: operations -->`: on that of `tests/e2e/operations`. `<!-- file: PATH -->`:
the block is written to PATH where the commands run. `<!-- not run: WHY -->`: the block is only read. A block without a
comment runs everywhere, if it is
`console` (commands after `$ `, then what they print) or `bash` (a script).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
GENERATED = {ROOT / "docs" / "reference" / f"{name}.md" for name in ("cli", "city", "rules")}
RUNNABLE = ("console", "bash")

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*) *$")
_COMMENT = re.compile(r"^ *<!-- (?P<key>needs|file|not run): (?P<value>.+?) -->$")


@dataclass(frozen=True)
class Block:
    """One fenced block. `need` is empty, `cluster`, `node`, `components` or `operations`.

    `file` and `not_run` are empty where not given.
    """

    document: Path
    line: int
    language: str
    text: str
    need: str = ""
    file: str = ""
    not_run: str = ""

    @property
    def runs(self) -> bool:
        return self.language in RUNNABLE and not self.not_run

    def __str__(self) -> str:
        return f"{self.document.relative_to(ROOT)}:{self.line}"


@dataclass(frozen=True)
class Step:
    """One command of a block, and the lines it prints, of which `...` stands for any."""

    command: str
    expected: tuple[str, ...] = ()


def documents() -> list[Path]:
    """Every document that people read first: the README, its neighbours and all of docs/."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks_of(document: Path) -> list[Block]:
    """The blocks of a document, in order."""
    found: list[Block] = []
    comment: dict[str, str] = {}
    lines = iter(enumerate(document.read_text(encoding="utf-8").splitlines(), 1))
    for number, line in lines:
        if said := _COMMENT.match(line):
            comment[said["key"]] = said["value"]
        elif fence := _FENCE.match(line):
            inside = []
            for _, text in lines:
                if text.strip() == "```":
                    break
                inside.append(text.removeprefix(fence["indent"]))
            found.append(
                Block(
                    document,
                    number,
                    fence["language"],
                    "\n".join(inside) + "\n",
                    comment.get("needs", ""),
                    comment.get("file", ""),
                    comment.get("not run", ""),
                )
            )
            comment = {}
        elif line.strip():
            comment = {}
    return found


def steps_of(block: Block) -> list[Step]:
    """The commands of a block; a bash block is one."""
    if block.language == "bash":
        return [Step(block.text)]
    steps: list[tuple[str, list[str]]] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            steps.append((line[2:], []))
        elif line.startswith("> ") and steps and not steps[-1][1]:
            steps[-1] = (f"{steps[-1][0]}\n{line[2:]}", [])
        else:
            assert steps, f"{block}: a console block begins with `$ `"
            steps[-1][1].append(line)
    return [Step(command, tuple(expected)) for command, expected in steps]


def matches(expected: tuple[str, ...], output: str) -> bool:
    """Whether `output` is what the document shows; runs of blanks are one, and `...` stands for any text or lines."""
    pattern = "".join(_line_pattern(line) for line in expected)
    return re.fullmatch(pattern, "".join(f"{_blanks(line)}\n" for line in output.splitlines())) is not None


def _line_pattern(line: str) -> str:
    if line.strip() == "...":
        return r"(?:[^\n]*\n)*?"
    return "[^\n]*?".join(re.escape(part) for part in _blanks(line).split("...")) + "\n"


def _blanks(line: str) -> str:
    return " ".join(line.split())
