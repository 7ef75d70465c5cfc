"""What tests prove of each capability type, from the marks `proves` on them: the table in the catalogue's page.

`@pytest.mark.proves("cache", "used", "refused")` stands on a test that shows these cells of the table. Nothing else has
to be written for it, so a cell goes with its test.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from stacks.catalogue import load_catalogue
from stacks.platforms.restores import RECORDS, proofs
from wecityctl.model.catalogue import CapabilityType, UseLimits

ROOT = Path(__file__).parents[2]
# The cells that marks name, with their titles.
CELLS = {
    "built": "built from its recipe, and started",
    "ran": "ran on a real node",
    "used": "used by a client",
    "refused": "another tenant refused",
    "limited": "limits held",
}
# The mark of the group that a test is in which proves a cell.
GROUPS = {"built": "build", "ran": "node"}
# Their data is a database of `postgresql`, which is backed up there.
_IN_DATABASES = ("configuration", "data-services", "identity", "notification", "workflow")
ELSEWHERE = dict.fromkeys(_IN_DATABASES, "in `postgresql`")
_NAME = "proves"
_HEAD = """
## What tests show of each

A cell links the tests that show it, each of which has a mark that names the type and the cell.

"""


@dataclass(frozen=True)
class Proof:
    """A test of a file that proves cells of a type; `groups` are the marks of the file and the test."""

    file: Path
    test: str
    type: str
    cells: tuple[str, ...]
    groups: frozenset[str]

    @property
    def link(self) -> str:
        """A link from the page."""
        return f"[✓](../../{self.file.relative_to(ROOT).as_posix()})"


@cache
def marked() -> tuple[Proof, ...]:
    """All marks below `tests`, in the order of files and lines."""
    files = (path for path in sorted((ROOT / "tests").rglob("test_*.py")) if f"mark.{_NAME}(" in path.read_text())
    return tuple(proof for path in files for proof in _marks(path))


def _marks(path: Path) -> Iterator[Proof]:
    tree = ast.parse(path.read_text())
    of_file = [
        mark
        for node in tree.body
        if isinstance(node, ast.Assign)
        and any(isinstance(at, ast.Name) and at.id == "pytestmark" for at in node.targets)
        for mark in (node.value.elts if isinstance(node.value, ast.List) else [node.value])
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            groups = frozenset(_mark(item) for item in (*of_file, *node.decorator_list))
            for item in node.decorator_list:
                if _mark(item) == _NAME and isinstance(item, ast.Call):
                    kind, *cells = (str(ast.literal_eval(word)) for word in item.args)
                    yield Proof(path, node.name, kind, tuple(cells), groups)


def _mark(node: ast.expr) -> str:
    """The name of a mark; empty for any other expression."""
    named = node.func if isinstance(node, ast.Call) else node
    return named.attr if isinstance(named, ast.Attribute) and ast.unparse(named).startswith("pytest.mark.") else ""


def cell(kind: CapabilityType, name: str) -> str:
    """A cell of the table as Markdown; empty if no test shows it."""
    if links := dict.fromkeys(item.link for item in marked() if item.type == kind.name and name in item.cells):
        return " ".join(links)
    if name == "refused" and kind.binding is None:
        return "has no accounts"
    if name == "limited" and kind.limits == UseLimits():
        return "has none"
    return ""


def restored(kind: CapabilityType) -> str:
    """The last cell: whether its data was backed up and restored; empty if not."""
    if kind.name in proofs():
        return f"[✓](../../{RECORDS.relative_to(ROOT).as_posix()})"
    if kind.name in ELSEWHERE:
        return ELSEWHERE[kind.name]
    return "" if kind.stores_data else "keeps none"


def table() -> str:
    """The section of the page."""
    lines = [
        f"| type | {' | '.join(CELLS.values())} | backed up and restored |",
        "| --- " * (len(CELLS) + 2) + "|",
    ]
    for kind in sorted(load_catalogue().values(), key=lambda item: (item.platform, item.name)):
        cells = [*(cell(kind, name) for name in CELLS), restored(kind)]
        lines.append(f"| [`{kind.name}`](#{kind.name}) | {' | '.join(text or '**no**' for text in cells)} |")
    return _HEAD + "\n".join(lines) + "\n"
