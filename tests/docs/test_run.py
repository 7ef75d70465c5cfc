"""Every command that the documentation shows really runs, in order, and prints what the documentation says.

Each document is run by itself, in a home in which no other was, with programs and images alone in its cache. It is run
up to twice: its plain blocks alone; and with the others, on a real node where it has blocks for one and we are root,
on simulated nodes otherwise. `make up`, `make test` and `make bench` are not run here: this test is
itself run by `make test`, and the others would need the machine for themselves. What can be held against the Makefile
is, in `test_complete`.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.blocks import GENERATED, ROOT, Block, blocks_of, documents
from tests.docs.shell import Homes, Shell, end_clouds

NEEDS = ("", "cluster", "node")
# Run by other tests, on their cities.
ELSEWHERE = ("components", "operations")
SHARED = "xingcheng"
# Most of the time of a command goes into loading it. What a newcomer reads first is run as he runs it all the same, and
# pages that show both streams in their order, or what a program that is killed has done by then.
ANEW = (
    "README.md", "tutorial.md", "share-state.md", "keep-secrets.md", "recover.md", "publish-apps.md",
    "bring-a-capability.md",
)  # fmt: skip
CHANGING = ("keep-secrets.md", "recover.md", "remove-a-tenant.md")


def _blocks(document: Path) -> list[Block]:
    return [block for block in blocks_of(document) if block.runs or block.file]


def _cases(need: str) -> list[object]:
    """The documents that have a block with this need, a name for each."""
    found = [
        document
        for document in documents()
        if document not in GENERATED and any(block.runs and block.need == need for block in blocks_of(document))
    ]
    if need == "cluster" and os.geteuid() == 0:
        # Where a real node can be had, a document that is for one is run there, whole, and not here in part.
        found = [document for document in found if all(block.need != "node" for block in blocks_of(document))]
    # Those for the same home follow one another, and who changes its city goes last: nobody waits for another one.
    found.sort(key=lambda document: (SHARED in document.read_text(encoding="utf-8"), document.name in CHANGING))
    return [pytest.param(document, id=document.relative_to(ROOT).as_posix()) for document in found]


@pytest.fixture(scope="module")
def short() -> Iterator[Path]:
    """A directory with a short name: sockets below it must fit their 108 bytes."""
    directory = Path(tempfile.mkdtemp(prefix="wd-"))
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def homes(short: Path) -> Iterator[Homes]:
    """The homes of documents on simulated nodes, one after another."""
    found = Homes(short / "s")
    found.directory.mkdir(mode=0o700)
    yield found
    found.end()


def test_a_block_that_shows_something_else_is_noticed(tmp_path: Path) -> None:
    """The test itself: what it compares, and what it lets pass."""
    document = tmp_path / "x.md"
    document.write_text("```console\n$ echo one  two; echo three; echo four\none two\n...\nfo...\n```\n")
    (block,) = blocks_of(document)
    (tmp_path / ".shell").mkdir()
    Shell(tmp_path, tmp_path).follow(block)
    for shown in ("one\n...", "one two\nfour", "one two\n...\nthree", "one two\n...\nfour\nfive"):
        document.write_text(f"```console\n$ echo one  two; echo three; echo four\n{shown}\n```\n")
        (block,) = blocks_of(document)
        with pytest.raises(AssertionError):
            Shell(tmp_path, tmp_path).follow(Block(ROOT / "README.md", 1, "console", block.text))
    with pytest.raises(AssertionError):
        Shell(tmp_path, tmp_path).follow(Block(ROOT / "README.md", 1, "bash", "false | cat\n"))


@pytest.mark.program
@pytest.mark.parametrize("document", _cases(""))
def test_plain_blocks(document: Path, tmp_path: Path) -> None:
    shell = Shell(tmp_path / "work", tmp_path / "home", anew=document.name in ANEW)
    shell.home.mkdir()
    shell.prepare()
    for block in _blocks(document):
        if not block.need:
            shell.follow(block)


@pytest.mark.cluster
@pytest.mark.parametrize("document", _cases("cluster"))
def test_blocks_on_simulated_nodes(document: Path, tmp_path: Path, homes: Homes) -> None:
    blocks = _blocks(document)
    # Documents speak of a city that is up; it is all that may be there before them.
    speaks_of_city = any(SHARED in block.text for block in blocks if block.need == "cluster")
    home = homes.with_city(SHARED) if speaks_of_city else homes.empty()
    shell = Shell(tmp_path / "work", home, anew=document.name in ANEW)
    shell.prepare()
    for block in blocks:
        if block.need not in ("node", *ELSEWHERE):
            shell.follow(block)


@pytest.mark.node
@pytest.mark.skipif(os.geteuid() != 0, reason="a real node needs root")
@pytest.mark.parametrize("document", _cases("node"))
def test_blocks_on_a_real_node(document: Path, tmp_path: Path, short: Path) -> None:
    directory = short / "r"
    directory.mkdir(mode=0o700)
    shell = Shell(tmp_path / "work", directory, simulated=False, anew=document.name in ANEW)
    shell.prepare()
    try:
        for block in _blocks(document):
            if block.need not in ELSEWHERE:
                shell.follow(block)
    finally:
        end_clouds(directory)
    shutil.rmtree(directory)
